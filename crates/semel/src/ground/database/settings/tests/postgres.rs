use super::*;
use crate::ground::database::settings::postgres::ChannelBinding;
use crate::ground::database::settings::tls::Tls;

#[test]
fn the_variables_of_postgres() {
    let mut machine = Machine::new();
    machine
        .set("PGHOST", "db7")
        .set("PGPORT", "5433")
        .set("PGUSER", "eva")
        .set("PGDATABASE", "flights")
        .set("PGHOSTADDR", "10.0.0.7")
        .set("PGCONNECT_TIMEOUT", "5")
        .set("PGOPTIONS", "-c a=b")
        .set("PGTZ", "Europe/A b")
        .set("PGAPPNAME", "nightly")
        .set("PGTARGETSESSIONATTRS", "read-write")
        .set("PGCHANNELBINDING", "require")
        .set("PGGSSENCMODE", "disable")
        .set("PGSSLMODE", "require");
    let found = machine.postgres("postgres:");
    assert_eq!(
        found,
        Postgres {
            host: Host::Name("db7".to_owned()),
            address: Some("10.0.0.7".parse().unwrap()),
            port: 5433,
            user: "eva".to_owned(),
            password: None,
            database: "flights".to_owned(),
            tls: Tls::Require,
            identity: None,
            channel_binding: ChannelBinding::Require,
            connect_timeout: Some(std::time::Duration::from_secs(5)),
            options: r"-c a=b -c timezone=Europe/A\ b".to_owned(),
            application_name: "nightly".to_owned(),
            must_be_writable: true,
            warnings: Vec::new(),
        }
    );
    let found = machine
        .postgres("postgres://ada@db8:1/x?connect_timeout=0&application_name=a%20b&hostaddr=");
    assert_eq!((found.user.as_str(), found.port, found.address), ("ada", 1, None));
    assert_eq!((found.connect_timeout, found.application_name.as_str()), (None, "a b"));
    assert_eq!(found.host, Host::Name("db8".to_owned()));
    let plain = Machine::new().postgres("postgres:");
    assert_eq!((plain.application_name.as_str(), plain.options.as_str()), ("semel", ""));
    assert_eq!(plain.channel_binding, ChannelBinding::Prefer);
    for (name, value) in [
        ("PGTARGETSESSIONATTRS", "read-only"),
        ("PGGSSENCMODE", "require"),
        ("PGREQUIREPEER", "postgres"),
        ("PGSSLCRL", "/x"),
        ("PGSSLMINPROTOCOLVERSION", "TLSv1.3"),
    ] {
        Machine::new().set(name, value).refuses("postgres:", &format!("{name}: this asks for"));
    }
}

#[test]
fn the_password_file() {
    let machine = Machine::new();
    machine.write(
        "~/.pgpass",
        "# a comment:*:*:*:wrong\n\
         db7:5432:flights:ada:hunter2-1\n\
         db7:*:flights:ada:hunter2-2:and more\n\
         *:*:*:eva:hunter2-3\r\n\
         db8:5432:a\\:b:ada:hunter2\\:\\\\4\n\
         fe80\\:\\:7:*:*:*:hunter2-5\n\
         localhost:*:*:*:hunter2-6\n\
         /run/pg:*:*:*:hunter2-7\n\
         10.0.0.7:*:*:*:hunter2-8\n\
         db9:*:*:*:\n\
         db9:*:*:*:too late\n\
         db10:*:*:*:hunter2\\\n\
         too:short:line",
    );
    for (url, password) in [
        ("postgres://db7/flights", Some("hunter2-1")),
        ("postgres://db7:5433/flights", Some("hunter2-2")),
        ("postgres://db7/other", None),
        ("postgres://eva@db7/other", Some("hunter2-3")),
        ("postgres://db8/a%3Ab", Some("hunter2:\\4")),
        ("postgres://[fe80::7]/x", Some("hunter2-5")),
        ("postgres:", Some("hunter2-6")),
        ("postgres:///x?host=/run/pg", Some("hunter2-7")),
        ("postgres:///x?hostaddr=10.0.0.7", Some("hunter2-8")),
        ("postgres://db8/x?hostaddr=10.0.0.7", None),
        ("postgres://db9/x", None),
        ("postgres://db10/x", Some("hunter2\\")),
    ] {
        assert_eq!(revealed(machine.postgres(url).password.as_ref()), password, "{url}");
    }
    // Debian's socket is the own machine, too.
    std::fs::create_dir_all(machine.path("var/run/postgresql")).unwrap();
    let url = format!("postgres:///x?host={}", machine.path("var/run/postgresql"));
    assert_eq!(revealed(machine.postgres(&url).password.as_ref()), Some("hunter2-6"));
}

#[test]
fn a_password_file_that_others_can_read_is_not_used() {
    let mut machine = Machine::new();
    for mode in [0o640, 0o604, 0o660] {
        machine.write_as("~/.pgpass", "*:*:*:*:hunter2\n", mode);
        let found = machine.find("postgres://db7/x").unwrap();
        assert!(found.warnings()[0].contains("chmod 600"), "{found:?}");
        assert_eq!(machine.postgres("postgres://db7/x").password, None);
    }
    // Nobody looks for one where there is a password.
    machine.set("PGPASSWORD", SECRET);
    assert!(machine.find("postgres://db7/x").unwrap().warnings().is_empty());
    machine.env.remove("PGPASSWORD");
    let named = machine.path("named");
    machine.set("PGPASSFILE", &named);
    assert!(machine.postgres("postgres://db7/x").warnings[0].contains("is not there"));
    machine.write("named", "*:*:*:*:hunter2\n");
    assert!(machine.postgres("postgres://db7/x").password.is_some());
    std::fs::create_dir(machine.path("folder")).unwrap();
    let url = format!("postgres://db7/x?passfile={}", machine.path("folder"));
    assert!(machine.postgres(&url).warnings[0].contains("not a plain file"));
}

