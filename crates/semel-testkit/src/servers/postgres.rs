//! A PostgreSQL of a test's own. Its folder holds `data` and the socket.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use super::{Folder, Kind, Server, USER, done, in_folder, place, program, url_of};

const KIND: Kind = Kind {
    scheme: "postgres",
    first: "postgres",
    ready: "database system is ready to accept connections",
    client,
};

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
        let server = Server::start(template.copy(), &KIND, move |folder, port| {
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
}

impl Deref for Postgres {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Postgres {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

/// `psql`. It ends with the first statement that fails.
fn client(port: u16, database: &str) -> Command {
    let mut psql = program(&place("postgres").join("psql"));
    psql.args(["-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-f", "-"]);
    psql.arg(url_of(KIND.scheme, port, database));
    psql
}
