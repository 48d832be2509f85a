//! A session of MySQL or MariaDB, against a private server; or against another one, where
//! `SEMEL_TEST_MYSQL` is `host:port:user:database`, and `SEMEL_TEST_MYSQL_PASSWORD` the
//! password. With `SEMEL_TEST_MYSQL_CA`, a certificate, all connections are encrypted.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mysql_async::SslOpts;
use semel::ground::database::mysql::{MySql, Options};
use semel::ground::database::{CopyError, DbError, ErrorKind, Record, Records, Session, Watch};
use semel::ground::world::process::Stop;
use semel::words::database::{Address, Engine};
use semel_testkit::servers::mariadb;

/// One test at a time: they change what is global to the server, and look at its sessions.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn options() -> Options {
    static PRIVATE: LazyLock<String> = LazyLock::new(|| {
        let server = mariadb();
        format!("127.0.0.1:{}:{}:{}", server.port(), server.user(), server.create_database())
    });
    let told = std::env::var("SEMEL_TEST_MYSQL").unwrap_or_else(|_| PRIVATE.clone());
    let parts: Vec<_> = told.split(':').collect();
    Options {
        host: Some(parts[0].to_owned()),
        port: parts[1].parse().unwrap(),
        socket: None,
        user: parts[2].to_owned(),
        password: std::env::var("SEMEL_TEST_MYSQL_PASSWORD").ok(),
        database: Some(parts[3].to_owned()),
        tls: std::env::var_os("SEMEL_TEST_MYSQL_CA")
            .map(|ca| SslOpts::default().with_root_certs(vec![PathBuf::from(ca).into()])),
        connect_timeout: Duration::from_secs(10),
    }
}

fn try_connect(options: &Options, watch: Watch) -> Result<MySql, DbError> {
    let address = Address {
        engine: Engine::MySql,
        host: options.host.clone().unwrap_or_default(),
        port: Some(options.port),
        database: options.database.clone().unwrap_or_default(),
    };
    MySql::connect(options, address, watch)
}

fn watch() -> Watch {
    Watch { stop: Stop::new().unwrap(), deadline: None }
}

fn connect() -> MySql {
    try_connect(&options(), watch()).unwrap()
}

/// A session that is stopped by the switch.
fn stoppable() -> (MySql, Stop) {
    let stop = Stop::new().unwrap();
    let shared = stop.share().unwrap();
    (try_connect(&options(), Watch { stop: shared, deadline: None }).unwrap(), stop)
}

fn within(limit: Duration) -> MySql {
    let deadline = Some(Instant::now() + limit);
    try_connect(&options(), Watch { stop: Stop::new().unwrap(), deadline }).unwrap()
}

/// Makes a table anew; `what` is what stands in its parentheses, and after.
fn make(session: &mut MySql, name: &str, what: &str) {
    session.execute(&format!("drop table if exists {name}"), &[]).unwrap();
    session.execute(&format!("create table {name} {what} default charset utf8mb4"), &[]).unwrap();
}

fn one(session: &mut MySql, statement: &str) -> Option<String> {
    session.query(statement, &[]).unwrap().remove(0).remove(0)
}

fn count(session: &mut MySql, table: &str) -> u64 {
    one(session, &format!("select count(*) from {table}")).unwrap().parse().unwrap()
}

/// Waits until the server says so.
fn wait_until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "it never came to be");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whether another session does something that begins like this.
fn is_doing(session: &mut MySql, what: &str) -> bool {
    let statement = format!(
        "select count(*) from information_schema.processlist \
         where id <> connection_id() and info like '{what}%'"
    );
    one(session, &statement).unwrap() != "0"
}

/// Records from texts; what is `None` is NULL.
struct Given {
    rows: Vec<Vec<Option<Vec<u8>>>>,
    at: usize,
    /// What is said after the last.
    then: Result<bool, String>,
}

fn given(rows: &[&[Option<&str>]]) -> Given {
    let field = |field: &Option<&str>| field.map(|text| text.as_bytes().to_vec());
    let rows = rows.iter().map(|row| row.iter().map(field).collect()).collect();
    Given { rows, at: 0, then: Ok(false) }
}

