//! git over HTTPS: a read, and a POST that costs nothing, but is sent once all the same.

use std::path::Path;
use std::process::{Command, Stdio};

use semel_testkit::Scratch;
use semel_testkit::provider::{Act, Certificate, Provider, SeenRequest};

use crate::clients::{Client, client};
use crate::page::{Row, holds};
use crate::scene::{Alone, Scene};
use crate::{ROUND, scene};

/// A repository with a commit.
fn repository() -> Scratch {
    let folder = Scratch::new("git");
    folder.sh("export HOME=$PWD; git init -q repository.git; cd repository.git
         git config http.receivepack false; touch git-daemon-export-ok
         git -c user.name=etl -c user.email=etl@example.com commit -q --allow-empty -m whole");
    folder
}

/// What git's own server answers, whose requests and answers are CGI's.
fn answer(backend: &Path, root: &Path, request: &SeenRequest) -> Vec<u8> {
    let query = request.target.split_once('?').map_or("", |(_, query)| query);
    let mut command = Command::new(backend);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", root)
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "")
        // The folder may be somebody else's.
        .envs([("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "safe.directory")])
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", request.path())
        .env("QUERY_STRING", query)
        .env("CONTENT_LENGTH", request.body.len().to_string());
    for (variable, name) in [
        ("CONTENT_TYPE", "content-type"),
        ("HTTP_CONTENT_ENCODING", "content-encoding"),
        ("GIT_PROTOCOL", "git-protocol"),
    ] {
        command.envs(request.header(name).map(|value| (variable, value)));
    }
    let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = started.unwrap();
    // It answers when it has read all; so little fits into a pipe.
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &request.body).unwrap();
    let said = child.wait_with_output().unwrap().stdout;
    let end = said.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
    let length = said.len() - end;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n");
    [head.as_bytes(), &said].concat()
}

/// A provider that has a repository; the first answers to a POST may be lost.
fn server(git: &Client, root: &Path, loses: bool, tls: bool) -> Provider {
    let backend = Path::new(git.needed("git-http-backend"));
    let of = |root: &Path| {
        let root = root.to_owned();
        move |request: &SeenRequest| answer(backend, &root, request)
    };
    let (read, post) = (of(root), of(root));
    let builder =
        Provider::builder().reads(move |request| Some(read(request))).plan(move |seen| match seen
            .time
        {
            1 if loses => Act::SucceedThenReset,
            _ => Act::Raw(post(seen.request)),
        });
    if tls { builder.tls(Certificate::Good).start() } else { builder.start() }
}

#[test]
fn git_clones_once() {
    let git = client("git");
    let Some(command) = git.command() else { return };
    let repository = repository();
    let scene = Scene::of(server(git, repository.path(), false, true));
    let run = || scene.guarded(&command, &git.path).keeps_silent_of(ROUND);
    // It asks what there is, and for it.
    assert_eq!(run().exits(0).stdout, "whole\n");
    assert_eq!(scene.sent(), 2);
    // What it was given it is given again.
    assert_eq!(run().exits(0).stdout, "whole\n");
    assert_eq!(scene.sent(), 2);
    // An answer that is lost is not asked for again, unless a human says that it may be.
    let scene = Scene::of(server(git, repository.path(), true, true));
    let run = || scene.guarded(&command, &git.path).keeps_silent_of(ROUND);
    run().exits(103);
    run().exits(103);
    assert_eq!(scene.sent(), 1);
    scene.settle("redo");
    assert_eq!(run().exits(0).stdout, "whole\n");
    assert_eq!(scene.sent(), 3);
    assert_eq!(alone(git, repository.path()), git.alone);
    holds(&Row { client: git, http: scene.http_of(git), sum: "sent once" });
}

fn alone(git: &Client, root: &Path) -> Alone {
    let provider = server(git, root, true, false);
    let output = scene::run_alone(git, &git.command().unwrap(), &provider);
    assert!(!output.status.success(), "{output:?}");
    Alone::Fails
}
