//! A session with PostgreSQL.
//!
//! The client is asynchronous; that stays in here, behind a runtime of the session's
//! own. Statements go as text, several rows come back as text: what a value is, the
//! database knows. Where a statement has parameters it is prepared by name and executed
//! with literals, so that they are bound, and typed by the database.
//!
//! Invariant: a transaction is told from another by its number. A script that ended the
//! one it was in is found out, though another may be open by then.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::Cursor;
use std::pin::pin;
use std::time::Duration;

use futures_util::SinkExt as _;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_postgres::config::{self as client, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, CopyInSink, Error, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::settings::postgres::ChannelBinding;
use super::settings::tls::{self, Tls};
use super::settings::{Host, Postgres as Settings};
use super::{
    Column, CopyError, DbError, DbResult, ErrorKind, Record, Records, Row, Session, Table, Watch,
};
use crate::words::database::{Address, Engine};

/// How often the watch is looked at while the server is waited for.
const TICK: Duration = Duration::from_millis(20);

/// How long the server may take to give up.
const GRACE: Duration = Duration::from_secs(2);

/// How long a server may take to let us in, unless it is said.
const CONNECT: Duration = Duration::from_secs(30);

/// After how long of silence the system asks whether the server is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// How often what has arrived is looked at, before a session is used again: it is read,
/// the connection learns of it, and ends.
const LOOKS: usize = 4;

/// How much is sent at a time.
const CHUNK: usize = 128 * 1024;

/// A session with a server.
pub struct Postgres {
    runtime: Runtime,
    client: Client,
    config: Config,
    tls: MakeRustlsConnect,
    address: Address,
    watch: RefCell<Watch>,
    /// The process on the server that works for us.
    process: String,
    /// The number of the transaction that was begun.
    transaction: Option<String>,
    is_lost: Cell<bool>,
    /// How many statements were prepared: each has a name of its own, since one that
    /// fails keeps it.
    prepared: Cell<u64>,
}

impl Postgres {
    /// Connects to a server.
    ///
    /// # Errors
    /// If it cannot be reached, or does not let us in.
    pub fn connect(to: &Settings, address: &Address, watch: Watch) -> DbResult<Self> {
        let config = config(to);
        let tls = tls::config(&to.tls, to.identity.as_ref());
        let tls =
            tls.map_err(|why| DbError::new(ErrorKind::Denied, format!("{address}: {why}")))?;
        let tls = MakeRustlsConnect::new(tls);
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| DbError::new(ErrorKind::Other, error.to_string()))?;
        let connecting = config.connect(tls.clone());
        let connected = runtime.block_on(until(&watch, connecting));
        let cannot = |error: DbError| {
            let text = format!("{address} cannot be reached: {error}");
            let kind = match error.kind {
                ErrorKind::Other => ErrorKind::Unreachable,
                kind => kind,
            };
            DbError { kind, text }
        };
        let (client, connection) = match connected {
            Some(Ok(connected)) => connected,
            Some(Err(error)) => return Err(cannot(of(&error))),
            None => return Err(cannot(watch.over().unwrap_or_else(gone))),
        };
        runtime.spawn(async move {
            // Whoever waits for an answer is told of its end.
            let _ = connection.await;
        });
        let mut session = Self {
            runtime,
            client,
            config,
            tls,
            address: address.clone(),
            watch: RefCell::new(watch),
            process: String::new(),
            transaction: None,
            is_lost: Cell::new(false),
            prepared: Cell::new(0),
        };
        let process = session.query("select pg_backend_pid()", &[]).map_err(cannot)?;
        session.process = process.into_iter().flatten().flatten().next().unwrap_or_default();
        Ok(session)
    }

    /// Waits for an answer, as long as the watch allows. What is waited for in vain is
    /// cancelled on the server, too.
    fn wait<T>(&self, asked: impl Future<Output = Result<T, Error>>) -> DbResult<T> {
        let watch = self.watch.borrow();
        let answer = self.runtime.block_on(async {
            let mut asked = pin!(asked);
            if let Some(answer) = until(&watch, asked.as_mut()).await {
                return Ok(answer);
            }
            let over = watch.over().unwrap_or_else(gone);
            let holder = match over.kind {
                ErrorKind::TimedOut => timeout(GRACE, self.holder()).await.ok().flatten(),
                _ => None,
            };
            let token = self.client.cancel_token();
            let _is_told = timeout(GRACE, token.cancel_query(self.tls.clone())).await;
            match timeout(GRACE, asked).await {
                // It went well in that very moment.
                Ok(Ok(answer)) => Ok(Ok(answer)),
                ended => {
                    if ended.is_err() {
                        self.is_lost.set(true);
                    }
                    let text = match holder {
                        Some(holder) => format!("{}; it waited for {holder}", over.text),
                        None => over.text,
                    };
                    Err(DbError { text, ..over })
                }
            }
        })?;
        answer.map_err(|error| {
            let wrong = of(&error);
            if wrong.kind == ErrorKind::Unreachable {
                self.is_lost.set(true);
            }
            wrong
        })
    }

    /// Who holds the lock that is waited for, in words.
    async fn holder(&self) -> Option<String> {
        let (client, connection) = self.config.connect(self.tls.clone()).await.ok()?;
        let connection = tokio::spawn(connection);
        let sql = format!(
            "select format('process %s of %s (%s%s), %s since %s', pid, usename, \
             coalesce(nullif(application_name, ''), 'no name'), coalesce(', ' || client_addr, ''), \
             state, to_char(state_change, 'HH24:MI:SS')) from pg_stat_activity \
             where pid = any(pg_blocking_pids({}))",
            self.process
        );
        let answer = client.simple_query(&sql).await.ok()?;
        connection.abort();
        rows_of(&answer).0.into_iter().flatten().flatten().next()
    }

    /// Sends one statement; its rows, and how many it changed.
    fn send(&self, statement: &str, values: &[Option<&str>]) -> DbResult<(Vec<Row>, u64)> {
        let answer = if values.is_empty() {
            self.wait(self.client.simple_query(statement))?
        } else {
            let literals = values.iter().map(|value| match value {
                Some(text) => Engine::Postgres.literal(text),
                None => "null".to_owned(),
            });
            let literals: Vec<_> = literals.collect();
            self.prepared.set(self.prepared.get() + 1);
            let name = format!("semel_{}", self.prepared.get());
            // The server is asked once: the three go together.
            let script = format!(
                "prepare {name} as {statement}\n; execute {name}({}); deallocate {name}",
                literals.join(", ")
            );
            self.wait(self.client.simple_query(&script))?
        };
        Ok(rows_of(&answer))
    }
}

