//! The servers that tests start for themselves, and the proxy that cuts their connections.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use semel_testkit::cut::{Cut, Moment, Protocol};
use semel_testkit::eventually;
use semel_testkit::servers::{MariaDb, Postgres, mariadb, postgres};

#[test]
fn a_killed_postgres_comes_back_with_what_was_committed() {
    let mut server = Postgres::start(true);
    let database = server.create_database();
    server.sql(&database, "CREATE TABLE kept (what text); INSERT INTO kept VALUES ('yes'), (NULL)");
    server.kill();
    assert!(!client(server.client(server.port(), &database), "SELECT 1").status.success());
    server.restart();
    assert_eq!(server.sql(&database, "SELECT what, 1 FROM kept; SHOW fsync"), "yes\t1\n\t1\non");
    assert!(server.log().contains("was not properly shut down"), "{}", server.log());

    let folder = server.socket_folder().to_owned();
    assert!(folder.join(format!(".s.PGSQL.{}", server.port())).exists());
    drop(server);
    assert!(!folder.exists());
}

#[test]
fn a_killed_mariadb_comes_back_with_what_was_committed() {
    let mut server = MariaDb::start(true);
    let database = server.create_database();
    server.sql(&database, "CREATE TABLE kept (what text); INSERT INTO kept VALUES ('yes'), (NULL)");
    server.kill();
    assert!(!client(server.client(server.port(), &database), "SELECT 1").status.success());
    server.restart();
    assert_eq!(server.sql(&database, "SELECT what, 1 FROM kept"), "yes\t1\nNULL\t1");
    assert!(server.log().contains("Starting crash recovery"), "{}", server.log());

    let socket = server.socket();
    assert!(socket.exists());
    drop(server);
    assert!(!socket.parent().is_some_and(Path::exists));
}

#[test]
fn each_test_has_a_database_of_its_own_on_a_shared_server() {
    for _ in 0..2 {
        let (ours, theirs) = (postgres().create_database(), mariadb().create_database());
        postgres().sql(&ours, "CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
        mariadb().sql(&theirs, "CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
        assert!(postgres().url(&ours).ends_with(&format!(":{}/{ours}", postgres().port())));
        assert!(mariadb().url(&theirs).starts_with("mysql://semel@127.0.0.1:"));
    }
}

#[test]
fn a_file_of_ours_is_loaded_into_mariadb() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows");
    fs::write(&file, "1\tone\n2\ttwo\n").unwrap();
    let database = mariadb().create_database();
    let load = format!(
        "CREATE TABLE t (n int, what text); LOAD DATA LOCAL INFILE '{}' INTO TABLE t",
        file.display()
    );
    mariadb().sql(&database, &load);
    assert_eq!(mariadb().sql(&database, "SELECT * FROM t ORDER BY n"), "1\tone\n2\ttwo");
}

/// What the servers of a dead process would be: its folder, and theirs.
#[test]
fn servers_die_with_the_process_that_started_them() {
    const CHILD: &str = "SEMEL_TESTKIT_STARTS_SERVERS";
    if std::env::var_os(CHILD).is_some() {
        let folder = mariadb().socket().parent().unwrap().to_owned();
        println!("{}\n{}\nready", postgres().socket_folder().display(), folder.display());
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        return;
    }
    let mut process = Command::new(std::env::current_exe().unwrap());
    process.args(["--exact", "servers_die_with_the_process_that_started_them", "--nocapture"]);
    process.env(CHILD, "1").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = process.spawn().unwrap();
    let mut said = String::new();
    let mut stdout = process.stdout.take().unwrap();
    while !said.contains("ready") {
        let mut some = [0; 4096];
        let length = stdout.read(&mut some).unwrap();
        assert!(length > 0, "{said}");
        said.push_str(&String::from_utf8_lossy(&some[..length]));
    }
    let folders: Vec<PathBuf> =
        said.lines().filter(|line| line.starts_with("/tmp/")).map(PathBuf::from).collect();
    assert_eq!(folders.len(), 2, "{said}");
    assert!(folders.iter().all(|folder| folder.exists() && runs_in(folder)));
    process.kill().unwrap();
    process.wait().unwrap();
    for folder in folders {
        eventually("the folder is gone", || !folder.exists());
        assert!(!runs_in(&folder));
    }
}

/// Whether a server runs in a folder.
fn runs_in(folder: &Path) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
    })
}

fn client(mut client: Command, statements: &str) -> Output {
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = client.spawn().unwrap();
    // One that has lost its server reads no more.
    let _ = client.stdin.take().unwrap().write_all(statements.as_bytes());
    client.wait_with_output().unwrap()
}

/// A server that can be reached through a proxy.
struct Behind {
    protocol: Protocol,
    port: u16,
    database: String,
    client: fn(u16, &str) -> Command,
    sql: fn(&str, &str) -> String,
}