impl Records for Given {
    fn next(&mut self, record: &mut Record) -> Result<bool, String> {
        let Some(row) = self.rows.get(self.at) else { return self.then.clone() };
        self.at += 1;
        record.clear();
        for field in row {
            record.push(field.as_deref());
        }
        Ok(true)
    }
}

/// Numbers from 1, each with a text; `each` is called before every one.
struct Numbers<F> {
    until: u64,
    at: u64,
    each: F,
}

fn numbers(until: u64) -> Numbers<impl FnMut(u64) -> Result<(), String>> {
    Numbers { until, at: 0, each: |_| Ok(()) }
}

impl<F: FnMut(u64) -> Result<(), String>> Records for Numbers<F> {
    fn next(&mut self, record: &mut Record) -> Result<bool, String> {
        if self.at == self.until {
            return Ok(false);
        }
        self.at += 1;
        (self.each)(self.at)?;
        record.clear();
        record.push(Some(self.at.to_string().as_bytes()));
        record.push(Some(b"a flight\tfrom \\New York\n"));
        Ok(true)
    }
}

fn database(error: CopyError) -> DbError {
    match error {
        CopyError::Database(error) => error,
        CopyError::Source(text) => panic!("{text}"),
    }
}

/// Lets `test` copy in both ways: by `LOAD DATA LOCAL`, and by inserting.
fn both_ways(test: impl Fn(&mut MySql, &str)) {
    let mut session = connect();
    test(&mut session, "loading");
    let mut master = connect();
    let before = one(&mut master, "select @@global.local_infile").unwrap();
    master.execute("set global local_infile = 0", &[]).unwrap();
    let mut session = connect();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        test(&mut session, "inserting");
    }));
    master.execute(&format!("set global local_infile = {before}"), &[]).unwrap();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_session_is_strict_and_reads_what_is_committed() {
    let _alone = alone();
    let mut session = connect();
    let modes = one(&mut session, "select @@sql_mode").unwrap();
    assert!(modes.contains("STRICT_ALL_TABLES") && !modes.contains("NO_BACKSLASH"), "{modes}");
    assert_eq!(one(&mut session, "select @@autocommit").unwrap(), "1");
    let logs = one(&mut session, "select @@log_bin and @@binlog_format = 'STATEMENT'").unwrap();
    let isolation = if logs == "1" { "REPEATABLE-READ" } else { "READ-COMMITTED" };
    assert_eq!(one(&mut session, "select @@tx_isolation").unwrap(), isolation);
    let cipher = session.query("show status like 'Ssl_cipher'", &[]).unwrap()[0][1].clone();
    assert_eq!(cipher.unwrap() != "", options().tls.is_some());
    assert_eq!(one(&mut session, "select @@innodb_lock_wait_timeout").unwrap(), "3600");
    assert_eq!(one(&mut session, "select @@character_set_client").unwrap(), "utf8mb4");
    assert_eq!(session.address().to_string().split("://").next(), Some("mysql"));
    let mut session = within(Duration::from_secs(5));
    let wait: u64 =
        one(&mut session, "select @@innodb_lock_wait_timeout").unwrap().parse().unwrap();
    assert!((1..=7).contains(&wait), "{wait}");
}