/// What the client wants to know to connect.
fn config(to: &Settings) -> Config {
    let mut config = Config::new();
    match &to.host {
        Host::Name(name) => config.host(name),
        Host::Socket(folder) => config.host_path(folder),
    };
    if let Some(address) = to.address {
        config.hostaddr(address);
    }
    config.port(to.port).user(&to.user).dbname(&to.database);
    config.application_name(&to.application_name);
    if let Some(password) = &to.password {
        config.password(password.reveal());
    }
    if !to.options.is_empty() {
        config.options(&to.options);
    }
    config.ssl_mode(match (&to.host, &to.tls) {
        (Host::Socket(_), _) | (_, Tls::Disable) => SslMode::Disable,
        (_, Tls::Prefer) => SslMode::Prefer,
        (_, Tls::Require | Tls::VerifyCa { .. } | Tls::VerifyFull { .. }) => SslMode::Require,
    });
    config.channel_binding(match to.channel_binding {
        ChannelBinding::Disable => client::ChannelBinding::Disable,
        ChannelBinding::Prefer => client::ChannelBinding::Prefer,
        ChannelBinding::Require => client::ChannelBinding::Require,
    });
    if to.must_be_writable {
        config.target_session_attrs(client::TargetSessionAttrs::ReadWrite);
    }
    config.connect_timeout(to.connect_timeout.unwrap_or(CONNECT));
    // A server that is gone without a word is noticed in some two minutes.
    config.keepalives_idle(KEEPALIVE).keepalives_interval(Duration::from_secs(10));
    config.keepalives_retries(6);
    config
}

/// Waits for an answer; `None` where the watch said stop before.
async fn until<T>(watch: &Watch, asked: impl Future<Output = T>) -> Option<T> {
    let mut asked = pin!(asked);
    loop {
        match timeout(TICK, asked.as_mut()).await {
            Ok(answer) => return Some(answer),
            Err(_) if watch.over().is_some() => return None,
            Err(_) => {}
        }
    }
}

fn gone() -> DbError {
    DbError::new(ErrorKind::Stopped, "it was stopped")
}

