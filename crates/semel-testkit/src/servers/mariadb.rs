//! A MariaDB of a test's own. Its folder holds `data` and the socket.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::{Folder, Kind, Server, USER, done, in_folder, place, program};

/// How much InnoDB's log holds. The default is 96 MB, written anew for each server.
const LOG: &str = "--innodb-log-file-size=8M";

const KIND: Kind = Kind { scheme: "mysql", first: "mysql", ready: "ready for connections", client };

/// A MariaDB server. It ends, and all of it goes, when it is dropped.
#[derive(Debug)]
pub struct MariaDb {
    server: Server,
}

/// The MariaDB that the tests of this process share. It can be neither killed nor set up
/// anew; who wants that starts one. A power cut would lose what it committed.
///
/// # Panics
/// If there is none on this machine, or it does not start.
#[must_use]
pub fn mariadb() -> &'static MariaDb {
    static SHARED: OnceLock<MariaDb> = OnceLock::new();
    SHARED.get_or_init(|| MariaDb::start(false))
}

impl MariaDb {
    /// Starts one, and waits until it accepts connections. What a durable one has
    /// committed survives a power cut; that of any survives that it is killed.
    ///
    /// # Panics
    /// If there is none on this machine, or it does not start.
    #[must_use]
    pub fn start(durable: bool) -> Self {
        /// Making the system tables takes longer than all the rest.
        static TEMPLATE: OnceLock<Folder> = OnceLock::new();
        let template = TEMPLATE.get_or_init(template);
        let server = Server::start(template.copy(), &KIND, move |folder, port| {
            let mut command = in_folder(&found("mariadbd"), folder);
            command.args(["--no-defaults", "--bind-address=127.0.0.1"]);
            command.arg(option("basedir", &place("mariadb")));
            command.arg(option("datadir", &folder.join("data")));
            command.arg(option("socket", &folder.join("socket")));
            command.arg(option("pid-file", &folder.join("pid")));
            command.arg(option("init-file", &folder.join("init.sql")));
            command.arg(format!("--port={port}"));
            command.args(["--local-infile=1", "--character-set-server=utf8mb4"]);
            // 127.0.0.1 is not to become a name by chance; a proxy reads what is said.
            command.args(["--skip-name-resolve", "--skip-ssl"]);
            command.args([LOG, "--innodb-buffer-pool-size=32M", "--performance-schema=OFF"]);
            command.args(if durable {
                ["--innodb-flush-log-at-trx-commit=1", "--innodb-flush-method=fsync"]
            } else {
                // Still written with each commit, for one that is killed.
                ["--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync"]
            });
            command
        });
        Self { server }
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.server.folder.path.join("socket")
    }
}

impl Deref for MariaDb {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for MariaDb {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

/// `mariadb`. It ends with the first statement that fails.
fn client(port: u16, database: &str) -> Command {
    let mut client = program(&found("mariadb"));
    client.args(["--no-defaults", "--batch", "--raw", "--skip-column-names", "--skip-ssl"]);
    client.args(["--local-infile=1", "--protocol=tcp", "--host=127.0.0.1"]);
    client.args(["--default-character-set=utf8mb4", "--user", USER]);
    client.args([&format!("--port={port}"), database]);
    client
}

/// A folder with the system tables in it, and what makes the user.
fn template() -> Folder {
    let folder = Folder::new();
    let mut install = in_folder(&found("mariadb-install-db"), &folder.path);
    install.args(["--no-defaults", "--auth-root-authentication-method=normal"]);
    install.args(["--skip-test-db", "--skip-name-resolve", LOG, "--innodb-flush-method=nosync"]);
    // Else the machine must know its own name.
    install.arg("--force");
    install.arg(option("basedir", &place("mariadb")));
    install.arg(option("datadir", &folder.path.join("data")));
    done(&mut install);
    // Read at each start, a statement a line, before anybody is let in.
    let init: String = ["localhost", "127.0.0.1"]
        .iter()
        .flat_map(|from| {
            [
                format!("CREATE USER IF NOT EXISTS {USER}@'{from}';\n"),
                format!("GRANT ALL ON *.* TO {USER}@'{from}' WITH GRANT OPTION;\n"),
            ]
        })
        .collect();
    std::fs::write(folder.path.join("init.sql"), init).unwrap();
    folder
}

fn option(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

/// A program of it. Where they are is a matter of who packed them.
fn found(program: &str) -> PathBuf {
    let place = place("mariadb");
    let mut folders = ["sbin", "bin", "scripts"].into_iter();
    let found = folders.find_map(|folder| {
        let path = place.join(folder).join(program);
        path.exists().then_some(path)
    });
    found.unwrap_or_else(|| panic!("no {program} in {}", place.display()))
}