#[test]
fn values_come_as_the_server_prints_them_with_and_without_parameters() {
    let _alone = alone();
    let mut session = connect();
    make(
        &mut session,
        "printed",
        "(id int primary key, i bigint unsigned, z int(6) zerofill, y year, d decimal(20,5), \
          f float, g double, h double(10,3), k date, t datetime(3), m timestamp null, \
          n time(2), s varchar(20), x text, j float)",
    );
    let floats = [
        ("0", "0"),
        ("1.1", "1.1"),
        ("-1.5", "-1.5"),
        ("123456.789", "1e15"),
        ("1e20", "123456789012345680"),
        ("1e-20", "0.000000000000001"),
        ("3.4e38", "1.7976931348623157e308"),
        ("0.1", "0.30000000000000004"),
        ("16777217", "100000"),
        ("1e-5", "2.2250738585072014e-308"),
        ("999999.5", "1e14"),
        ("-0.00012345", "1e16"),
        ("100", "-12345678.9012345"),
        ("1234567", "1.5e-15"),
        ("12345678", "1e-14"),
        ("0.001", "999999999999999.9"),
        ("1e15", "1e-15"),
        ("1e16", "1.234e-16"),
        ("1e14", "12e20"),
    ];
    for (id, (float, double)) in floats.iter().enumerate() {
        session
            .execute(
                "insert into printed values (?, 18446744073709551615, 42, 1999, '12.5', ?, ?, 1.5, \
                 '2013-01-02', '2013-01-02 03:04:05.6', null, '-100:00:01.25', 'ä€😀', '', ?)",
                &[Some(&id.to_string()), Some(float), Some(double), Some(float)],
            )
            .unwrap();
    }
    let text = session.query("select * from printed order by id", &[]).unwrap();
    let binary =
        session.query("select * from printed where id >= ? order by id", &[Some("0")]).unwrap();
    assert_eq!(text.len(), floats.len());
    assert_eq!(text, binary);
    assert_eq!(text[0][2].as_deref(), Some("000042"));
    assert_eq!(text[0][9].as_deref(), Some("2013-01-02 03:04:05.600"));
    assert_eq!(text[0][10], None);
    assert_eq!(text[0][11].as_deref(), Some("-100:00:01.25"));
    let error = session.query("select x'ff' as broken", &[]).unwrap_err();
    assert!(error.text.contains("`broken`"), "{error}");
}

