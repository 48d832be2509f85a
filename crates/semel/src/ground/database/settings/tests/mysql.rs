use super::*;
use crate::ground::database::settings::tls::Tls;

#[test]
fn option_files() {
    let mut machine = Machine::new();
    machine.write(
        "/etc/my.cnf",
        "# comment\n; another\n[mysqld]\nport = 1\nnonsense\n[client]\nhost=db1\nport=3301\n\
         user = eva # not ada\ndefault-character-set=utf8mb4\n",
    );
    machine.write(
        "/etc/mysql/my.cnf",
        "!includedir $etc/mysql/conf.d/\n!include more.cnf\n!include gone.cnf\n",
    );
    machine.write("/etc/mysql/conf.d/b.cnf", "[client]\nhost=db3\n");
    machine.write("/etc/mysql/conf.d/a.cnf", "[client]\nhost=db2\nport=3302\n");
    machine.write("/etc/mysql/conf.d/c.cnf.bak", "[client]\nhost=wrong\n");
    machine.write("/etc/mysql/more.cnf", "[client-server]\nport=3303\n[mysql]\nport=1\n");
    assert_eq!(machine.address("mysql:"), "mysql://db3:3303/");
    assert_eq!(machine.mysql("mysql:").user, "eva");
    machine.write(
        "~/.my.cnf",
        "[client]\nloose_database=\"a#b\" # comment\npassword = 'hunter2\\s\\'#\\\\'\n\
         [semel]\nconnect_timeout=7\n",
    );
    machine.set("MYSQL_PWD", "wrong").set("MYSQL_HOST", "wrong");
    let found = machine.mysql("mysql:");
    assert_eq!(found.database.as_deref(), Some("a#b"));
    assert_eq!(revealed(found.password.as_ref()), Some("hunter2 '#\\"));
    assert_eq!(found.connect_timeout, Some(std::time::Duration::from_secs(7)));
    assert_eq!(machine.address("mysql://ada@db9:1/x"), "mysql://db9:1/x");
    // A socket of a file is none of another machine.
    machine.write("~/.my.cnf", "[client]\nsocket=/s\n");
    assert_eq!(machine.address("mysql:"), "mysql://db3:3303/");
    assert_eq!(machine.address("mysql://localhost/x"), "mysql:///s/x");
    assert_eq!(machine.address("mysql:///x?socket=/t"), "mysql:///t/x");
    machine.write("~/.my.cnf", "[client]\nhost=localhost\nprotocol=TCP\n");
    assert_eq!(machine.address("mysql:"), "mysql://localhost:3303/");
}

#[test]
fn the_variables_of_mysql() {
    let mut machine = Machine::new();
    machine.set("MYSQL_UNIX_PORT", "/s").set("MYSQL_TCP_PORT", "3307").set("MYSQL_PWD", SECRET);
    assert_eq!(machine.address("mysql:"), "mysql:///s/");
    machine.set("MYSQL_HOST", "db7");
    assert_eq!(machine.address("mysql:"), "mysql://db7:3307/");
    assert_eq!(machine.address("mysql://localhost"), "mysql:///s/");
    assert_eq!(machine.mysql("mysql:").user, "ada");
}

