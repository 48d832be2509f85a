//! MySQL and MariaDB.
//!
//! The driver is asynchronous; a session drives it on the thread that asks, in a runtime
//! of its own, and nothing of that is seen from outside.
//!
//! Invariant: waiting ends when the watch says so. Then the statement is cancelled on the
//! server too, by `KILL QUERY` over a second, short connection, which makes sure that it
//! reached the same server. A connection that owes an answer, or on which anything else
//! but the server's word went wrong, is dropped and never used again: whatever was not
//! committed is taken back by the server.
//!
//! *If we die here*: the server notices that the connection is closed, and takes the
//! transaction back.

mod error;
mod feed;
mod load;
mod table;
mod value;
mod wait;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{ClientIdentity, Conn, DriverError, Opts, OptsBuilder, Params, SslOpts, Value};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use self::feed::Feed;
use self::load::Refused;
use self::wait::{Wait, Waiter};
use super::settings::tls::Tls;
use super::settings::{Host, MySql as Settings};
use super::{CopyError, DbError, DbResult, ErrorKind, Records, Row, Session, Table, Watch};
use crate::words::database::{Address, Engine};

/// How long a server may take to let us in, unless it is said.
const CONNECT: Duration = Duration::from_secs(30);

/// How long cancelling a statement on the server may take.
const CANCEL: Duration = Duration::from_secs(2);

/// How long a statement may take to end after it was cancelled.
const GRACE: Duration = Duration::from_secs(2);

/// How long the end of a transaction, which cannot be cancelled, may take after the watch
/// said stop.
const END_GRACE: Duration = Duration::from_secs(5);

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// How many seconds a lock is waited for, where the watch has no deadline. Until then the
/// switch ends it.
const LOCK_WAIT: u64 = 3600;

/// How many seconds a server waits for the next piece of what is loaded. Its own limit is
/// 30, and a file may be slower than that.
const READ_WAIT: u64 = 600;

/// After how long of silence the system asks whether the server is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The largest packet there is, in bytes.
const LARGEST: usize = 1024 * 1024 * 1024;

/// What it takes to connect.
#[derive(Clone)]
pub struct Options {
    /// The host; without it, this machine.
    pub host: Option<String>,
    /// The port.
    pub port: u16,
    /// The socket to connect to, instead of host and port.
    pub socket: Option<PathBuf>,
    /// Who logs in.
    pub user: String,
    /// Their password.
    pub password: Option<String>,
    /// The database that names without one are of.
    pub database: Option<String>,
    /// How the connection is encrypted; without it, it is not.
    pub tls: Option<SslOpts>,
    /// How long connecting and logging in may take.
    pub connect_timeout: Duration,
}

/// Without the password.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("socket", &self.socket)
            .field("user", &self.user)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// As the settings say.
    #[must_use]
    pub fn of(to: &Settings) -> Self {
        let (host, socket) = match &to.host {
            Host::Name(name) => (Some(name.clone()), None),
            Host::Socket(path) => (None, Some(path.clone())),
        };
        let unverified = SslOpts::default().with_danger_accept_invalid_certs(true);
        let rooted = |root: &PathBuf| {
            SslOpts::default()
                .with_disable_built_in_roots(true)
                .with_root_certs(vec![root.clone().into()])
        };
        let tls = match &to.tls {
            _ if socket.is_some() => None,
            Tls::Disable => None,
            Tls::Prefer | Tls::Require => Some(unverified),
            Tls::VerifyCa { root } => Some(rooted(root).with_danger_skip_domain_validation(true)),
            Tls::VerifyFull { root } => Some(rooted(root)),
        };
        let identity = to.identity.as_ref().map(|identity| {
            ClientIdentity::new(identity.certificate.clone().into(), identity.key.clone().into())
        });
        Self {
            host,
            port: to.port,
            socket,
            user: to.user.clone(),
            password: to.password.as_ref().map(|password| password.reveal().to_owned()),
            database: to.database.clone(),
            tls: tls.map(|tls| tls.with_client_identity(identity)),
            connect_timeout: to.connect_timeout.unwrap_or(CONNECT),
        }
    }

    fn to_driver(&self) -> DbResult<Opts> {
        let socket = match &self.socket {
            Some(path) => Some(path.to_str().ok_or_else(|| {
                let text = format!("the path of its socket is not UTF-8: {}", path.display());
                DbError::new(ErrorKind::Unreachable, text)
            })?),
            None => None,
        };
        let built = OptsBuilder::default()
            .ip_or_hostname(self.host.as_deref().unwrap_or("localhost"))
            .tcp_port(self.port)
            .socket(socket)
            // Otherwise it asks the server for its socket, and tries that here.
            .prefer_socket(false)
            .user(Some(self.user.as_str()))
            .pass(self.password.as_deref())
            .db_name(self.database.as_deref())
            .ssl_opts(self.tls.clone())
            // What is sent is held against the server's own limit; it may answer more.
            .max_allowed_packet(Some(LARGEST))
            .tcp_keepalive(Some(KEEPALIVE));
        Ok(built.into())
    }
}