#[test]
fn a_transaction_is_known_to_be_still_the_same() {
    let _alone = alone();
    let mut session = connect();
    make(&mut session, "stamps", "(id int primary key)");
    assert!(!session.is_in_transaction().unwrap());
    session.begin().unwrap();
    session.execute("insert into stamps values (?)", &[Some("1")]).unwrap();
    assert!(session.is_in_transaction().unwrap());
    assert!(session.is_in_transaction().unwrap());
    session.commit().unwrap();
    assert!(!session.is_in_transaction().unwrap());
    assert_eq!(count(&mut session, "stamps"), 1);

    // What commits without saying so, and what goes on after it.
    session.begin().unwrap();
    session.execute("create table if not exists other (id int)", &[]).unwrap();
    assert!(!session.is_in_transaction().unwrap());
    session.rollback();
    session.begin().unwrap();
    session.execute("commit", &[]).unwrap();
    session.execute("start transaction", &[]).unwrap();
    assert!(!session.is_in_transaction().unwrap());
    session.rollback();

    session.begin().unwrap();
    session.execute("insert into stamps values (2)", &[]).unwrap();
    session.rollback();
    assert_eq!(count(&mut session, "stamps"), 1);

    let error = session.execute("insert into stamps values (1)", &[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Duplicate);
    session.begin().unwrap();
    assert_eq!(session.begin().unwrap_err().kind, ErrorKind::Other);
}

#[test]
fn errors_have_kinds() {
    let _alone = alone();
    let mut session = connect();
    for (statement, kind) in [
        ("select * from nowhere", ErrorKind::NotThere),
        ("select nothing from information_schema.tables", ErrorKind::NotThere),
        ("drop table nowhere", ErrorKind::NotThere),
        ("selec 1", ErrorKind::Other),
        ("kill connection_id()", ErrorKind::Other),
    ] {
        let error = session.query(statement, &[]).unwrap_err();
        if statement.starts_with("kill") {
            assert!(matches!(error.kind, ErrorKind::Other | ErrorKind::Unreachable), "{error:?}");
        } else {
            assert_eq!(error.kind, kind, "{error}");
        }
    }
    let error = session.query("select 1", &[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    let mut session = connect();
    let limit: usize = one(&mut session, "select @@max_allowed_packet").unwrap().parse().unwrap();
    let error = session.query(&format!("select '{}'", "x".repeat(limit)), &[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Other, "{error}");
    let error = session.execute("load data local infile 'x' into table printed", &[]).unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Other | ErrorKind::NotThere), "{error}");

    let wrong = Options { password: Some("wrong".to_owned()), ..options() };
    let error = try_connect(&wrong, watch()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    assert!(!error.text.contains("wrong"), "{error}");
    let wrong = Options { database: Some("nowhere".to_owned()), ..options() };
    assert_eq!(try_connect(&wrong, watch()).unwrap_err().kind, ErrorKind::NotThere);
    let wrong = Options { port: 1, ..options() };
    let error = try_connect(&wrong, watch()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    let wrong = Options { socket: Some(PathBuf::from("/nowhere/s.sock")), ..options() };
    assert_eq!(try_connect(&wrong, watch()).unwrap_err().kind, ErrorKind::Unreachable);
}

#[test]
fn a_connection_that_is_lost_takes_its_transaction_with_it() {
    let _alone = alone();
    let mut session = connect();
    let mut other = connect();
    make(&mut session, "lost", "(id int primary key)");
    session.begin().unwrap();
    session.execute("insert into lost values (1)", &[]).unwrap();
    let id = one(&mut session, "select connection_id()").unwrap();
    other.execute(&format!("kill {id}"), &[]).unwrap();
    let error = session.commit().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error}");
    session.rollback();
    assert_eq!(session.query("select 1", &[]).unwrap_err().kind, ErrorKind::Unreachable);
    wait_until(|| count(&mut other, "lost") == 0);
}

#[test]
fn a_statement_is_cancelled_on_the_server_and_the_session_lives() {
    let _alone = alone();
    let (mut session, stop) = stoppable();
    let mut other = connect();
    session.begin().unwrap();
    let puller = thread::spawn(move || {
        let mut watcher = connect();
        wait_until(|| is_doing(&mut watcher, "select sleep(61)"));
        stop.pull().unwrap();
    });
    let began = Instant::now();
    let result = session.query("select sleep(61)", &[]);
    // MariaDB answers 1 to whoever is woken from sleep, and MySQL an error.
    if let Err(error) = result {
        assert_eq!(error.kind, ErrorKind::Stopped);
    }
    puller.join().unwrap();
    assert!(began.elapsed() < Duration::from_secs(30));
    assert!(!is_doing(&mut other, "select sleep(61)"));
    assert_eq!(session.query("select 1", &[]).unwrap_err().kind, ErrorKind::Stopped);
    session.rollback();
}

#[test]
fn a_lock_is_waited_for_as_long_as_the_watch_allows() {
    let _alone = alone();
    let mut holder = connect();
    make(&mut holder, "locked", "(id int primary key)");
    holder.begin().unwrap();
    holder.execute("insert into locked values (1)", &[]).unwrap();

    let mut late = within(Duration::from_secs(1));
    late.begin().unwrap();
    let error = late.execute("insert into locked values (1)", &[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TimedOut, "{error}");
    late.rollback();

    let (mut stopped, stop) = stoppable();
    stopped.begin().unwrap();
    let puller = thread::spawn(move || {
        let mut watcher = connect();
        wait_until(|| is_doing(&mut watcher, "insert into locked values (1)"));
        stop.pull().unwrap();
    });
    let error = stopped.execute("insert into locked values (1)", &[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Stopped, "{error}");
    puller.join().unwrap();
    stopped.rollback();

    let mut busy = connect();
    busy.execute("set innodb_lock_wait_timeout = 1", &[]).unwrap();
    busy.begin().unwrap();
    let error = busy.execute("insert into locked values (1)", &[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Busy, "{error}");
    busy.rollback();
    holder.commit().unwrap();
    busy.begin().unwrap();
    let error = busy.execute("insert into locked values (1)", &[]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Duplicate, "{error}");
    busy.rollback();
}

#[test]
fn a_deadlock_is_a_conflict() {
    let _alone = alone();
    let mut first = connect();
    make(&mut first, "dead", "(id int primary key, n int)");
    first.execute("insert into dead values (1, 0), (2, 0)", &[]).unwrap();
    let mut second = connect();
    first.begin().unwrap();
    second.begin().unwrap();
    first.execute("update dead set n = 1 where id = 1", &[]).unwrap();
    second.execute("update dead set n = 2 where id = 2", &[]).unwrap();
    let there = thread::spawn(move || {
        let result = second.execute("update dead set n = 2 where id = 1", &[]);
        if result.is_err() {
            assert!(!second.is_in_transaction().unwrap());
        }
        second.rollback();
        result
    });
    let here = first.execute("update dead set n = 1 where id = 2", &[]);
    first.rollback();
    let results = [here, there.join().unwrap()];
    let errors: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].kind, ErrorKind::Conflict, "{}", errors[0]);
}

#[test]
fn a_table_is_described() {
    let _alone = alone();
    let mut session = connect();
    make(
        &mut session,
        "`odd ``one`",
        "(id int primary key, `a b` varchar(10) default (concat('x', 'y')), \
          twice int as (id * 2) virtual, kept int as (id + 1) stored)",
    );
    let table = session.table("`odd ``one`").unwrap().unwrap();
    let names: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "a b", "twice", "kept"]);
    let generated: Vec<_> = table.columns.iter().map(|column| column.is_generated).collect();
    assert_eq!(generated, [false, false, true, true]);
    assert_eq!(table.columns[1].of, "varchar(10)");
    assert_eq!(table.not_atomic, None);
    assert!(!table.identity.is_empty());
    let database = options().database.unwrap();
    assert_eq!(session.table(&format!("{database}.`odd ``one`")).unwrap(), Some(table));
    assert_eq!(session.table("nowhere").unwrap(), None);
    assert_eq!(session.table("nowhere.nothing").unwrap(), None);

    make(&mut session, "isam", "(id int) engine = MyISAM");
    assert_eq!(
        session.table("isam").unwrap().unwrap().not_atomic.unwrap(),
        "its engine is MyISAM, which has no transactions"
    );
    session.execute("create or replace view seen as select 1 as one", &[]).unwrap();
    assert_eq!(session.table("seen").unwrap().unwrap().not_atomic.unwrap(), "it is a view");
    let tables = session.tables().unwrap();
    assert!(tables.contains(&"odd `one".to_owned()) && !tables.contains(&"seen".to_owned()));
}

#[test]
fn all_bytes_and_null_arrive_as_they_are() {
    let _alone = alone();
    both_ways(|session, way| {
        make(session, "bytes", "(id int, b longblob, t text)");
        let mut all = Vec::new();
        for lead in 0..=255_u8 {
            all.extend([lead, b'\t', lead, b'\\', lead, b'\n', lead, b'\'', lead, 0, lead, b'x']);
        }
        let number = |n: &str| Some(n.as_bytes().to_vec());
        let big: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0] | 0x80).collect();
        let text = "NULL\\N\r\n\t'\"`\\ ä€😀\0\u{1a}".as_bytes().to_vec();
        let mut rows = vec![
            vec![number("1"), Some(all), Some(text)],
            vec![number("2"), None, None],
            vec![None, Some(Vec::new()), Some(Vec::new())],
        ];
        // By inserting it has to fit a statement.
        if way == "loading" {
            rows.push(vec![number("4"), Some(big), Some(b"NULL".to_vec())]);
        }
        let mut records = Given { rows: rows.clone(), at: 0, then: Ok(false) };
        session.begin().unwrap();
        let copied = session.copy("bytes", &["id", "b", "t"], &mut records).unwrap();
        assert_eq!(copied, rows.len() as u64);
        session.commit().unwrap();
        let statement = "select id, hex(b), hex(t) from bytes order by ifnull(id, 3)";
        let hex = |bytes: &Vec<u8>| bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        for (row, found) in rows.iter().zip(session.query(statement, &[]).unwrap()) {
            let id = row[0].as_ref().map(|id| String::from_utf8(id.clone()).unwrap());
            let fields: [Option<String>; 2] = [row[1].as_ref().map(hex), row[2].as_ref().map(hex)];
            assert!(found[0] == id && found[1..] == fields, "{way}: {id:?}");
        }
    });
}