fn rows_of(answer: &[SimpleQueryMessage]) -> (Vec<Row>, u64) {
    let (mut rows, mut changed) = (Vec::new(), 0);
    for message in answer {
        match message {
            SimpleQueryMessage::Row(row) => {
                rows.push((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect());
            }
            SimpleQueryMessage::CommandComplete(count) => changed += count,
            _ => {}
        }
    }
    (rows, changed)
}

impl Session for Postgres {
    fn address(&self) -> &Address {
        &self.address
    }

    fn set_watch(&mut self, watch: Watch) -> DbResult<()> {
        self.watch.replace(watch);
        // The connection learns of its end only while something is waited for.
        self.runtime.block_on(async {
            for _ in 0..LOOKS {
                tokio::task::yield_now().await;
            }
        });
        Ok(())
    }

    fn is_lost(&self) -> bool {
        self.is_lost.get() || self.client.is_closed()
    }

    fn query(&mut self, statement: &str, values: &[Option<&str>]) -> DbResult<Vec<Row>> {
        self.send(statement, values).map(|(rows, _)| rows)
    }

    fn execute(&mut self, statement: &str, values: &[Option<&str>]) -> DbResult<u64> {
        self.send(statement, values).map(|(_, changed)| changed)
    }

    fn begin(&mut self) -> DbResult<()> {
        // What is committed outlives a crash of the server, whatever it is set to.
        let begin = "begin isolation level read committed; \
             select set_config('synchronous_commit', 'on', true) \
             where current_setting('synchronous_commit') = 'off'; \
             select 'number ' || txid_current()";
        let rows = self.query(begin, &[])?;
        self.transaction = rows.into_iter().flatten().flatten().find(|text| text != "on");
        Ok(())
    }

    fn commit(&mut self) -> DbResult<()> {
        self.transaction = None;
        self.send("commit", &[]).map(|_| ())
    }

    fn rollback(&mut self) {
        self.transaction = None;
        if self.is_lost() {
            return;
        }
        // It is taken back even where the watch says stop; if it cannot be, the
        // connection takes it along.
        let taken_back = self
            .runtime
            .block_on(async { timeout(GRACE, self.client.batch_execute("rollback")).await });
        if !matches!(taken_back, Ok(Ok(()))) {
            self.is_lost.set(true);
        }
    }

    fn is_in_transaction(&mut self) -> DbResult<bool> {
        let rows = self.query("select 'number ' || txid_current_if_assigned()", &[])?;
        let number = rows.into_iter().flatten().flatten().next();
        Ok(number.is_some() && number == self.transaction)
    }

    fn table(&mut self, name: &str) -> DbResult<Option<Table>> {
        let sql = format!(
            "select a.attname, format_type(a.atttypid, a.atttypmod), a.attgenerated <> '', c.oid, c.relkind, \
             exists (select from pg_partition_tree(c.oid) t join pg_class p on p.oid = t.relid where p.relpersistence = 'u') \
             or c.relpersistence = 'u' \
             from pg_class c join pg_attribute a on a.attrelid = c.oid \
             where c.oid = to_regclass({}) and a.attnum > 0 and not a.attisdropped order by a.attnum",
            Engine::Postgres.literal(name)
        );
        let rows = self.query(&sql, &[])?;
        let Some(first) = rows.first() else { return Ok(None) };
        let text = |row: &Row, at: usize| row.get(at).cloned().flatten().unwrap_or_default();
        let (identity, kind) = (text(first, 3), text(first, 4));
        let not_atomic = match kind.as_str() {
            "r" | "p" if text(first, 5) == "t" => {
                Some("it is unlogged: a crash of the server empties it, and the stamp would stay")
            }
            "r" | "p" => None,
            "f" => Some("it is a foreign table: what is written there is committed elsewhere"),
            _ => Some("it is no table"),
        };
        let columns = rows.iter().map(|row| Column {
            name: text(row, 0),
            of: text(row, 1),
            is_generated: text(row, 2) == "t",
        });
        Ok(Some(Table {
            columns: columns.collect(),
            identity,
            not_atomic: not_atomic.map(str::to_owned),
        }))
    }

    fn tables(&mut self) -> DbResult<Vec<String>> {
        let sql = "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace \
             where c.relkind in ('r', 'p') and pg_table_is_visible(c.oid) \
             and n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema' order by 1";
        Ok(self.query(sql, &[])?.into_iter().flatten().flatten().collect())
    }

    fn copy(
        &mut self,
        table: &str,
        columns: &[&str],
        records: &mut dyn Records,
    ) -> Result<u64, CopyError> {
        let names: Vec<_> = columns.iter().map(|name| Engine::Postgres.quoted(name)).collect();
        let sql = format!("copy {table} ({}) from stdin", names.join(", "));
        let sink = self.wait(self.client.copy_in::<_, Cursor<Vec<u8>>>(&sql))?;
        let mut sink = Box::pin(sink);
        let mut record = Record::default();
        let mut chunk = Vec::with_capacity(CHUNK + CHUNK / 4);
        let mut is_open = true;
        while is_open {
            match records.next(&mut record) {
                Ok(true) => write_line(&record, &mut chunk),
                Ok(false) => is_open = false,
                // A copy that is not finished is taken back by the server.
                Err(why) => {
                    drop(sink);
                    return Err(CopyError::Source(why));
                }
            }
            if chunk.len() >= CHUNK || !is_open && !chunk.is_empty() {
                let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK + CHUNK / 4));
                if self.wait(sink.send(Cursor::new(full))).is_err() {
                    // Why it does not go on is said at its end.
                    break;
                }
            }
        }
        self.finish_copy(sink)
    }
}