/// A session.
pub struct MySql {
    address: Address,
    waiter: Waiter,
    opts: Opts,
    /// `None` once it was lost.
    conn: Option<Conn>,
    server: Server,
    /// The savepoint that stands at the beginning of the transaction that was begun.
    begun: Option<String>,
    /// Whether the server was found to refuse `LOAD DATA LOCAL`.
    refuses_local: bool,
}

/// What is known of the server.
#[derive(Clone, Debug)]
struct Server {
    /// The number of our connection, if it told.
    connection: Option<u64>,
    /// What tells it from others behind the same address.
    identity: String,
    /// The largest packet that it takes.
    max_packet: usize,
}

/// What tells a server from others, in SQL.
const IDENTITY: &str = "concat_ws(' ', @@hostname, @@port, @@server_id, @@datadir)";

impl fmt::Debug for MySql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySql").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What was answered to a statement.
struct Answer {
    rows: Vec<Result<Row, String>>,
    changed: u64,
}

/// What happens to what is under way when the watch says stop.
#[derive(Clone, Copy)]
enum Then {
    /// It is cancelled.
    Cancel,
    /// It is given time: cancelled, it would be less clear what became of it.
    Patience,
}

/// How many seconds a lock is waited for: a little longer than the watch allows, so that
/// it is the watch that ends it.
fn patience(waiter: &Waiter) -> u64 {
    waiter.remaining().map_or(LOCK_WAIT, |left| left.as_secs() + 2)
}

impl MySql {
    /// Connects as the settings say.
    ///
    /// # Errors
    /// If the server cannot be reached, or does not let us in.
    pub fn to(to: &Settings, address: &Address, watch: Watch) -> DbResult<Self> {
        let cannot = |error: DbError| {
            let text = format!("{address} cannot be reached: {}", error.text);
            let kind = match error.kind {
                ErrorKind::Other => ErrorKind::Unreachable,
                kind => kind,
            };
            DbError { kind, text }
        };
        let options = Options::of(to);
        let again = watch.share()?;
        match Self::connect(&options, address.clone(), watch) {
            // Encrypted, if the server can.
            Err(error)
                if to.tls == Tls::Prefer && options.tls.is_some() && error::has_no_tls(&error) =>
            {
                let plain = Options { tls: None, ..options };
                Self::connect(&plain, address.clone(), again).map_err(cannot)
            }
            connected => connected.map_err(cannot),
        }
    }

    /// Connects, and makes the session what the others count on.
    ///
    /// # Errors
    /// If the server cannot be reached, or does not let us in.
    pub fn connect(options: &Options, address: Address, watch: Watch) -> DbResult<Self> {
        let opts = options.to_driver()?;
        let waiter = Waiter::new(watch)?;
        if let Some(end) = waiter.end() {
            return Err(end.into());
        }
        let patience = patience(&waiter);
        let connecting = async {
            let connecting = async {
                let mut conn = Conn::new(opts.clone()).await?;
                let server = set_up(&mut conn, patience).await?;
                Ok::<_, mysql_async::Error>((conn, server))
            };
            timeout(options.connect_timeout, connecting).await
        };
        let (conn, server) = match waiter.run(connecting, std::future::ready(())) {
            Wait::Done(Ok(connected)) | Wait::Late(_, Ok(connected)) => {
                connected.map_err(|error| error::of(&error))?
            }
            Wait::Done(Err(_)) | Wait::Late(_, Err(_)) => {
                let seconds = options.connect_timeout.as_secs();
                let text = format!("it did not answer within {seconds} seconds");
                return Err(DbError::new(ErrorKind::Unreachable, text));
            }
            Wait::Never(end) => return Err(end.into()),
        };
        Ok(Self {
            address,
            waiter,
            opts,
            conn: Some(conn),
            server,
            begun: None,
            refuses_local: false,
        })
    }

