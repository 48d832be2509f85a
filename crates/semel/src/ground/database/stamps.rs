//! The tables in a target database: `semel_stamp` tells what was done there, and
//! `semel_fence` who may do something there.
//!
//! Invariant: what is asked here is asked within the transaction of its session, where
//! one is open. The statements are the same for all engines but for what is said here.

use crate::ground::database::{DbError, DbResult, ErrorKind, Row, Session, has_rows};
use crate::words::database::Engine;
use crate::words::digest::Digest;
use crate::words::fingerprint::Fingerprint;
use crate::words::row_stamp::RowStamp;
use crate::words::task::{Instance, TaskName};

/// The columns of `semel_stamp`, in the order in which they are read and written.
const COLUMNS: &str = "slot, pipeline, step, instance, item, what, how, row_count, \
                       target, identity, found_by, shares, whole, run, stamped";

/// The statements that make the tables, for those who may not make them to give to
/// those who may.
#[must_use]
pub fn ddl(engine: Engine) -> [String; 2] {
    let (key, text, number, tail) = match engine {
        Engine::Postgres => ("char(64)", "text", "bigint", ""),
        Engine::Sqlite => ("text", "text", "integer", " without rowid"),
        Engine::MySql => (
            "char(64) character set ascii collate ascii_bin",
            "longtext",
            "bigint",
            " engine = InnoDB default character set utf8mb4 collate utf8mb4_bin",
        ),
    };
    [
        format!(
            "create table semel_stamp (slot {key} not null primary key, pipeline {text} not null, \
             step {text} not null, instance {text} not null, item {text}, what {key} not null, \
             how {key} not null, row_count {number}, target {text} not null, identity {text} not null, \
             found_by {text}, shares {key}, whole {number} not null, run {text} not null, \
             stamped timestamp not null default current_timestamp){tail}"
        ),
        format!(
            "create table semel_fence (manifest {key} not null, scope {key} not null, \
             token {number} not null, primary key (manifest, scope)){tail}"
        ),
    ]
}

/// Whether the table of stamps is there.
///
/// # Errors
/// If the database cannot be asked.
pub fn are_there(session: &mut dyn Session) -> DbResult<bool> {
    Ok(session.table("semel_stamp")?.is_some() && session.table("semel_fence")?.is_some())
}

/// Makes the tables where they are not there.
///
/// # Errors
/// If they cannot be made; then the text says what would make them.
pub fn make(session: &mut dyn Session) -> DbResult<()> {
    const NAMES: [&str; 2] = ["semel_stamp", "semel_fence"];
    for (name, statement) in NAMES.iter().zip(ddl(session.address().engine)) {
        if session.table(name)?.is_some() {
            continue;
        }
        if let Err(error) = session.execute(&statement, &[]) {
            // Somebody else may have been quicker.
            if session.table(name)?.is_some() {
                continue;
            }
            let mut text =
                format!("the table {name} cannot be made in {}: {error}", session.address());
            // Nobody who may do more can help where a file is read-only.
            if error.kind == ErrorKind::Denied && session.address().engine != Engine::Sqlite {
                text.push_str("; let somebody who may make it type");
                for (name, statement) in NAMES.iter().zip(ddl(session.address().engine)) {
                    if session.table(name)?.is_none() {
                        text.push_str(&format!("  {statement};"));
                    }
                }
            }
            return Err(DbError { text, ..error });
        }
    }
    Ok(())
}

/// All stamps of a step and instance.
///
/// # Errors
/// If the database cannot be asked.
pub fn of_step(
    session: &mut dyn Session,
    pipeline: &str,
    step: &str,
    instance: &Instance,
) -> DbResult<Vec<RowStamp>> {
    let engine = session.address().engine;
    let [one, two, three] = [1, 2, 3].map(|place| engine.parameter(place));
    let sql = format!(
        "select {COLUMNS} from semel_stamp where pipeline = {one} and step = {two} and instance = {three}"
    );
    let rows = session.query(&sql, &[Some(pipeline), Some(step), Some(instance.as_str())])?;
    rows.iter().map(stamp).collect()
}

/// The stamp of a slot; within a transaction its row is locked until the end of it.
///
/// # Errors
/// If the database cannot be asked.
pub fn lock(session: &mut dyn Session, slot: &Digest) -> DbResult<Option<RowStamp>> {
    let engine = session.address().engine;
    let locks = if engine == Engine::Sqlite { "" } else { " for update" };
    let sql =
        format!("select {COLUMNS} from semel_stamp where slot = {}{locks}", engine.parameter(1));
    let rows = session.query(&sql, &[Some(&slot.to_string())])?;
    rows.first().map(stamp).transpose()
}

