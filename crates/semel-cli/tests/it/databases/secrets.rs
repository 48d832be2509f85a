//! Passwords: where they come from, and that they go nowhere.

use std::path::Path;

use super::{APPENDED, FLIGHTS, On, ROWS, TAGGED, on};
use super::{MariaDb, Postgres};

const SECRET: &str = "s3cr3t-Pa55";

/// The files in a folder that hold the password.
fn holding(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
                continue;
            }
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            if bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}

#[test]
fn f4f_a_password_in_the_file_is_refused_and_not_printed() {
    let said = on(&[Postgres, MariaDb], |on| {
        on.file("clean/1.csv", "day,number\na,1\n");
        let url = on.url().replace("//semel@", &format!("//semel:{SECRET}@"));
        on.at.pipeline(&format!("[db]\nmain = '{url}'\n{APPENDED}"));
        let ran = on.semel("run").keeps_silent_of(SECRET);
        assert!(ran.status == 2 && !on.at.has(".semel"), "{ran:?}");
        on.shown(&ran)
    });
    insta::assert_snapshot!("password_in_the_file", said.join("\n===\n"));
}

#[test]
fn f4f_a_password_in_a_parameter_is_refused_and_kept_nowhere() {
    let said = on(&[Postgres, MariaDb], |on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\na,1\n");
        on.at.pipeline(&format!(
            "[params]\ndb = {{ required = true }}\n[db]\nmain = '{{{{ params.db }}}}'\n{APPENDED}"
        ));
        let url = on.url().replace("//semel@", &format!("//semel:{SECRET}@"));
        for verb in ["run", "plan", "status", "run"] {
            let ran = on.semel(&format!("{verb} -p db={url}"));
            ran.exits(2).keeps_silent_of(SECRET);
        }
        assert_eq!(on.sql(ROWS), [""; 0]);
        let ran = on.semel(&format!("run -p db={url}"));
        assert_eq!(holding(on.at.path()), [""; 0], "{ran:?}");
        assert!(!on.at.has(".semel"));
        // By another way.
        let text = on.at.text("semel.toml");
        on.file("semel.toml", text.replace("required = true", "command = 'cat url'"));
        on.file("url", &url).semel("run").exits(2).keeps_silent_of(SECRET);
        on.at.remove("url");
        assert_eq!(holding(on.at.path()), [""; 0]);
        on.shown(&ran)
    });
    insta::assert_snapshot!("password_in_a_parameter", said.join("\n===\n"));
}

/// A user with a password, and the URL without it.
fn with_password(on: &On) -> (String, String) {
    let user = format!("p{}", on.database.trim_start_matches("semel"));
    on.sql(&format!(
        "create user {user}@'127.0.0.1' identified by '{SECRET}'; grant all on {}.* to {user}@'127.0.0.1';",
        on.database
    ));
    (user.clone(), on.url().replace("//semel@", &format!("//{user}@")))
}

#[test]
fn f4f_a_password_of_the_surroundings_is_used_and_kept_nowhere() {
    on(&[MariaDb], |on| {
        on.sql(FLIGHTS);
        let (user, url) = with_password(on);
        on.file("clean/1.csv", "day,number\na,1\n");
        on.at.pipeline(&format!("[db]\nmain = '{url}'\n{TAGGED}"));
        let denied = on.semel("run").exits(5).keeps_silent_of("panicked");
        insta::assert_snapshot!("denied", on.shown(&denied).replace(&user, "[user]"));
        let run = |password: &str| {
            let mut command = on.at.command(["run"]);
            command.env("MYSQL_PWD", password);
            on.at.ran(command)
        };
        run("wrong-one").exits(5).keeps_silent_of("wrong-one");
        run(SECRET).exits(0).keeps_silent_of(SECRET);
        assert_eq!(on.sql(ROWS), ["a 1"]);
        assert_eq!(holding(on.at.path()), [""; 0]);
        let stamps = on.sql("select * from semel_stamp").join(" ");
        assert!(!stamps.contains(SECRET), "{stamps}");
        // It is rotated, and the user is another: nothing is loaded again.
        on.sql(&format!("set password for {user}@'127.0.0.1' = password('another')"));
        run("another").exits(0).says("nothing to do");
        on.pipeline(TAGGED);
        on.loads_nothing_again();
        assert_eq!(on.sql(ROWS), ["a 1"]);
    });
}

#[test]
fn f4f_the_socket_is_the_same_server_and_loads_nothing_again() {
    on(&[Postgres, MariaDb], |on| {
        on.sql(FLIGHTS);
        on.file("clean/1.csv", "day,number\na,1\n").pipeline(TAGGED).semel("run").exits(0);
        let url = match on.engine {
            Postgres => {
                let server = semel_testkit::servers::postgres();
                let folder = server.socket_folder().display().to_string().replace('/', "%2F");
                format!("postgres://semel@{folder}:{}/{}", server.port(), on.database)
            }
            _ => {
                let socket = semel_testkit::servers::mariadb().socket();
                let socket = socket.display().to_string().replace('/', "%2F");
                format!("mysql://semel@localhost/{}?socket={socket}", on.database)
            }
        };
        on.at.pipeline(&format!("[db]\nmain = '{url}'\n{TAGGED}"));
        let ran = on.semel("run").exits(0);
        assert_eq!(on.sql(ROWS), ["a 1"], "{ran:?}");
        assert_eq!(on.sql("select count(*) from semel_stamp"), ["1"]);
        on.loads_nothing_again();
    });
}