    /// Drives something on the connection. Where the watch says stop, and it ends well
    /// all the same, it ended well.
    fn run<T>(
        &mut self,
        then: Then,
        work: impl AsyncFnOnce(&mut Conn) -> mysql_async::Result<T>,
    ) -> DbResult<T> {
        if let Some(end) = self.waiter.end() {
            return Err(end.into());
        }
        self.drive(then, work)
    }

    /// The same, also where the watch said stop before.
    fn drive<T>(
        &mut self,
        then: Then,
        work: impl AsyncFnOnce(&mut Conn) -> mysql_async::Result<T>,
    ) -> DbResult<T> {
        let Some(conn) = &mut self.conn else {
            return Err(DbError::new(ErrorKind::Unreachable, "the connection was lost"));
        };
        let last = async {
            match then {
                Then::Cancel => {
                    // Where it cannot be cancelled it ends with its connection.
                    let _ = timeout(CANCEL, cancel(&self.opts, &self.server)).await;
                    sleep(GRACE).await;
                }
                Then::Patience => sleep(END_GRACE).await,
            }
        };
        let (end, result) = match self.waiter.run(work(conn), last) {
            Wait::Done(result) => (None, result),
            Wait::Late(end, result) => (Some(end), result),
            Wait::Never(end) => {
                self.drop_connection();
                return Err(end.into());
            }
        };
        let error = match result {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if error.is_fatal() || error::ends_connection(&error) {
            self.drop_connection();
        }
        Err(match end {
            Some(end) if error.is_fatal() || error::was_cancelled(&error) => end.into(),
            _ => error::of(&error),
        })
    }

    /// Closes the connection, whatever is outstanding on it.
    fn drop_connection(&mut self) {
        self.conn = None;
        self.begun = None;
    }

    fn ask(&mut self, statement: &str, values: &[Option<&str>]) -> DbResult<Answer> {
        let values_len: usize = values.iter().flatten().map(|value| value.len()).sum();
        let (len, limit) = (statement.len() + values_len, self.server.max_packet);
        if len >= limit {
            // The server would hang up.
            let text = format!(
                "the statement has {len} bytes, and the server takes {limit} (max_allowed_packet)"
            );
            return Err(DbError::new(ErrorKind::Other, text));
        }
        self.run(Then::Cancel, async |conn| answer(conn, statement, values).await)
    }

    /// Copies into a table whose columns are known, in one statement or in many.
    fn feed(
        &mut self,
        table: &str,
        columns: &[&str],
        feed: &mut Feed<'_>,
    ) -> Result<u64, CopyError> {
        if !self.refuses_local {
            let statement = load::statement(table, columns, feed);
            let piece = load::PIECE.min(self.server.max_packet.saturating_sub(64));
            let loaded = self.run(Then::Cancel, async |conn| {
                match load::load(conn, &statement, feed, piece).await {
                    Err(error) if error::refuses_local(&error) => Ok(Err(Refused)),
                    loaded => loaded.map(Ok),
                }
            });
            feed.fault()?;
            match loaded? {
                Ok(loaded) => return Ok(loaded?),
                Err(Refused) => self.refuses_local = true,
            }
        }
        let limit = load::STATEMENT.min(self.server.max_packet.saturating_sub(1024));
        let inserted = self.run(Then::Cancel, async |conn| {
            load::insert(conn, &load::insertion(table, columns), feed, limit).await
        });
        feed.fault()?;
        Ok(inserted??)
    }
}

impl Session for MySql {
    fn address(&self) -> &Address {
        &self.address
    }

    fn set_watch(&mut self, watch: Watch) -> DbResult<()> {
        self.waiter.set_watch(watch);
        let seconds = patience(&self.waiter);
        let statement = format!("set session innodb_lock_wait_timeout = {seconds}");
        self.ask(&statement, &[]).map(|_| ())
    }

    fn is_lost(&self) -> bool {
        self.conn.is_none()
    }

    fn query(&mut self, statement: &str, values: &[Option<&str>]) -> DbResult<Vec<Row>> {
        let rows: Result<_, String> = self.ask(statement, values)?.rows.into_iter().collect();
        rows.map_err(|text| DbError::new(ErrorKind::Other, text))
    }