/// The stamps of those who share the rows of a slot; their rows are locked.
///
/// # Errors
/// If the database cannot be asked.
pub fn sharers(session: &mut dyn Session, slot: &Digest) -> DbResult<Vec<RowStamp>> {
    let engine = session.address().engine;
    let locks = if engine == Engine::Sqlite { "" } else { " for update" };
    let place = engine.parameter(1);
    let sql =
        format!("select {COLUMNS} from semel_stamp where shares = {place} order by slot{locks}");
    let rows = session.query(&sql, &[Some(&slot.to_string())])?;
    rows.iter().map(stamp).collect()
}

/// Lets those who share the rows of a slot share them with another one, which has them now.
///
/// # Errors
/// If the database cannot be asked.
pub fn redirect(session: &mut dyn Session, from: &Digest, to: &Digest) -> DbResult<()> {
    let engine = session.address().engine;
    let [one, two] = [1, 2].map(|place| engine.parameter(place));
    let sql = format!("update semel_stamp set shares = {one} where shares = {two}");
    session.execute(&sql, &[Some(&to.to_string()), Some(&from.to_string())]).map(|_| ())
}

/// What became of a claim.
#[derive(Debug)]
pub enum Claim {
    /// The stamp was written: nobody had one.
    First,
    /// There is one; its row is locked.
    Taken(Box<RowStamp>),
}

/// Writes a stamp where there is none of its slot. Whoever writes the same one in
/// another transaction is waited for.
///
/// # Errors
/// If the database cannot be asked.
pub fn claim(session: &mut dyn Session, stamp: &RowStamp) -> DbResult<Claim> {
    loop {
        if insert(session, stamp)? {
            return Ok(Claim::First);
        }
        // Whoever had it may have taken it back meanwhile.
        if let Some(found) = lock(session, &stamp.slot())? {
            return Ok(Claim::Taken(Box::new(found)));
        }
    }
}

/// Writes a stamp, unless there is one of its slot; says whether it did.
fn insert(session: &mut dyn Session, stamp: &RowStamp) -> DbResult<bool> {
    let engine = session.address().engine;
    let places: Vec<_> = (1..=14).map(|place| engine.parameter(place)).collect();
    let but = if engine == Engine::MySql { "" } else { " on conflict (slot) do nothing" };
    let sql = format!(
        "insert into semel_stamp ({COLUMNS}) values ({}, current_timestamp){but}",
        places.join(", ")
    );
    match with_values(session, &sql, stamp) {
        Err(error) if error.kind == ErrorKind::Duplicate => Ok(false),
        changed => Ok(changed? > 0),
    }
}

/// Writes a stamp over the one of its slot.
///
/// # Errors
/// If the database cannot be asked, or there is none.
pub fn replace(session: &mut dyn Session, stamp: &RowStamp) -> DbResult<()> {
    remove(session, &stamp.slot())?;
    match insert(session, stamp)? {
        true => Ok(()),
        false => Err(DbError::new(ErrorKind::Conflict, "somebody else stamped the same rows")),
    }
}

/// Takes the stamp of a slot away.
///
/// # Errors
/// If the database cannot be asked.
pub fn remove(session: &mut dyn Session, slot: &Digest) -> DbResult<()> {
    let place = session.address().engine.parameter(1);
    let sql = format!("delete from semel_stamp where slot = {place}");
    session.execute(&sql, &[Some(&slot.to_string())]).map(|_| ())
}

fn with_values(session: &mut dyn Session, sql: &str, stamp: &RowStamp) -> DbResult<u64> {
    let RowStamp { pipeline, task, fingerprint, .. } = stamp;
    let slot = stamp.slot().to_string();
    let (what, how) = (fingerprint.what.to_string(), fingerprint.how.to_string());
    let rows = stamp.rows.map(|rows| rows.to_string());
    let shares = stamp.shares.map(|slot| slot.to_string());
    let values = [
        Some(slot.as_str()),
        Some(pipeline),
        Some(&task.step),
        Some(task.instance.as_str()),
        task.item.as_deref(),
        Some(&what),
        Some(&how),
        rows.as_deref(),
        Some(&stamp.table),
        Some(&stamp.identity),
        stamp.found_by.as_deref(),
        shares.as_deref(),
        Some(if stamp.is_whole { "1" } else { "0" }),
        Some(&stamp.run),
    ];
    session.execute(sql, &values)
}

