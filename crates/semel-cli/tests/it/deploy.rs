//! A deploy to a hundred servers that is cut short at the fiftieth, as a pipeline and as
//! a script.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use semel_testkit::{Scratch, eventually};

use crate::scratch;

/// A copy of `examples/deploy`. Its servers end when the folder is gone.
fn deploy() -> Scratch {
    let scratch = scratch();
    scratch.copy_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/deploy"));
    scratch
}

/// The script form, with the command under test where it looks for it.
fn script(deploy: &Scratch, release: &str) -> Command {
    let mut command = Command::new(deploy.path().join("deploy.sh"));
    let semel = Path::new(env!("CARGO_BIN_EXE_semel")).parent().unwrap().to_owned();
    let paths = std::env::var_os("PATH").unwrap();
    let paths = std::env::join_paths(std::iter::once(semel).chain(std::env::split_paths(&paths)));
    let surroundings = deploy.command([""; 0]);
    command
        .arg(release)
        .current_dir(deploy.path())
        .env_clear()
        .envs(surroundings.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("PATH", paths.unwrap());
    command
}

/// What was done on each server, line by line.
fn touched(deploy: &Scratch) -> BTreeMap<String, String> {
    let servers = deploy.list("servers").into_iter();
    let read = |host: &String| {
        std::fs::read_to_string(deploy.path().join("servers").join(host).join("touched"))
    };
    servers.filter_map(|host| Some((host.clone(), read(&host).ok()?))).collect()
}

/// All servers have the release, as whoever asks over HTTP sees it; each thing that must
/// not be done twice was done once.
fn is_live(deploy: &Scratch) {
    deploy.sh("./world.sh up; world/which.sh serving 1.42.0 | cmp - hosts.txt");
    assert_eq!(deploy.text("outbox.txt"), "deploy of 1.42.0 begins\n1.42.0 is live\n");
    assert_eq!(deploy.text("db/applied"), "1.42.0\n");
}

#[test]
fn killed_at_server_fifty_it_brings_up_the_others_and_announces_once() {
    let deploy = deploy();
    let running = deploy.start("run -p release=1.42.0");
    eventually("server fifty is at work", || deploy.has("servers/host050/touched"));
    running.kill();
    let before = touched(&deploy);
    assert!(before.len() < 60 && !deploy.text("outbox.txt").contains("live"));
    // What has its last receipt is done.
    let done = deploy.query("select item from receipt where step = 'undrain'");
    assert!(done.len() >= 45, "{} were done", done.len());

    deploy.semel("run -p release=1.42.0").exits(0);
    is_live(&deploy);
    let after = touched(&deploy);
    for host in &done {
        assert_eq!(after[host], before[host], "{host} was touched again");
    }
    deploy.semel("run -p release=1.42.0").exits(0).says("nothing to do");
    deploy.semel("run --expect-noop -p release=1.42.0").exits(0);
    assert_eq!(touched(&deploy), after);
    is_live(&deploy);
}

#[test]
fn a_bad_release_ends_after_a_few_servers() {
    let deploy = deploy();
    // Nobody waits for what will not get well.
    deploy.sh("sed -i 's/within = \"1s\"/within = \"1ms\"/' semel.toml");
    deploy.semel("run -p release=1.43.0").exits(1).says("its check does not hold");
    let bad: BTreeSet<_> = deploy.list("servers").into_iter().collect();
    assert!((3..=6).contains(&bad.len()), "{bad:?} were begun");
    assert_eq!(deploy.text("outbox.txt"), "deploy of 1.43.0 begins\n");
    // Again it begins with those that failed, and ends there.
    deploy.semel("run -j 1 -p release=1.43.0").exits(1);
    assert_eq!(deploy.list("servers").into_iter().collect::<BTreeSet<_>>(), bad);
}

#[test]
fn the_script_killed_at_server_fifty_brings_up_the_others_and_announces_once() {
    let deploy = deploy();
    deploy.semel("init --bare").exits(0);
    let running = deploy.started(script(&deploy, "1.42.0"));
    eventually("server fifty is at work", || deploy.has("servers/host050/touched"));
    running.kill();
    let done = deploy.query("select item from receipt where step = 'server'");
    assert!(done.len() == 49 || done.len() == 50, "{} were done", done.len());
    let before = touched(&deploy);

    deploy.ran(script(&deploy, "1.42.0")).exits(0);
    is_live(&deploy);
    let after = touched(&deploy);
    for host in &done {
        assert_eq!(after[host], before[host], "{host} was touched again");
    }
    deploy.ran(script(&deploy, "1.42.0")).exits(0).says("nothing to do");
    assert_eq!(touched(&deploy), after);
    is_live(&deploy);
}

#[test]
fn the_script_ends_at_the_first_server_that_a_bad_release_fails_on() {
    let deploy = deploy();
    deploy.semel("init --bare").exits(0);
    deploy.sh("sed -i 's/\"$REL\" 2 /\"$REL\" 0 /' deploy.sh");
    deploy.ran(script(&deploy, "1.43.0")).exits(1).says("host001: 503 down, not 1.43.0");
    assert_eq!(deploy.list("servers"), ["host001"]);
    assert_eq!(deploy.text("outbox.txt"), "deploy of 1.43.0 begins\n");
}