#[test]
fn one_column_may_be_empty() {
    let _alone = alone();
    both_ways(|session, way| {
        make(session, "empties", "(t varchar(10))");
        session.begin().unwrap();
        let mut records = given(&[&[Some("")], &[None], &[Some("")], &[Some("a")]]);
        assert_eq!(session.copy("empties", &["t"], &mut records).unwrap(), 4, "{way}");
        assert_eq!(session.copy("empties", &["t"], &mut given(&[])).unwrap(), 0, "{way}");
        session.commit().unwrap();
        assert_eq!(one(session, "select count(*) from empties where t = ''").unwrap(), "2");
    });
}

#[test]
fn booleans_bits_and_zeros_are_taken_as_they_are_meant() {
    let _alone = alone();
    both_ways(|session, way| {
        make(
            session,
            "flags",
            "(id int auto_increment primary key, b boolean, c bit(8), d bit(1))",
        );
        session.begin().unwrap();
        let mut records = given(&[
            &[Some("0"), Some("true"), Some("200"), Some("t")],
            &[Some("7"), Some("FALSE"), Some("1"), Some("0")],
            &[None, None, None, None],
        ]);
        let copied = session.copy("flags", &["id", "B", "c", "d"], &mut records);
        assert_eq!(copied.unwrap(), 3, "{way}");
        session.commit().unwrap();
        let rows = session.query("select id, b, c + 0, d + 0 from flags order by id", &[]).unwrap();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(rows[0], [text("0"), text("1"), text("200"), text("1")], "{way}");
        assert_eq!(rows[1], [text("7"), text("0"), text("1"), text("0")], "{way}");
        assert_eq!(rows[2], [text("8"), None, None, None], "{way}");
        assert!(!one(session, "select @@sql_mode").unwrap().contains("NO_AUTO_VALUE"));
        for bits in ["256", "x", "", "-1"] {
            session.begin().unwrap();
            let mut records = given(&[&[Some("1")], &[Some(bits)]]);
            let error = database(session.copy("flags", &["c"], &mut records).unwrap_err());
            assert!(matches!(error.kind, ErrorKind::BadRecord(_)), "{way}, {bits}: {error:?}");
            session.rollback();
        }
    });
}