fn both() -> [Behind; 2] {
    [
        Behind {
            protocol: Protocol::Postgres,
            port: postgres().port(),
            database: postgres().create_database(),
            client: |port, database| postgres().client(port, database),
            sql: |database, statements| postgres().sql(database, statements),
        },
        Behind {
            protocol: Protocol::MySql,
            port: mariadb().port(),
            database: mariadb().create_database(),
            client: |port, database| mariadb().client(port, database),
            sql: |database, statements| mariadb().sql(database, statements),
        },
    ]
}

impl Behind {
    fn proxy(&self, moment: Option<Moment>) -> Cut {
        Cut::at(self.protocol, SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)), moment)
    }

    fn through(&self, proxy: &Cut, statements: &str) -> Output {
        client((self.client)(proxy.port(), &self.database), statements)
    }

    fn sql(&self, statements: &str) -> String {
        (self.sql)(&self.database, statements)
    }

    /// How many rows there are once nobody else is connected: one whose client is gone may
    /// still be at work.
    fn rows(&self) -> usize {
        let sessions = match self.protocol {
            Protocol::Postgres => {
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                 AND backend_type = 'client backend'"
            }
            Protocol::MySql => {
                "SELECT count(*) FROM information_schema.processlist WHERE db = database()"
            }
        };
        eventually("the server has noticed", || self.sql(sessions) == "1");
        self.sql("SELECT n FROM t").lines().count()
    }
}

const ADD: &str = "BEGIN;\nINSERT INTO t VALUES (1);\nCOMMIT;\n";

#[test]
fn a_connection_is_cut_at_each_of_its_messages() {
    for server in both() {
        server.sql("CREATE TABLE t (n int)");
        let counting = server.proxy(None);
        assert!(server.through(&counting, ADD).status.success());
        assert_eq!(server.rows(), 1);
        let messages = counting.messages();
        assert!(!counting.was_cut() && messages >= 6, "{messages}");

        let mut came_to = Vec::new();
        for at in 1..=messages {
            for moment in [Moment::Before(at), Moment::After(at)] {
                server.sql("DELETE FROM t");
                let proxy = server.proxy(Some(moment));
                let went_well = server.through(&proxy, ADD).status.success();
                // A client does not wait for what becomes of its farewell.
                eventually("it is cut", || proxy.was_cut());
                assert_eq!(proxy.messages(), at, "{moment:?}");
                came_to.push((went_well, server.rows()));
            }
        }

        let proxy = server.proxy(Some(Moment::Before(1)));
        assert!(!server.through(&proxy, ADD).status.success());
        server.sql("DELETE FROM t");
        assert!(server.through(&proxy, ADD).status.success(), "who tries again comes through");
        assert_eq!((server.rows(), proxy.messages()), (1, 1), "it counts up to the cut");

        // At first nothing is done and the client knows that it failed; at last all is
        // done, and only its farewell was lost. Between these it is done and unknown.
        assert_eq!(came_to.first(), Some(&(false, 0)), "{came_to:?}");
        assert_eq!(came_to.last(), Some(&(true, 1)), "{came_to:?}");
        assert!(came_to.contains(&(false, 1)), "{came_to:?}");
        assert!(came_to.is_sorted(), "{:?}: {came_to:?}", server.protocol);
    }
}

#[test]
fn what_was_sent_before_the_cut_arrives_whole() {
    let server = &both()[0];
    server.sql("CREATE TABLE t (n int, what text)");
    let rows = 20_000;
    let mut copy = "COPY t FROM STDIN;\n".to_owned();
    (1..=rows).for_each(|n| copy.push_str(&format!("{n}\t{}\n", "x".repeat(100))));
    copy.push_str("\\.\n");
    let counting = server.proxy(None);
    assert!(server.through(&counting, &copy).status.success());
    let messages = counting.messages();
    assert!(messages > 100, "{messages}");
    assert_eq!(server.rows(), rows);

    server.sql("TRUNCATE t");
    let cut = server.proxy(Some(Moment::Before(messages / 2)));
    assert!(!server.through(&cut, &copy).status.success());
    assert!(server.through(&cut, &copy).status.success());
    assert_eq!(server.rows(), rows);

    // All rows come before the message that is the end of them.
    let read = server.proxy(None);
    let ran = server.through(&read, "SELECT n FROM t ORDER BY n;\n");
    assert_eq!(ran.stdout.iter().filter(|byte| **byte == b'\n').count(), rows);
    assert!(read.messages() > rows as u64);
}

#[test]
fn without_a_server_a_client_is_refused() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let proxy = Cut::at(Protocol::Postgres, nobody, Some(Moment::Before(1)));
    let ran = client(postgres().client(proxy.port(), "postgres"), "SELECT 1;\n");
    assert!(!ran.status.success());
    assert_eq!((proxy.messages(), proxy.was_cut()), (0, false));
}
