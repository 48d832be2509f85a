//! Little processes that connect, and are looked at while they do.

use super::*;

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What the processes of this test have, and those of no other, though these run at the
/// same time.
fn secret() -> String {
    let thread = std::thread::current();
    format!(":{}@", thread.name().expect("tests have names"))
}

/// A process that does something, says that it did, and stays until it is dropped.
struct Little {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Little {
    /// A command of the task that is watched, for as long as the secret is its own.
    fn start(command: &mut Command, secret: &str) -> Self {
        let mut child = command
            .env("HTTPS_PROXY", format!("http://task{secret}127.0.0.1:1"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("it is a pipe"));
        Self { child, input, output }
    }

    fn bash(script: &str, secret: &str) -> Self {
        Self::start(Command::new("bash").args(["-c", script]), secret)
    }

    /// This test's own program, as [`a_little_process`].
    fn role(role: &str, secret: &str) -> Self {
        // The name of the crate is not part of a test's.
        let name = concat!(module_path!(), "::a_little_process");
        let name = name.split_once("::").expect("it is in a crate").1;
        let mut command = Command::new(std::env::current_exe().expect("it is known"));
        command.args(["--exact", name, "--nocapture"]).env("SEMEL_TEST_ROLE", role);
        Self::start(&mut command, secret)
    }

    /// Waits until it says a word, and gives what follows that.
    fn says(&mut self, word: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).expect("it speaks"), 0, "no {word}");
            if let Some((_, rest)) = line.split_once(word) {
                return rest.trim().to_owned();
            }
        }
    }
}

impl Drop for Little {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
        // What it left behind has its output.
        let _ = self.output.read_to_end(&mut Vec::new());
    }
}

/// What [`Little::role`] runs.
#[test]
fn a_little_process() {
    let Ok(role) = std::env::var("SEMEL_TEST_ROLE") else {
        return;
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("it has one");
    println!("listens {}", address.port());
    let mut streams = Vec::new();
    if role != "serves" {
        streams.push(TcpStream::connect(address).expect("connected"));
    }
    if role != "waits for itself" {
        streams.push(listener.accept().expect("accepted").0);
    }
    println!("is ready");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("it has one");
    (listener, address)
}

fn connects(to: SocketAddr) -> String {
    format!("exec 3<>/dev/tcp/{}/{}; echo is ready; read -r _", to.ip(), to.port())
}

fn eye(ports: &[u16]) -> Eye {
    Eye::new(secret().as_bytes(), ports).expect("it can see")
}

fn found(eye: &mut Eye) -> Vec<Bypass> {
    eye.look().expect("it can look");
    eye.found.clone()
}

#[test]
fn what_goes_elsewhere_is_told_once_with_its_program() {
    let (_elsewhere, remote) = listener();
    let mut eye = eye(&[1]);
    let mut little = Little::bash(&connects(remote), &secret());
    little.says("is ready");
    let bypass = Bypass { pid: little.child.id(), program: "bash".to_owned(), remote };
    assert_eq!(found(&mut eye), std::slice::from_ref(&bypass));
    let mut another = Little::bash(&connects(remote), &secret());
    another.says("is ready");
    assert_eq!(found(&mut eye), [bypass]);
}

#[test]
fn what_goes_to_the_proxy_is_none() {
    let (_proxy, remote) = listener();
    let mut eye = eye(&[remote.port()]);
    let mut little = Little::bash(&connects(remote), &secret());
    little.says("is ready");
    assert_eq!(found(&mut eye), []);
}

#[test]
fn what_others_do_is_none() {
    let (_elsewhere, remote) = listener();
    let mut eye = eye(&[1]);
    let mut little = Little::bash(&connects(remote), "a secret of another task");
    little.says("is ready");
    let _own = TcpStream::connect(remote).expect("connected");
    // It is looked for often enough to be settled.
    for _ in 0..=LOOKS {
        assert_eq!(found(&mut eye), []);
    }
}

#[test]
fn a_child_that_lost_the_marker_is_the_commands() {
    let (_elsewhere, remote) = listener();
    let mut eye = eye(&[1]);
    let script = format!("env -i bash -c '{}'; true", connects(remote));
    let mut little = Little::bash(&script, &secret());
    little.says("is ready");
    let found = found(&mut eye);
    assert_eq!(found.iter().map(|bypass| bypass.remote).collect::<Vec<_>>(), [remote]);
    assert_ne!(found[0].pid, little.child.id());
}

#[test]
fn what_a_command_left_behind_is_the_commands() {
    let (_elsewhere, remote) = listener();
    let mut eye = eye(&[1]);
    let script = format!("exec 9<&0; setsid bash -c '{} <&9' & exit", connects(remote));
    let mut little = Little::bash(&script, &secret());
    little.child.wait().expect("it ends");
    little.says("is ready");
    let found = found(&mut eye);
    assert_eq!(found.iter().map(|bypass| bypass.remote).collect::<Vec<_>>(), [remote]);
}

#[test]
fn what_a_command_serves_is_none() {
    let mut eye = eye(&[1]);
    let mut little = Little::role("serves", &secret());
    let port: u16 = little.says("listens").parse().expect("a port");
    let _stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connected");
    little.says("is ready");
    assert_eq!(found(&mut eye), []);
}

#[test]
fn what_a_command_has_with_itself_is_none() {
    for role in ["talks to itself", "waits for itself"] {
        let mut eye = eye(&[1]);
        let mut little = Little::role(role, &secret());
        little.says("is ready");
        assert_eq!(found(&mut eye), [], "{role}");
    }
}

#[test]
fn a_watch_looks_once_more_before_it_ends() {
    let (_elsewhere, remote) = listener();
    let an_hour = Duration::from_secs(3600);
    let watch = Watch::begin(secret().as_bytes(), &[1], an_hour).expect("it can see");
    let mut little = Little::bash(&connects(remote), &secret());
    little.says("is ready");
    let Findings { bypasses, blind } = watch.end();
    let found: Vec<_> = bypasses.into_iter().map(|bypass| bypass.remote).collect();
    assert_eq!(found, [remote]);
    assert!(blind.is_none(), "{blind:?}");
}

#[test]
fn a_number_of_a_process_that_is_given_again_is_another_process() {
    let mut tree = Tree::new(secret().as_bytes()).expect("they are listed");
    let mut little = Little::bash("echo is ready; read -r _", &secret());
    little.says("is ready");
    // As if one that had its number had been there before.
    tree.forget_as_stranger(little.child.id());
    assert_eq!(tree.members().expect("they are listed"), [little.child.id()]);
}

#[test]
fn who_is_at_the_other_end_can_be_told() {
    let (listener, address) = listener();
    let ours = TcpStream::connect(address).expect("connected");
    let (accepted, peer) = listener.accept().expect("accepted");
    assert!(peer_is_ours(address, peer));
    // It is gone, and what is gone is nobody's.
    drop((ours, accepted));
    assert!(!peer_is_ours(address, peer));
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "bash", "-c"]);
    let mut theirs = Little::start(command.arg(connects(address)), "");
    theirs.says("is ready");
    let (_accepted, peer) = listener.accept().expect("accepted");
    assert!(!peer_is_ours(address, peer));
}