#[test]
fn what_does_not_fit_is_an_error_with_its_record() {
    let _alone = alone();
    both_ways(|session, way| {
        make(
            session,
            "narrow",
            "(i int, s varchar(3), d decimal(5,2), k date, e enum('a','b'), u tinyint unsigned, \
              n int not null default 7, j json, m timestamp not null default current_timestamp, \
              x int, primary key (x), f float, check (i < 1000000), t datetime)",
        );
        for (column, bad, good) in [
            ("i", Some("1.5"), "1"),
            ("i", Some("many"), "1"),
            ("i", Some("12x"), "1"),
            ("i", Some(""), "1"),
            ("i", Some("99999999999"), "1"),
            ("i", Some("1000001"), "1"),
            ("s", Some("long"), "abc"),
            ("s", Some("abc "), "ab "),
            ("d", Some("1.239"), "1.23"),
            ("d", Some("12345"), "1.23"),
            ("k", Some("2013-02-30"), "2013-02-28"),
            ("k", Some("2013-02-28 10:00:00"), "2013-02-28"),
            ("k", Some("soon"), "2013-02-28"),
            ("e", Some("c"), "a"),
            ("e", Some("1"), "a"),
            ("t", Some("2013-02-28 10:00:00.5"), "2013-02-28 10:00:00.0"),
            ("u", Some("-1"), "1"),
            ("u", Some("256"), "255"),
            ("n", None, "1"),
            ("j", Some("{"), "{}"),
            ("m", None, "2013-02-28 10:00:00"),
            ("f", Some("1e99"), "1e9"),
            ("t", Some("2013-02-28 25:00:00"), "2013-02-28 10:00:00"),
            ("s", Some("\u{0}\u{0}\u{0}\u{0}"), "ä€😀"),
        ] {
            session.begin().unwrap();
            let mut records = given(&[
                &[Some("1"), Some(good)],
                &[Some("2"), Some(good)],
                &[Some("3"), bad],
                &[Some("4"), Some(good)],
            ]);
            match session.copy("narrow", &["x", column], &mut records) {
                Ok(count) => panic!("{way}: {column} took {bad:?}: {count}"),
                Err(error) => {
                    let error = database(error);
                    assert_eq!(
                        error.kind,
                        ErrorKind::BadRecord(Some(3)),
                        "{way}: {column} {bad:?}: {error}"
                    );
                    println!("{way}: {column} {bad:?}: {error}");
                }
            }
            session.rollback();
            assert_eq!(count(session, "narrow"), 0);
        }
        // Bytes that are no text.
        session.begin().unwrap();
        let rows = vec![vec![Some(b"1".to_vec()), Some(b"\xff".to_vec())]];
        let mut records = Given { rows, at: 0, then: Ok(false) };
        let error = database(session.copy("narrow", &["x", "s"], &mut records).unwrap_err());
        assert_eq!(error.kind, ErrorKind::BadRecord(Some(1)), "{way}: {error}");
        session.rollback();
        // The same key twice.
        session.begin().unwrap();
        let mut records = given(&[&[Some("1")], &[Some("2")], &[Some("1")]]);
        let error = database(session.copy("narrow", &["x"], &mut records).unwrap_err());
        assert!(matches!(error.kind, ErrorKind::BadRecord(_)), "{way}: {error:?}");
        println!("{way}: {error:?}");
        session.rollback();
        // Of a column or table that is not there.
        session.begin().unwrap();
        let mut records = given(&[&[Some("1")]]);
        let error = database(session.copy("narrow", &["y"], &mut records).unwrap_err());
        assert_eq!(error.kind, ErrorKind::NotThere);
        let error = database(session.copy("nowhere", &["y"], &mut records).unwrap_err());
        assert_eq!(error.kind, ErrorKind::NotThere);
        session.rollback();
    });
}

