//! Settings as they are found on machines that are made up: a folder is their root.

mod mysql;
mod postgres;

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// No text for people may contain it.
const SECRET: &str = "hunter2";

/// A machine: its files, and the environment of who is on it.
struct Machine {
    root: tempfile::TempDir,
    env: BTreeMap<String, Vec<u8>>,
}

impl Machine {
    /// Of `ada`, whose home is `/home/ada`.
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("home/ada");
        std::fs::create_dir_all(&home).unwrap();
        let mut machine = Self { root, env: BTreeMap::new() };
        let home = home.to_str().unwrap().to_owned();
        machine.set("HOME", &home);
        machine.set("USER", "ada");
        machine
    }

    fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.env.insert(name.to_owned(), value.as_bytes().to_vec());
        self
    }

    fn path(&self, path: &str) -> String {
        self.root.path().join(path.trim_start_matches('/')).to_str().unwrap().to_owned()
    }

    /// Writes a file; `~` is the home, and `$` in its text the root.
    fn write(&self, path: &str, text: &str) -> String {
        self.write_as(path, text, 0o600)
    }

    fn write_as(&self, path: &str, text: &str, mode: u32) -> String {
        let path = self.path(&path.replace('~', "/home/ada"));
        std::fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        std::fs::write(&path, text.replace('$', &self.path(""))).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Whatever comes out, it does not show the secret.
    fn find(&self, url: &str) -> Result<Settings, String> {
        let found = Settings::find_in(url, &Around::new(&self.env, self.root.path()));
        assert!(!format!("{found:?}").contains(SECRET), "{url}: {found:?}");
        if let Ok(found) = &found {
            assert!(!found.address().to_string().contains(SECRET), "{url}");
        }
        found
    }

    fn postgres(&self, url: &str) -> Postgres {
        match self.find(url) {
            Ok(Settings::Postgres(found)) => found,
            other => panic!("{url}: {other:?}"),
        }
    }

    fn mysql(&self, url: &str) -> MySql {
        match self.find(url) {
            Ok(Settings::MySql(found)) => found,
            other => panic!("{url}: {other:?}"),
        }
    }

    /// The address, with the root taken out.
    fn address(&self, url: &str) -> String {
        let found = self.find(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        found.address().to_string().replace(&self.path(""), "/")
    }

    #[track_caller]
    fn refuses(&self, url: &str, words: &str) {
        let error = self.find(url).expect_err(url);
        assert!(error.contains(words), "{url}: {error}");
    }
}

fn revealed(password: Option<&Secret>) -> Option<&str> {
    password.map(Secret::reveal)
}

#[test]
fn addresses() {
    let machine = Machine::new();
    for (url, address) in [
        ("sqlite:flights.db", "sqlite:flights.db"),
        ("sqlite:data/flights.db", "sqlite:data/flights.db"),
        ("sqlite:///srv/flights.db", "sqlite:/srv/flights.db"),
        ("sqlite:/srv/a%20b.db", "sqlite:/srv/a b.db"),
        ("postgres:", "postgres:///tmp:5432/ada"),
        ("postgres://", "postgres:///tmp:5432/ada"),
        ("postgresql:///flights", "postgres:///tmp:5432/flights"),
        ("postgres://db7/flights", "postgres://db7:5432/flights"),
        ("POSTGRES://db7", "postgres://db7:5432/ada"),
        ("postgres://eva@db7:5433/flights", "postgres://db7:5433/flights"),
        ("postgres://eva@db7", "postgres://db7:5432/eva"),
        ("postgres://[fe80::7]:6000/flights", "postgres://[fe80::7]:6000/flights"),
        ("postgres://db7/a%2Fb%25", "postgres://db7:5432/a/b%"),
        ("postgres:///x?host=/run/postgresql&port=5", "postgres:///run/postgresql:5/x"),
        ("postgres://%2Frun%2Fpg/x", "postgres:///run/pg:5432/x"),
        ("postgres://localhost/x?host=/run/pg", "postgres:///run/pg:5432/x"),
        ("postgres:?host=db7&dbname=x&user=eva", "postgres://db7:5432/x"),
        ("postgres:///x?hostaddr=10.0.0.7", "postgres://10.0.0.7:5432/x"),
        ("postgres://db7/x?hostaddr=10.0.0.7", "postgres://db7:5432/x"),
        ("mysql:", "mysql:///run/mysqld/mysqld.sock/"),
        ("mysql://db7/flights", "mysql://db7:3306/flights"),
        ("mariadb://eva@db7:3307/flights", "mysql://db7:3307/flights"),
        ("mysql://127.0.0.1/x", "mysql://127.0.0.1:3306/x"),
        ("mysql://localhost/x", "mysql:///run/mysqld/mysqld.sock/x"),
        ("mysql://localhost:3307/x", "mysql://localhost:3307/x"),
        ("mysql://localhost/x?protocol=tcp", "mysql://localhost:3306/x"),
        ("mysql:///x?socket=/s", "mysql:///s/x"),
        ("mysql://localhost/x?socket=/s", "mysql:///s/x"),
        ("mysql://[::1]/x", "mysql://[::1]:3306/x"),
    ] {
        assert_eq!(machine.address(url), address, "{url}");
    }
}

#[test]
fn refusals() {
    let machine = Machine::new();
    for (url, words) in [
        ("flights.db", "a database is `sqlite:file`"),
        ("", "a database is `sqlite:file`"),
        ("host=db7 password=hunter2", "a database is `sqlite:file`"),
        ("host=::1 password=hunter2", "a database is `sqlite:file`"),
        ("postgre://db7/x", "did you mean `postgres:`?"),
        ("postgresql+psycopg2://ada:hunter2@db7/x", "did you mean `postgresql:`?"),
        ("oracle://db7/x", "there is no `oracle:`; a database is `sqlite:file`"),
        ("sqlite3:x.db", "did you mean `sqlite:`?"),
        ("sqlite:", "needs the path of a file"),
        ("sqlite://", "stands right behind"),
        ("sqlite://x.db", "stands right behind"),
        ("sqlite::memory:", "in memory"),
        ("sqlite:x.db?mode=ro", "no parameters"),
        ("sqlite:file:x.db", "without `file:`"),
        ("sqlite:%00", "NUL"),
        ("postgres:flights", "comes `//`"),
        ("postgres://db7:70000/x", "`port`"),
        ("postgres://db7:0/x", "`port`"),
        ("postgres://db7:x/x", "`port`"),
        ("postgres://[::1/x", "`]`"),
        ("postgres://[::1]5/x", "`]`"),
        ("postgres://a,b/x", "one host"),
        ("postgres://a:1,b:2/x", "one host"),
        ("postgres:///x?host=a,b", "one host"),
        ("postgres://db7/%zz", "`%25`"),
        ("postgres://db7/%4", "`%25`"),
        ("postgres://db7/%ff", "UTF-8"),
        ("postgres://db7/x?sslmod=require", "did you mean `sslmode`?"),
        ("postgres://db7/x?gssencmode=disable", "semel knows no parameter `gssencmode`"),
        ("postgres://db7/x?sslmode", "no `=`"),
        ("postgres://db7/x?sslmode=requires", "did you mean `require`?"),
        ("postgres://db7/x?sslmode=verify-full", "home/ada/.postgresql/root.crt, which is not"),
        ("postgres://db7/x?sslrootcert=system&sslmode=require", "`sslmode=verify-full` only"),
        ("postgres://db7/x?sslrootcert=system", "the system's root certificates"),
        ("postgres://db7/x?hostaddr=db7", "is an address"),
        ("postgres:///x?host=@abstract", "abstract"),
        ("postgres://db7/x?connect_timeout=1s", "`connect_timeout`"),
        ("postgres://db7/x?channel_binding=yes", "disable, prefer or require"),
        ("postgres://db7/x?target_session_attrs=primary", "any, read-write"),
        ("postgres://db7/x?service=none", "there is no service `none`"),
        ("mysql://db7/x?sslmode=required", "did you mean `ssl-mode`?"),
        ("mysql://db7/x?ssl-mode=require", "did you mean `REQUIRED`?"),
        ("mysql://db7/x?ssl=maybe", "1 or 0"),
        ("mysql://db7/x?socket=/s", "which is meant"),
        ("mysql://:3307/x?socket=/s", "which is meant"),
        ("mysql://db7/x?protocol=socket", "another machine"),
        ("mysql://db7/x?protocol=pipe", "tcp and socket"),
        ("mysql://db7/x?ssl-cert=a", "needs an `ssl-key`"),
        ("mysql://db7/x?ssl-key=a", "needs an `ssl-cert`"),
        ("mysql://db7/x?ssl-mode=VERIFY_CA", "the system's root certificates"),
    ] {
        machine.refuses(url, words);
    }
}

#[test]
fn a_password_in_the_url_is_refused_and_not_shown() {
    let machine = Machine::new();
    for rest in [
        "//ada:hunter2@db7/x",
        "//ada:hunter2@db7",
        "//:hunter2@db7/x",
        "//ada:@db7/x",
        "//ada:hunter2@[::1]:5432/x",
        "//ada:hun%2Fhunter2@db7/x",
        // What should have been encoded.
        "//ada:hunter2/b@db7/x",
        "//ada:a/hunter2@db7/x",
        "//ada:a/hunter2?c@db7/x",
        "//ada:1/hunter2@db7/x",
        "//ada:a?hunter2@db7/x",
        "//ada:a?hunter2=1@db7/x",
        "//ada:a@hunter2@db7/x",
        "//ada@firm:a/hunter2@db7/x",
        "//ada:[hunter2@db7/x",
        "//ada:a#hunter2@db7/x",
        // In parameters.
        "//db7/x?password=hunter2",
        "//db7/x?Password=hunter2",
        "//db7/x?pass%77ord=hunter2",
        "//db7/x?user=ada&passwd=hunter2",
        "?password=hunter2",
        "//db7/x?sslpassword=hunter2",
    ] {
        machine.refuses(&format!("postgres:{rest}"), "does not belong into a pipeline file");
        machine.refuses(&format!("postgres:{rest}"), "~/.pgpass");
        machine.refuses(&format!("mariadb:{rest}"), "~/.my.cnf");
        machine.refuses(&format!("mysql:{rest}"), "MYSQL_PWD");
    }
    // These may be passwords, or not; an error does not show them all the same.
    for rest in
        ["//ada:hunter2/x", "//ada:hunter2", "//ada:1?hunter2=b@db7/x", "//ada:1?hunter2@db7"]
    {
        assert!(machine.find(&format!("postgres:{rest}")).is_err(), "{rest}");
        assert!(machine.find(&format!("mysql:{rest}")).is_err(), "{rest}");
    }
    // And these have none.
    for rest in ["//ada@db7:1/x?host=a@b", "//ada%3Ab@db7/x", "//me%40firm@db7/x", "//db7/a@b"] {
        assert!(machine.find(&format!("postgres:{rest}")).is_ok(), "{rest}");
    }
}

#[test]
fn nothing_secret_is_printed() {
    let mut machine = Machine::new();
    machine.set("PGPASSWORD", SECRET).set("MYSQL_PWD", SECRET);
    let found = machine.postgres("postgres://db7/x");
    assert_eq!(revealed(found.password.as_ref()), Some(SECRET));
    assert!(format!("{found:?}").contains("password: Some(***)"));
    assert_eq!(revealed(machine.mysql("mysql:").password.as_ref()), Some(SECRET));
    // One that stands where it should not.
    for (name, url) in [
        ("PGPORT", "postgres:"),
        ("PGCONNECT_TIMEOUT", "postgres:"),
        ("PGREQUIREAUTH", "postgres:"),
        ("MYSQL_TCP_PORT", "mysql:"),
    ] {
        let mut machine = Machine::new();
        machine.set(name, SECRET).refuses(url, name);
    }
    let mut machine = Machine::new();
    machine.env.insert("PGPASSWORD".to_owned(), b"hunter2\xff".to_vec());
    machine.refuses("postgres:", "PGPASSWORD is not UTF-8");
}

#[test]
fn the_socket_and_the_user_by_default() {
    let mut machine = Machine::new();
    std::fs::create_dir_all(machine.path("var/run/postgresql")).unwrap();
    std::fs::create_dir_all(machine.path("tmp")).unwrap();
    assert_eq!(machine.address("postgres:"), "postgres:///var/run/postgresql:5432/ada");
    machine.write("/tmp/mysql.sock", "");
    assert_eq!(machine.address("mysql:"), "mysql:///tmp/mysql.sock/");
    machine.write("/var/run/mysqld/mysqld.sock", "");
    assert_eq!(machine.address("mysql:"), "mysql:///var/run/mysqld/mysqld.sock/");

    machine.env.remove("USER");
    machine.set("LOGNAME", "eva");
    assert_eq!(machine.postgres("postgres:").user, "eva");
    machine.env.clear();
    machine.refuses("postgres:", "there is no user");
    machine.refuses("mysql:", "there is no user");
    let me = rustix::process::geteuid().as_raw();
    machine.write("/etc/passwd", &format!("x:x:77777:0::/:\nkim:x:{me}:0:Kim:$home/ada:/bin/sh\n"));
    machine.write("~/.pgpass", "*:*:*:kim:hunter2\n");
    let found = machine.postgres("postgres:");
    assert_eq!(found.user, "kim");
    assert_eq!(revealed(found.password.as_ref()), Some(SECRET));
}
