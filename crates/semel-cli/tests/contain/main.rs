//! Contained commands: inside there is what semel hands out, and nothing else; what they
//! were started with is as it was; and whoever cannot be contained is not started.
//!
//! They are started by a keeper, as those of a run are.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests tell their story in their names, end where it is another, and say what is skipped"
)]

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;
use std::sync::Once;

use semel::ground::world::contain::{self, Gateway, Refused};
use semel::ground::world::keeper::{self, Session};
use semel::ground::world::process::{self, End, Input, Order, Running, Stop, Streams};
use semel_testkit::Gate;

const SEMEL: &str = env!("CARGO_BIN_EXE_semel");

/// A folder, the gateway in it, and what a command is started with.
struct Scene {
    folder: tempfile::TempDir,
    gateway: Gateway,
    lock: File,
    stop: Stop,
}

impl Scene {
    /// None where commands cannot be contained, which is said.
    fn new() -> Option<Self> {
        if let Err(why) = contain::is_possible(Path::new(SEMEL)) {
            eprintln!("skipped: {why}");
            return None;
        }
        static APPOINTED: Once = Once::new();
        APPOINTED.call_once(|| {
            let words = ["semel", "keeper"].map(OsString::from).to_vec();
            keeper::appoint(SEMEL.into(), words, Session::Apart);
        });
        let folder = tempfile::tempdir().unwrap();
        let gateway = Gateway::open(folder.path()).unwrap();
        let lock = File::create(folder.path().join("lock")).unwrap();
        Some(Self { folder, gateway, lock, stop: Stop::new().unwrap() })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn has(&self, name: &str) -> bool {
        self.path().join(name).exists()
    }

    /// The words that contain a script.
    fn words(&self, ports: &[u16], script: &str) -> Vec<OsString> {
        self.gateway.words(Path::new(SEMEL), ports, &bash(script))
    }

    fn start(&self, words: &[OsString]) -> Running {
        let env = [(OsString::from("GREETING"), OsString::from("ave"))];
        let order = Order {
            words,
            folder: self.path(),
            env: &env,
            streams: Streams::Together,
            input: Input::Nothing,
            output: None,
            lock: Some(self.lock.as_fd()),
        };
        process::start(&order).unwrap()
    }

    fn admit(&self, running: &Running) -> Result<Vec<TcpListener>, Refused> {
        self.gateway.admit(running, &self.stop)
    }

    fn end(&self, running: Running) -> (End, String) {
        let mut printed = Vec::new();
        let end = running.wait(None, &self.stop, |_, bytes| printed.extend_from_slice(bytes));
        (end.unwrap(), String::from_utf8(printed).unwrap())
    }

    /// Runs a script contained, without listeners.
    fn contained(&self, script: &str) -> (End, String) {
        let running = self.start(&self.words(&[], script));
        assert!(self.admit(&running).unwrap().is_empty());
        self.end(running)
    }

    /// Runs what is to fail, and tells why it did, after it was seen that no command
    /// left a mark.
    fn refused(&self, words: &[OsString]) -> Refused {
        let running = self.start(words);
        let refused = self.admit(&running).unwrap_err();
        let (end, _) = self.end(running);
        assert!(!self.has("mark"), "{refused}");
        assert_ne!(end, End::Exited(0), "{refused}");
        refused
    }
}

fn bash(script: &str) -> Vec<OsString> {
    ["bash", "-c", script].map(OsString::from).to_vec()
}

fn with(before: &[&str], words: Vec<OsString>) -> Vec<OsString> {
    before.iter().map(OsString::from).chain(words).collect()
}

/// Asks at our port, and then tries to get out.
fn asks(ours: u16, outside: u16) -> String {
    format!(
        "exec 3<>/dev/tcp/127.0.0.1/{ours}; echo question >&3; read -r answer <&3
         echo $answer
         for place in 127.0.0.1/{outside} 127.0.0.1/1 192.0.2.1/80 ::1/{outside}; do
             (exec 4<>/dev/tcp/$place) 2> /dev/null && echo reached $place
         done
         true"
    )
}

fn answer(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut question = String::new();
    BufReader::new(&stream).read_line(&mut question).unwrap();
    assert_eq!(question, "question\n");
    stream.write_all(b"answer\n").unwrap();
}

fn nobody_came(listener: &TcpListener) {
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn inside_there_is_semel_and_nothing_else() {
    let Some(scene) = Scene::new() else { return };
    // The same number is taken outside, by the proxy itself.
    let [proxy, other] = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let [ours, outside] = [&proxy, &other].map(|l| l.local_addr().unwrap().port());
    let running = scene.start(&scene.words(&[ours, 80], &asks(ours, outside)));
    let listeners = scene.admit(&running).unwrap();
    let ports: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
    assert_eq!(ports, [ours, 80]);
    answer(&listeners[0]);
    assert_eq!(scene.end(running), (End::Exited(0), "answer\n".to_owned()));
    nobody_came(&proxy);
    nobody_came(&other);
}

#[test]
fn what_a_command_was_started_with_is_as_it_was() {
    let Some(scene) = Scene::new() else { return };
    let script = "id -ru; id -u; id -rg; id -g; pwd; umask; echo $GREETING
                  env | grep -v ^SEMEL_KEPT= | sort; trap -p; ulimit -a";
    let free = scene.start(&bash(script));
    let (_, free) = scene.end(free);
    assert!(free.contains("ave"), "{free}");
    assert_eq!(scene.contained(script), (End::Exited(0), free));
}

#[test]
fn the_lock_of_an_attempt_is_the_commands() {
    let Some(scene) = Scene::new() else { return };
    let gate = Gate::new(scene.path(), "gate");
    let running = scene.start(&scene.words(&[], &gate.wait()));
    scene.admit(&running).unwrap();
    gate.until_arrived();
    let holders = process::holders(&scene.path().join("lock"));
    assert!(holders.iter().any(|seen| seen.pid == running.pid()), "{holders:?}");
    gate.open();
    assert_eq!(scene.end(running).0, End::Exited(0));
}

#[test]
fn how_it_ends_is_how_the_command_ended() {
    let Some(scene) = Scene::new() else { return };
    assert_eq!(scene.contained("exit 7").0, End::Exited(7));
    assert_eq!(scene.contained("kill -9 $$").0, End::Signalled(9));
    // What it left running, in a session of its own, ends with it.
    let fifo = scene.path().join("alive");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let reader = std::thread::spawn(move || std::fs::read(fifo).unwrap());
    assert_eq!(scene.contained("exec 5> alive; setsid sleep 600 & exit 3").0, End::Exited(3));
    assert!(reader.join().unwrap().is_empty());
}

#[test]
fn an_ordinary_user_is_contained_as_well() {
    let Some(scene) = Scene::new() else { return };
    let outside = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let script =
        format!("{}; id -u; id -g; touch theirs", asks(8080, outside.local_addr().unwrap().port()));
    let words = scene.words(&[8080], &script);
    let is_root = rustix::process::geteuid().is_root();
    let words = if is_root {
        chown(scene.path(), Some(65534), Some(65534)).unwrap();
        for entry in std::fs::read_dir(scene.path()).unwrap() {
            chown(entry.unwrap().path(), Some(65534), Some(65534)).unwrap();
        }
        let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        with(&nobody, words)
    } else {
        words
    };
    let running = scene.start(&words);
    answer(&scene.admit(&running).unwrap()[0]);
    let (end, printed) = scene.end(running);
    let (user, group) = if is_root {
        (65534, 65534)
    } else {
        (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
    };
    assert_eq!((end, printed), (End::Exited(0), format!("answer\n{user}\n{group}\n")));
    assert!(scene.has("theirs"));
    nobody_came(&outside);
}

#[test]
fn whoever_cannot_be_contained_is_not_started_and_it_is_told_why() {
    let Some(scene) = Scene::new() else { return };
    let refused = scene.refused(&scene.words(&[7, 7], "touch mark"));
    let told = "it cannot be contained: port 7 cannot be had: Address already in use (os error 98)";
    assert_eq!(refused.to_string(), told);
    let switched_off = "echo 0 > /proc/sys/user/max_net_namespaces && exec \"$@\"";
    let before = ["unshare", "--user", "--map-root-user", "sh", "-c", switched_off, "sh"];
    let refused = scene.refused(&with(&before, scene.words(&[], "touch mark")));
    let told = "it cannot be contained: user namespaces are switched off here: \
                user.max_net_namespaces = 0";
    assert_eq!(refused.to_string(), told);
}

#[test]
fn a_program_that_is_not_there_is_told_as_that() {
    let Some(scene) = Scene::new() else { return };
    let missing = ["/no/such/program".into()];
    let words = scene.gateway.words(Path::new(SEMEL), &[8080], &missing);
    match scene.refused(&words) {
        Refused::NotStarted(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
        other => panic!("{other}"),
    }
}

#[test]
fn without_its_owner_it_does_not_begin() {
    let Some(Scene { folder, gateway, lock, stop }) = Scene::new() else { return };
    let words = gateway.words(Path::new(SEMEL), &[8080], &bash("touch mark"));
    let scene = Scene { gateway: Gateway::open(folder.path()).unwrap(), folder, lock, stop };
    let running = scene.start(&words);
    drop(gateway);
    let (end, printed) = scene.end(running);
    assert_eq!(end, End::Exited(125));
    assert!(printed.starts_with("its owner is gone"), "{printed}");
    assert!(!scene.has("mark"));
}

#[test]
fn only_what_was_started_is_admitted() {
    let Some(scene) = Scene::new() else { return };
    let before = ["bash", "-c", "\"$@\" & wait $!", "bash"];
    let refused = scene.refused(&with(&before, scene.words(&[8080], "touch mark")));
    assert!(matches!(refused, Refused::Ended), "{refused}");
}

#[test]
fn who_never_comes_is_not_waited_for() {
    let Some(scene) = Scene::new() else { return };
    let running = scene.start(&bash("exit 3"));
    assert!(matches!(scene.admit(&running), Err(Refused::Ended)));
    assert_eq!(scene.end(running).0, End::Exited(3));
    let running = scene.start(&bash("exec sleep 600"));
    scene.stop.pull().unwrap();
    assert!(matches!(scene.admit(&running), Err(Refused::Stopped)));
    assert_eq!(scene.end(running).0, End::Stopped);
}

#[test]
fn a_gateway_may_lie_deeper_than_the_name_of_a_socket_may_be_long() {
    let Some(scene) = Scene::new() else { return };
    let deep = scene.path().join("deep/".repeat(60));
    std::fs::create_dir_all(&deep).unwrap();
    let gateway = Gateway::open(&deep).unwrap();
    let running = scene.start(&gateway.words(Path::new(SEMEL), &[], &bash("exit 0")));
    gateway.admit(&running, &scene.stop).unwrap();
    assert_eq!(scene.end(running).0, End::Exited(0));
    drop(gateway);
    assert_eq!(std::fs::read_dir(&deep).unwrap().count(), 0);
}

#[test]
fn whether_it_is_possible_can_be_asked() {
    // Where it is not, the other tests say so.
    let gone = contain::is_possible(Path::new("/no/such/semel")).unwrap_err();
    assert!(gone.starts_with("/no/such/semel: "), "{gone}");
}