impl Postgres {
    fn finish_copy(
        &self,
        mut sink: std::pin::Pin<Box<CopyInSink<Cursor<Vec<u8>>>>>,
    ) -> Result<u64, CopyError> {
        if let Some(over) = self.watch.borrow().over() {
            return Err(over.into());
        }
        let finished = self.wait(sink.as_mut().finish());
        finished.map_err(CopyError::Database)
    }
}

/// A record as a line of the text format: tabs between fields, `\N` for NULL.
fn write_line(record: &Record, line: &mut Vec<u8>) {
    for (at, field) in record.fields().enumerate() {
        if at > 0 {
            line.push(b'\t');
        }
        let Some(field) = field else {
            line.extend_from_slice(b"\\N");
            continue;
        };
        let mut rest = field;
        while let Some(special) =
            rest.iter().position(|byte| matches!(byte, b'\\' | b'\t' | b'\n' | b'\r'))
        {
            line.extend_from_slice(&rest[..special]);
            line.push(b'\\');
            line.push(match rest[special] {
                b'\t' => b't',
                b'\n' => b'n',
                b'\r' => b'r',
                other => other,
            });
            rest = &rest[special + 1..];
        }
        line.extend_from_slice(rest);
    }
    line.push(b'\n');
}

fn of(error: &Error) -> DbError {
    let Some(db) = error.as_db_error() else {
        let mut text = error.to_string();
        // The cause is what helps: "Connection refused".
        let mut cause = std::error::Error::source(error);
        while let Some(next) = cause {
            let said = next.to_string();
            if !text.contains(&said) {
                text = format!("{text}: {said}");
            }
            cause = next.source();
        }
        let lost = error.is_closed() || std::error::Error::source(error).is_some();
        let kind = if lost { ErrorKind::Unreachable } else { ErrorKind::Other };
        return DbError { kind, text };
    };
    let code = db.code();
    let kind = match code.code() {
        "55P03" => ErrorKind::Busy,
        "40001" | "40P01" => ErrorKind::Conflict,
        "42P01" | "42703" | "3D000" | "3F000" => ErrorKind::NotThere,
        "42501" => ErrorKind::Denied,
        "53100" => ErrorKind::Full,
        "23505" => ErrorKind::Duplicate,
        "57P01" | "57P02" | "57P03" => ErrorKind::Unreachable,
        other => match &other[..2] {
            "08" | "53" => ErrorKind::Unreachable,
            "28" => ErrorKind::Denied,
            "22" | "23" => ErrorKind::BadRecord(None),
            _ => ErrorKind::Other,
        },
    };
    let mut text = db.message().to_owned();
    if let Some(detail) = db.detail() {
        text = format!("{text} ({detail})");
    }
    if let Some(hint) = db.hint().filter(|_| *code != SqlState::T_R_DEADLOCK_DETECTED) {
        text = format!("{text}; {hint}");
    }
    // A copy says where it was: in which of the lines it was sent, in which column.
    let place = db.where_().and_then(|place| place.strip_prefix("COPY "));
    let Some((_, place)) = place.and_then(|place| place.split_once(", line ")) else {
        return DbError { kind, text };
    };
    let record = place.split(|c: char| !c.is_ascii_digit()).next();
    let record = record.and_then(|number| number.parse().ok());
    if let Some((_, column)) = place.split_once(", column ") {
        let (column, value) = column.split_once(": ").unwrap_or((column, ""));
        text = format!("column {column}: {text}");
        if !value.is_empty() && !text.contains(value) {
            text = format!("{text}, is {value}");
        }
    }
    let kind = match kind {
        ErrorKind::Other | ErrorKind::Duplicate | ErrorKind::BadRecord(_) => {
            ErrorKind::BadRecord(record)
        }
        kind => kind,
    };
    DbError { kind, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_a_line_that_comes_back() {
        let mut record = Record::default();
        for field in [Some(&b"a\tb"[..]), None, Some(b""), Some(b"\\N"), Some(b"x\r\ny")] {
            record.push(field);
        }
        let mut line = Vec::new();
        write_line(&record, &mut line);
        assert_eq!(line, b"a\\tb\t\\N\t\t\\\\N\tx\\r\\ny\n");
    }
}