#[test]
fn the_record_is_known_among_many_chunks() {
    let _alone = alone();
    both_ways(|session, way| {
        make(session, "many", "(id int primary key, t varchar(40))");
        session.begin().unwrap();
        assert_eq!(session.copy("many", &["id", "t"], &mut numbers(200_000)).unwrap(), 200_000);
        assert_eq!(count(session, "many"), 200_000, "{way}");
        session.rollback();
        session.execute("insert into many values (150000, 'there')", &[]).unwrap();
        session.begin().unwrap();
        let error = session.copy("many", &["id", "t"], &mut numbers(200_000)).unwrap_err();
        let error = database(error);
        println!("{way}: {error:?}");
        assert!(matches!(error.kind, ErrorKind::BadRecord(None | Some(150_000))), "{error:?}");
        session.rollback();
        session.execute("alter table many modify t varchar(10)", &[]).unwrap();
        assert_eq!(count(session, "many"), 1, "{way}");
    });
}

#[test]
fn records_that_cannot_be_read_leave_nothing_and_the_session_lives() {
    let _alone = alone();
    both_ways(|session, way| {
        make(session, "broken", "(id int primary key, t varchar(40))");
        session.begin().unwrap();
        let each = |at| match at {
            100_000 => Err("line 100000: a quote is not closed".to_owned()),
            _ => Ok(()),
        };
        let mut records = Numbers { until: 200_000, at: 0, each };
        match session.copy("broken", &["id", "t"], &mut records).unwrap_err() {
            CopyError::Source(text) => assert!(text.starts_with("line 100000"), "{way}: {text}"),
            CopyError::Database(error) => panic!("{way}: {error}"),
        }
        session.rollback();
        assert_eq!(count(session, "broken"), 0, "{way}");
    });
}

#[test]
fn a_copy_can_be_stopped() {
    let _alone = alone();
    let (mut session, stop) = stoppable();
    make(&mut session, "halted", "(id int primary key, t varchar(40))");
    session.begin().unwrap();
    let each = |at| {
        if at == 50_000 {
            stop.pull().unwrap();
        }
        Ok(())
    };
    let mut records = Numbers { until: u64::MAX, at: 0, each };
    let error = database(session.copy("halted", &["id", "t"], &mut records).unwrap_err());
    assert_eq!(error.kind, ErrorKind::Stopped, "{error}");
    session.rollback();
    let mut other = connect();
    assert_eq!(count(&mut other, "halted"), 0);
}

#[test]
fn a_copy_that_waits_for_a_lock_can_be_stopped() {
    let _alone = alone();
    let mut holder = connect();
    make(&mut holder, "held", "(id int primary key, t varchar(40))");
    holder.begin().unwrap();
    holder.execute("insert into held values (1000, '')", &[]).unwrap();
    let mut session = within(Duration::from_secs(1));
    session.begin().unwrap();
    let error = database(session.copy("held", &["id", "t"], &mut numbers(5_000_000)).unwrap_err());
    assert_eq!(error.kind, ErrorKind::TimedOut, "{error}");
    session.rollback();
    holder.rollback();
    assert_eq!(count(&mut holder, "held"), 0);
    assert!(!is_doing(&mut holder, "load data"));
}
