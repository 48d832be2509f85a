//! A PostgreSQL of a test's own. Its folder holds `data` and the socket.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use super::{Folder, Server, USER, answer, done, fresh_name, in_folder, place, program};

/// A PostgreSQL server. It ends, and all of it goes, when it is dropped.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
}

/// The PostgreSQL that the tests of this process share. It can be neither killed nor set up
/// anew; who wants that starts one. A power cut would lose what it committed.
///
/// # Panics
/// If there is none on this machine, or it does not start.
#[must_use]
pub fn postgres() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    SHARED.get_or_init(|| Postgres::start(false))
}

impl Postgres {
    /// Starts one, and waits until it accepts connections. What a durable one has
    /// committed survives a power cut; that of any survives that it is killed.
    ///
    /// # Panics
    /// If there is none on this machine, or it does not start.
    #[must_use]
    pub fn start(durable: bool) -> Self {
        /// Making a cluster takes longer than all the rest.
        static TEMPLATE: OnceLock<Folder> = OnceLock::new();
        let template = TEMPLATE.get_or_init(|| {
            let folder = Folder::new();
            let mut initdb = in_folder(&place("postgres").join("initdb"), &folder.path);
            initdb.args(["--no-sync", "--no-instructions", "--auth=trust", "--encoding=UTF8"]);
            // Each server has a copy; sixteen megabytes of an empty log need not be in it.
            initdb.arg("--wal-segsize=1");
            done(initdb.args(["--locale=C", "--username", USER, "--pgdata", "data"]));
            folder
        });
        let durable = if durable { "on" } else { "off" };
        let ready = "database system is ready to accept connections";
        let server = Server::start(template.copy(), ready, move |folder, port| {
            let mut command = in_folder(&place("postgres").join("postgres"), folder);
            command.arg("-D").arg(folder.join("data")).arg("-k").arg(folder);
            command.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
            for setting in [
                &format!("fsync={durable}"),
                &format!("full_page_writes={durable}"),
                "shared_buffers=16MB",
                "jit=off",
                // In the folder, so that nothing is left elsewhere by one that was killed.
                "dynamic_shared_memory_type=mmap",
            ] {
                command.args(["-c", setting]);
            }
            command
        });
        Self { server }
    }

    /// Where its socket is, for those who want to be given `host=FOLDER`.
    #[must_use]
    pub fn socket_folder(&self) -> &Path {
        &self.server.folder.path
    }

    /// Where it listens on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// Who may do everything, without a password.
    #[must_use]
    pub fn user(&self) -> &'static str {
        USER
    }

    /// What a database is called.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_at(self.port(), database)
    }

    /// What a database is called by those who come through a port that leads here.
    #[must_use]
    pub fn url_at(&self, port: u16, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{port}/{database}")
    }

    /// Makes a database, which has a name of its own. There is always one named `postgres`.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn create_database(&self) -> String {
        let name = fresh_name();
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// `psql`, which will read statements from its stdin, and come through a port that
    /// leads here. It ends with the first statement that fails, and prints rows without a
    /// header, with tabs between; NULL is empty.
    #[must_use]
    pub fn client(&self, port: u16, database: &str) -> Command {
        let mut psql = program(&place("postgres").join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
        psql.arg(self.url_at(port, database));
        psql
    }

    /// Executes statements, each on its own, and gives their rows: a line each, with tabs
    /// between; NULL is empty.
    ///
    /// # Panics
    /// If one fails, with what `psql` says.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        answer(self.client(self.port(), database), statements)
    }

    /// Kills the server with all its processes, as `kill -9` does; they are gone
    /// afterwards.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it again in the same folder, on the same port, and waits until it accepts
    /// connections; kills it first if it runs.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.server.restart();
    }

    /// What it has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.server.log()
    }
}