#[test]
fn values_of_option_files() {
    let machine = Machine::new();
    // As `my_print_defaults` of MariaDB 10.11 has them.
    for (line, password) in [
        (r#"password = "a#b\"c""#, Some(r#"a#b"c"#)),
        ("password = ab#c", Some("ab")),
        (r"password='x\sy'", Some("x y")),
        (r#"password = "a" b"#, Some(r#""a" b"#)),
        (r"password = a\tb\qc\\", Some("a\tb\\qc\\")),
        (r"password = it's # x", Some("it's # x")),
        (r#"password = "unclosed # z"#, Some(r#""unclosed # z"#)),
        ("password=", None),
        ("password", None),
        ("skip-password", Some("0")),
        ("  password\t=  a=b  ", Some("a=b")),
        ("pass_word=a", None),
    ] {
        machine.write("~/.my.cnf", &format!("[client]\n{line}\n"));
        assert_eq!(revealed(machine.mysql("mysql:").password.as_ref()), password, "{line}");
    }
}

#[test]
fn option_files_that_are_wrong() {
    let machine = Machine::new();
    for (text, words) in [
        ("password=hunter2\n", "there is no `[group]` above"),
        ("[client\n", "no `]`"),
        ("[client]\nport=hunter2\n", ".my.cnf:2: `port`"),
        ("[client]\nssl-mode=off\n", ".my.cnf:2: there is no `ssl-mode` `off`"),
        ("!includedir /nowhere/at/all\n", ".my.cnf:1: cannot read /nowhere/at/all"),
        ("!include .my.cnf\n", "without end"),
    ] {
        machine.write("~/.my.cnf", text);
        machine.refuses("mysql:", words);
    }
    machine.write_as("~/.my.cnf", "[client]\npassword=hunter2\n", 0o666);
    let found = machine.mysql("mysql:");
    assert!(found.password.is_none() && found.warnings[0].contains("by everyone"), "{found:?}");
}

#[test]
fn the_encryption_of_mysql() {
    let machine = Machine::new();
    let system = PathBuf::from(machine.write("/etc/ssl/certs/ca-certificates.crt", ""));
    let ca = || PathBuf::from("/ca");
    for (file, url, expected) in [
        ("", "", Tls::Prefer),
        ("", "ssl-mode=disabled", Tls::Disable),
        ("", "ssl_mode=REQUIRED", Tls::Require),
        ("", "ssl-mode=VERIFY_CA&ssl-ca=/ca", Tls::VerifyCa { root: ca() }),
        ("", "ssl-mode=VERIFY_IDENTITY", Tls::VerifyFull { root: system.clone() }),
        ("", "ssl=1", Tls::Require),
        ("", "ssl=0", Tls::Disable),
        ("", "ssl-ca=/ca", Tls::VerifyCa { root: ca() }),
        ("", "ssl-cert=/c&ssl-key=/k", Tls::Require),
        ("", "ssl-mode=REQUIRED&ssl-ca=/ca", Tls::Require),
        ("", "ssl-verify-server-cert=1&ssl-ca=/ca", Tls::VerifyFull { root: ca() }),
        ("ssl", "", Tls::Require),
        ("skip-ssl", "", Tls::Disable),
        ("ssl-verify-server-cert", "", Tls::VerifyFull { root: system }),
        ("ssl-ca=/ca\ndisable-ssl-verify-server-cert", "", Tls::Require),
        ("ssl\nssl-ca=/ca", "", Tls::VerifyCa { root: ca() }),
        // The weightier source is not outdone by another option of a lesser one.
        ("ssl-mode=REQUIRED", "ssl=0", Tls::Disable),
        ("ssl-mode=DISABLED", "ssl=1", Tls::Require),
        ("skip-ssl", "ssl=1", Tls::Require),
        ("skip-ssl", "ssl-verify-server-cert=1&ssl-ca=/ca", Tls::VerifyFull { root: ca() }),
        ("ssl-mode=VERIFY_CA\nssl-ca=/ca", "ssl-verify-server-cert=0", Tls::Require),
        ("ssl-mode=VERIFY_CA\nssl-ca=/ca", "ssl=1", Tls::VerifyCa { root: ca() }),
        ("ssl-mode=VERIFY_CA\nssl-ca=/ca", "ssl-mode=PREFERRED", Tls::Prefer),
    ] {
        machine.write("~/.my.cnf", &format!("[client]\n{file}\n"));
        assert_eq!(machine.mysql(&format!("mysql://db7/x?{url}")).tls, expected, "{file} {url}");
    }
    assert_eq!(machine.mysql("mysql:///x?ssl-mode=REQUIRED").tls, Tls::Disable);
}
