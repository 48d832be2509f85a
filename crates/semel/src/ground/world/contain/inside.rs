//! The life of the process that stands before a contained command: it ends as that.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::{END, MOST, namespace, reachable, wire};

/// How many connections may wait for us to accept them.
const BACKLOG: i32 = 1024;

/// Why there is no command.
#[derive(Debug)]
pub enum Failed {
    /// Its owner knows.
    Told,
    /// Nobody knows yet, in words.
    Untold(String),
}

/// Becomes the command that the words name, once it is contained; or ends well, if
/// there are no words and it could be. The words are those after [`super::VERB`].
///
/// It must be called in a process that has one thread, and has done nothing yet.
///
/// # Errors
/// If there is no command. Then this process is contained, or half so, and good for
/// nothing.
pub fn serve(words: &[OsString]) -> Result<(), Failed> {
    if words.is_empty() {
        return namespace::enter().map_err(Failed::Untold);
    }
    let [socket, ports, end, command @ ..] = words else {
        return Err(Failed::Untold("words are missing".to_owned()));
    };
    let (Some((program, arguments)), true) = (command.split_first(), end == END) else {
        return Err(Failed::Untold("the words of a command are missing".to_owned()));
    };
    // While all is there.
    let owner = reachable(Path::new(socket)).and_then(|path| UnixStream::connect(path.as_path()));
    let owner = owner.map_err(|error| Failed::Untold(format!("its owner is gone: {error}")))?;
    let listeners = ports_of(ports).and_then(|ports| {
        namespace::enter()?;
        listen(&ports)
    });
    let listeners = listeners.map_err(|why| tell(&why, &wire::say_refused(&owner, &why)))?;
    let said = wire::say_ready(&owner, &listeners);
    said.map_err(|error| Failed::Untold(format!("its owner is gone: {error}")))?;
    if !wire::hear_go(&owner) {
        return Err(Failed::Untold("its owner is gone".to_owned()));
    }
    // Ours are closed by this, and those that are not ours are kept.
    let error = Command::new(program).args(arguments).exec();
    let why = format!("{}: {error}", program.display());
    Err(tell(&why, &wire::say_failed(&owner, &error)))
}

fn tell(why: &str, told: &io::Result<()>) -> Failed {
    if told.is_ok() { Failed::Told } else { Failed::Untold(why.to_owned()) }
}

fn ports_of(word: &OsString) -> Result<Vec<u16>, String> {
    let word = word.to_string_lossy();
    let numbers = word.split(',').filter(|number| !number.is_empty());
    let ports: Vec<_> = numbers
        .map(|number| number.parse().map_err(|_| format!("{number} is no port")))
        .collect::<Result<_, _>>()?;
    if ports.len() > MOST {
        return Err(format!("{} ports are more than {MOST}", ports.len()));
    }
    Ok(ports)
}

/// All ports are free here, and those that only root may have are ours, too.
fn listen(ports: &[u16]) -> Result<Vec<TcpListener>, String> {
    let open = |port: &u16| -> io::Result<TcpListener> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, *port))?;
        rustix::net::listen(&listener, BACKLOG)?;
        Ok(listener)
    };
    let open = |port| open(port).map_err(|error| format!("port {port} cannot be had: {error}"));
    ports.iter().map(open).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers_with_commas() {
        assert_eq!(ports_of(&"80,40001".into()), Ok(vec![80, 40001]));
        assert_eq!(ports_of(&"".into()), Ok(Vec::new()));
        assert_eq!(ports_of(&"70000".into()), Err("70000 is no port".to_owned()));
        let many = vec!["1"; MOST + 1].join(",");
        assert_eq!(ports_of(&many.into()), Err("17 ports are more than 16".to_owned()));
    }

    #[test]
    fn words_that_name_no_command_contain_nothing() {
        for words in [&["/gate"][..], &["/gate", "1", "--"], &["/gate", "1", "true", "x"]] {
            let words: Vec<_> = words.iter().map(OsString::from).collect();
            assert!(matches!(serve(&words), Err(Failed::Untold(_))), "{words:?}");
        }
    }
}