fn stamp(row: &Row) -> DbResult<RowStamp> {
    let damaged = || DbError::new(ErrorKind::Other, "a row of semel_stamp cannot be understood");
    let text = |at: usize| row.get(at).cloned().flatten().ok_or_else(damaged);
    let digest = |at: usize| Digest::from_hex(&text(at)?).ok_or_else(damaged);
    let maybe = |at: usize| row.get(at).cloned().flatten();
    let instance = Instance::from_stored(text(3)?);
    Ok(RowStamp {
        pipeline: text(1)?,
        task: TaskName { step: text(2)?, instance, item: maybe(4) },
        fingerprint: Fingerprint { what: digest(5)?, how: digest(6)? },
        rows: maybe(7).map(|rows| rows.parse().map_err(|_| damaged())).transpose()?,
        table: text(8)?,
        identity: text(9)?,
        found_by: maybe(10),
        shares: maybe(11).map(|slot| Digest::from_hex(&slot).ok_or_else(damaged)).transpose()?,
        is_whole: text(12)? == "1",
        run: text(13)?,
    })
}

/// Voids the stamps of a table that is empty, where they tell of rows. Nobody
/// stamps anything meanwhile, and those who are about to are waited for; whether it is
/// empty is asked once they are gone.
///
/// # Errors
/// If the database cannot be asked.
pub fn void(session: &mut dyn Session, table: &str) -> DbResult<()> {
    let engine = session.address().engine;
    if engine == Engine::MySql {
        session.execute(&format!("lock tables semel_stamp write, {table} read"), &[])?;
        let voided = void_locked(session, table);
        session.execute("unlock tables", &[])?;
        return voided;
    }
    session.begin()?;
    let locked = match engine {
        Engine::Postgres => {
            session.execute("lock table semel_stamp in exclusive mode", &[]).map(|_| ())
        }
        Engine::Sqlite | Engine::MySql => Ok(()),
    };
    match locked.and_then(|()| void_locked(session, table)) {
        Ok(()) => session.commit(),
        Err(error) => {
            session.rollback();
            Err(error)
        }
    }
}

fn void_locked(session: &mut dyn Session, table: &str) -> DbResult<()> {
    if has_rows(session, table)? {
        return Ok(());
    }
    let place = session.address().engine.parameter(1);
    let sql = format!(
        "update semel_stamp set whole = 0, row_count = 0 \
         where target = {place} and (row_count is null or row_count > 0)"
    );
    session.execute(&sql, &[Some(table)]).map(|_| ())
}

/// Whose turn it is: a manifest's, in a scope, under a token that only grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The manifest, as a digest of its id.
    pub manifest: Digest,
    /// The scope: a pipeline and an instance, as a digest.
    pub scope: Digest,
    /// The token of the lease.
    pub token: i64,
}

/// Raises the fence to a token: whoever has a lower one does nothing more here. Those
/// who are at work under a lower one are waited for.
///
/// # Errors
/// If the database cannot be asked.
pub fn raise(session: &mut dyn Session, fence: &Fence) -> DbResult<()> {
    let engine = session.address().engine;
    let [one, two, three] = [1, 2, 3].map(|place| engine.parameter(place));
    let and_then = match engine {
        Engine::MySql => "on duplicate key update token = greatest(token, values(token))",
        Engine::Postgres | Engine::Sqlite => {
            "on conflict (manifest, scope) do update set token = excluded.token \
             where semel_fence.token < excluded.token"
        }
    };
    let sql = format!(
        "insert into semel_fence (manifest, scope, token) values ({one}, {two}, {three}) {and_then}"
    );
    let (manifest, scope) = (fence.manifest.to_string(), fence.scope.to_string());
    let token = fence.token.to_string();
    session.execute(&sql, &[Some(&manifest), Some(&scope), Some(&token)]).map(|_| ())
}

/// The token that is asked for in a scope; nobody raises it before the end of the
/// transaction.
///
/// # Errors
/// If the database cannot be asked.
pub fn token(session: &mut dyn Session, fence: &Fence) -> DbResult<Option<i64>> {
    let engine = session.address().engine;
    let locks = match engine {
        Engine::Postgres => " for share",
        Engine::MySql => " lock in share mode",
        // It has one writer.
        Engine::Sqlite => "",
    };
    let [one, two] = [1, 2].map(|place| engine.parameter(place));
    let sql =
        format!("select token from semel_fence where manifest = {one} and scope = {two}{locks}");
    let (manifest, scope) = (fence.manifest.to_string(), fence.scope.to_string());
    let rows = session.query(&sql, &[Some(&manifest), Some(&scope)])?;
    let token = rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok());
    Ok(token)
}