#[test]
fn services() {
    let mut machine = Machine::new();
    machine.write(
        "~/.pg_service.conf",
        "# comment\n[other]\nhost=db9\nbroken\n\n[flights]\n  host=db7\nhost=db8\nport=5433\n\
         user=eva\npassword=hunter2\nkeepalives=1\nclient_encoding=UTF8\n[flights]\ndbname=late\n",
    );
    machine.write("/etc/pg_service.conf", "[nightly]\nhost=db6\n[bad]\nhots=db6\n");
    machine.set("PGPORT", "7").set("PGDATABASE", "of_env").set("PGPASSWORD", "wrong");
    let found = machine.postgres("postgres:///?service=flights");
    assert_eq!(found.host, Host::Name("db7".to_owned()));
    assert_eq!((found.port, found.user.as_str()), (5433, "eva"));
    assert_eq!(found.database, "of_env");
    assert_eq!(revealed(found.password.as_ref()), Some(SECRET));
    assert_eq!(machine.address("postgres://db1/x?service=flights"), "postgres://db1:5433/x");
    assert_eq!(machine.address("postgres:?service=nightly"), "postgres://db6:7/of_env");
    machine.refuses("postgres:?service=bad", "did you mean `host`?");
    machine.refuses("postgres:?service=bad", "etc/pg_service.conf:4");
    machine.refuses("postgres:?service=other", "of the form `name=value`");
    machine.refuses("postgres:?service=flight", "no service `flight`");

    machine.set("PGSERVICE", "nightly");
    assert_eq!(machine.address("postgres:"), "postgres://db6:7/of_env");
    let folder = machine.path("sys");
    machine.write("sys/pg_service.conf", "[nightly]\nhost=db5\n[nested]\nservice=nightly\n");
    machine.set("PGSYSCONFDIR", &folder);
    assert_eq!(machine.address("postgres:"), "postgres://db5:7/of_env");
    machine.refuses("postgres:?service=nested", "another one");
    let file = machine.write("mine", "[nightly]\nhost=db4\nsslcrl=/x\n");
    machine.set("PGSERVICEFILE", &file).refuses("postgres:", "mine:3: this asks for `sslcrl`");
    machine.write("mine", "[nightly]\nhost=db4\n");
    assert_eq!(machine.address("postgres:"), "postgres://db4:7/of_env");
    machine.set("PGSERVICEFILE", "/nowhere/at/all").refuses("postgres:", "PGSERVICEFILE");
}

#[test]
fn the_encryption_of_postgres() {
    let mut machine = Machine::new();
    let tls =
        |machine: &Machine, rest: &str| machine.postgres(&format!("postgres://db7/x?{rest}")).tls;
    for (mode, expected) in [
        ("", Tls::Prefer),
        ("sslmode=", Tls::Prefer),
        ("sslmode=disable", Tls::Disable),
        ("sslmode=allow", Tls::Prefer),
        ("sslmode=prefer", Tls::Prefer),
        ("sslmode=require", Tls::Require),
        ("sslmode=require&sslrootcert=/nowhere", Tls::Require),
    ] {
        assert_eq!(tls(&machine, mode), expected, "{mode}");
    }
    assert!(
        machine.postgres("postgres://db7/x?sslmode=require&sslrootcert=/nowhere").warnings[0]
            .contains("/nowhere")
    );
    assert_eq!(machine.postgres("postgres:///x?sslmode=require").tls, Tls::Disable);
    machine.set("PGREQUIRESSL", "1");
    assert_eq!(tls(&machine, ""), Tls::Require);
    let root = PathBuf::from(machine.write("~/.postgresql/root.crt", ""));
    assert_eq!(tls(&machine, "sslmode=require"), Tls::VerifyCa { root: root.clone() });
    assert_eq!(tls(&machine, "sslmode=verify-ca"), Tls::VerifyCa { root: root.clone() });
    assert_eq!(tls(&machine, "sslmode=verify-full"), Tls::VerifyFull { root });
    let other = machine.write("other.crt", "");
    let root = PathBuf::from(&other);
    assert_eq!(
        tls(&machine, &format!("sslmode=verify-full&sslrootcert={other}")),
        Tls::VerifyFull { root }
    );
    let system = PathBuf::from(machine.write("/etc/pki/tls/certs/ca-bundle.crt", ""));
    machine.env.remove("PGREQUIRESSL");
    assert_eq!(tls(&machine, "sslrootcert=system"), Tls::VerifyFull { root: system });

    machine.write("~/.postgresql/postgresql.crt", "");
    machine.refuses("postgres://db7/x", "its key is not there");
    let key = PathBuf::from(machine.write("~/.postgresql/postgresql.key", ""));
    assert_eq!(machine.postgres("postgres://db7/x").identity.unwrap().key, key);
    assert_eq!(machine.postgres("postgres:").identity, None);
    machine.set("PGSSLCERT", "/nowhere");
    let found = machine.postgres("postgres://db7/x");
    assert!(found.identity.is_none() && found.warnings[0].contains("/nowhere"), "{found:?}");
}