    fn execute(&mut self, statement: &str, values: &[Option<&str>]) -> DbResult<u64> {
        Ok(self.ask(statement, values)?.changed)
    }

    fn begin(&mut self) -> DbResult<()> {
        if self.begun.is_some() {
            // The server would commit the one that is open.
            let text = "a transaction is begun while another is open";
            return Err(DbError::new(ErrorKind::Other, text));
        }
        let savepoint = format!("semel_{}", Uuid::now_v7().simple());
        self.run(Then::Cancel, async |conn| {
            conn.query_drop("start transaction").await?;
            conn.query_drop(format!("savepoint {savepoint}")).await
        })?;
        self.begun = Some(savepoint);
        Ok(())
    }

    fn commit(&mut self) -> DbResult<()> {
        self.run(Then::Patience, async |conn| {
            conn.query_drop("commit and no chain no release").await
        })?;
        self.begun = None;
        Ok(())
    }

    fn rollback(&mut self) {
        let rolled_back = self.drive(Then::Patience, async |conn| {
            let statement = "rollback and no chain no release";
            // What was meant to cancel the statement before may have come too late for it,
            // and early for this one.
            if conn.query_drop(statement).await.is_err() {
                conn.query_drop(statement).await?;
            }
            Ok(())
        });
        if rolled_back.is_err() {
            self.drop_connection();
        }
        self.begun = None;
    }

    /// The savepoint of its beginning is still there. Savepoints that were set since are
    /// not, after this.
    fn is_in_transaction(&mut self) -> DbResult<bool> {
        let Some(savepoint) = self.begun.clone() else { return Ok(false) };
        self.run(Then::Cancel, async |conn| {
            match conn.query_drop(format!("release savepoint {savepoint}")).await {
                Ok(()) => {}
                Err(error) if error::says_no_savepoint(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
            conn.query_drop(format!("savepoint {savepoint}")).await?;
            Ok(true)
        })
    }

    fn table(&mut self, name: &str) -> DbResult<Option<Table>> {
        let Some(about) = table::About::of(name) else { return Ok(None) };
        let answer = self.query(&about.table(), &[])?;
        let Some(found) = answer.first() else { return Ok(None) };
        let columns = self.query(&about.columns(), &[])?;
        Ok(Some(table::read(found, columns)))
    }

    fn tables(&mut self) -> DbResult<Vec<String>> {
        let rows = self.query(table::ALL, &[])?;
        Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
    }

    fn copy(
        &mut self,
        table: &str,
        columns: &[&str],
        records: &mut dyn Records,
    ) -> Result<u64, CopyError> {
        if self.begun.is_none() {
            let text = "records are copied outside of a transaction";
            return Err(DbError::new(ErrorKind::Other, text).into());
        }
        let known = match table::About::of(table) {
            Some(about) => self.query(&about.columns(), &[])?,
            None => Vec::new(),
        };
        if known.is_empty() {
            let text = format!("there is no table {table}");
            return Err(DbError::new(ErrorKind::NotThere, text).into());
        }
        let fits = columns.iter().map(|name| table::fit(name, &known)).collect::<DbResult<_>>()?;
        let mut feed = Feed::new(records, fits, self.waiter.watch());
        if !feed.counts() {
            return self.feed(table, columns, &mut feed);
        }
        // A 0 in a column that counts by itself would become the next number.
        self.execute(
            "set @semel_mode = @@sql_mode, \
             sql_mode = concat(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')",
            &[],
        )?;
        let copied = self.feed(table, columns, &mut feed);
        if self.conn.is_some() {
            let back = self.drive(Then::Patience, async |conn| {
                conn.query_drop("set sql_mode = @semel_mode").await
            });
            if back.is_err() {
                self.drop_connection();
            }
        }
        copied
    }
}

impl Drop for MySql {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            // Without goodbye the server counts it as aborted; that is all.
            let _ = self.waiter.run_for(GOODBYE, conn.disconnect());
        }
    }
}

/// Makes a session what the others count on.
async fn set_up(conn: &mut Conn, lock_wait: u64) -> mysql_async::Result<Server> {
    let statement = format!("select connection_id(), {IDENTITY}, @@max_allowed_packet, @@sql_mode");
    let rows = lossy(conn, &statement).await?;
    let Some([connection, identity, max_packet, modes]) = rows.first().map(Vec::as_slice) else {
        return Err(DriverError::UnexpectedPacket { payload: Vec::new() }.into());
    };
    // Without its number a connection is not cancelled, but dropped.
    let connection = connection.parse().ok();
    // What every server takes.
    let max_packet = max_packet.parse().unwrap_or(1024);
    let identity = identity.clone();
    conn.query_drop("set names utf8mb4").await?;
    let modes = Engine::MySql.literal(&strict(modes));
    conn.query_drop(format!(
        // Notes are how it says that something was cut short that is not an error.
        "set session sql_mode = {modes}, autocommit = 1, sql_notes = 1, \
         innodb_lock_wait_timeout = {lock_wait}, net_read_timeout = {READ_WAIT}"
    ))
    .await?;
    // A server that logs statements refuses to write at READ COMMITTED. One that does not
    // know the variables does not log.
    let logs = lossy(conn, "select @@log_bin and @@binlog_format = 'STATEMENT'").await;
    match logs {
        Ok(rows) if rows.first().is_some_and(|row| row[..] == ["1"]) => {}
        Ok(_) | Err(mysql_async::Error::Server(_)) => {
            conn.query_drop("set session transaction isolation level read committed").await?;
        }
        Err(error) => return Err(error),
    }
    Ok(Server { connection, identity, max_packet })
}

/// Modes of SQL, with those that turn what does not fit into errors, and without the one
/// in which a literal of ours would mean something else.
fn strict(modes: &str) -> String {
    let needed = ["STRICT_ALL_TABLES", "ERROR_FOR_DIVISION_BY_ZERO", "NO_ENGINE_SUBSTITUTION"];
    let kept = modes.split(',').filter(|mode| {
        !mode.is_empty() && !needed.contains(mode) && *mode != "NO_BACKSLASH_ESCAPES"
    });
    kept.chain(needed).collect::<Vec<_>>().join(",")
}

/// Cancels what our connection does, over another. Behind one address there may be many
/// servers, and the number of our connection is somebody else's on each of them.
async fn cancel(opts: &Opts, server: &Server) -> mysql_async::Result<()> {
    let mut conn = Conn::new(opts.clone()).await?;
    let rows = lossy(&mut conn, &format!("select {IDENTITY}")).await?;
    let is_same = rows.first().is_some_and(|row| row[..] == [server.identity.as_str()]);
    if let (Some(connection), true) = (server.connection, is_same) {
        conn.query_drop(format!("kill query {connection}")).await?;
    }
    conn.disconnect().await
}

/// The rows of a statement without parameters, whatever bytes are in them; NULL as the
/// empty text.
async fn lossy(conn: &mut Conn, statement: &str) -> mysql_async::Result<Vec<Vec<String>>> {
    let rows: Vec<mysql_async::Row> = conn.query(statement).await?;
    let text = |value| match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => String::new(),
    };
    Ok(rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect())
}

/// Sends a statement, and reads all that is answered.
async fn answer(
    conn: &mut Conn,
    statement: &str,
    values: &[Option<&str>],
) -> mysql_async::Result<Answer> {
    /// Of several results, as of a procedure, the first that has rows counts.
    macro_rules! read {
        ($result:expr) => {{
            let mut result = $result;
            let columns = result.columns().unwrap_or_default();
            let mut rows = Vec::new();
            if !columns.is_empty() {
                for row in result.collect::<mysql_async::Row>().await? {
                    rows.push(value::texts(row, &columns));
                }
            }
            result.drop_result().await?;
            rows
        }};
    }
    let rows = if values.is_empty() {
        read!(conn.query_iter(statement).await?)
    } else {
        let values = values.iter().map(|value| match value {
            Some(text) => Value::Bytes(text.as_bytes().to_vec()),
            None => Value::NULL,
        });
        let params = Params::Positional(values.collect());
        read!(conn.exec_iter(statement, params).await?)
    };
    Ok(Answer { rows, changed: conn.affected_rows() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_modes_are_kept_and_strictness_is_added() {
        assert_eq!(
            strict("ANSI_QUOTES,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES"),
            "ANSI_QUOTES,STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
        );
        assert_eq!(
            strict(""),
            "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
        );
    }

    #[test]
    fn a_password_is_never_shown() {
        let options = Options {
            host: None,
            port: 3306,
            socket: None,
            user: "etl".to_owned(),
            password: Some("geheim".to_owned()),
            database: None,
            tls: None,
            connect_timeout: Duration::from_secs(1),
        };
        assert!(!format!("{options:?}").contains("geheim"));
    }
}
