//! Odd names and large numbers work as if ordinary.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::scratch;

const ODD: [&[u8]; 10] = [
    b"with blank",
    b"it's",
    b"\"double\"",
    b"new\nline",
    b"not\xffutf8",
    b"-rf",
    b"a,b:c@d*e%f",
    b"$HOME `x` \\ !",
    b"\xc3\xbc",
    b"[a]{b}?",
];

fn check(run: &str) {
    let scratch = scratch();
    std::fs::create_dir(scratch.path().join("in")).unwrap();
    for name in ODD {
        std::fs::write(scratch.path().join("in").join(OsStr::from_bytes(name)), name).unwrap();
    }
    // One without a folder, so that its path itself begins with a dash.
    scratch.file("-x.csv", "dash");
    scratch.pipeline(&format!(
        "[step.copy]\neach = 'in/*'\nout = 'out/{{{{ item.name }}}}'\n{run}\n[step.again]\neach = {{ outputs-of = 'copy' }}\nout = 'again/{{{{ item.name }}}}'\n{run}\n[step.all]\nin = {{ outputs-of = 'again' }}\nout = 'all'\nrun = 'cat {{{{ in }}}} > {{{{ out }}}}'\n[step.dash]\neach = '*.csv'\nout = 'dashed/{{{{ item.name }}}}'\n{run}"
    ));
    scratch.semel("run").exits(0);
    for name in ODD {
        let out = scratch.path().join("again").join(Path::new(OsStr::from_bytes(name)));
        assert_eq!(std::fs::read(out).unwrap(), name);
    }
    assert_eq!(scratch.text("dashed/-x.csv"), "dash");
    assert_eq!(std::fs::read(scratch.path().join("all")).unwrap().len(), ODD.concat().len());
    scratch.semel("run --expect-noop").exits(0);
    scratch
        .semel_words(["why", "copy:in/a,b:c@d*e%f"])
        .exits(0)
        .says("copy:in/a%2Cb%3Ac%40d%2Ae%25f");
    scratch.semel_words(["run", "copy:in/not%FFutf8"]).exits(0);
    scratch.semel("status").exits(0);
    assert_eq!(scratch.query("select count(*) from receipt"), ["22"]);
}

#[test]
fn odd_names_of_files_in_a_shell() {
    check("run = 'cp {{ item }} {{ out }}'");
}

#[test]
fn odd_names_of_files_without_a_shell() {
    check("run = ['cp', '{{ item }}', '{{ out }}']");
}

#[test]
fn odd_values_of_lines() {
    let scratch = scratch();
    scratch.file("list", b"with blank\r\n\nit's\n-x\n\xff\n$HOME\n".as_slice()).pipeline(
        "[step.say]\neach = { lines = 'list' }\nrun = 'printf \"%s\\n\" {{ item }} >> said'\njobs = 1",
    );
    scratch.semel("run").exits(0);
    let mut said: Vec<_> = std::fs::read(scratch.path().join("said"))
        .unwrap()
        .split(|b| *b == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    said.sort();
    assert_eq!(
        said,
        [&b""[..], b"$HOME", b"-x", b"it's", b"with blank", b"\xff"].map(<[u8]>::to_vec)
    );
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn a_folder_with_an_odd_name() {
    let scratch = scratch();
    let odd = OsStr::from_bytes(b"od'd \xff\n");
    scratch.file(Path::new(odd).join("raw/a"), "x");
    scratch.file(Path::new(odd).join("semel.toml"), "name = 'odd'\n[step.copy]\neach = 'raw/*'\nout = 'out/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}'");
    let mut command = scratch.command(["run"]);
    assert!(command.current_dir(scratch.path().join(odd)).output().unwrap().status.success());
    assert!(scratch.has(Path::new(odd).join("out/a")));
}

#[test]
fn values_of_parameters_are_not_patterns() {
    let scratch = scratch();
    scratch.file("raw/[x]-1", "1").file("raw/x-2", "2").pipeline(
        "[params]\nday = '[x]'\n[step.copy]\neach = 'raw/{{ params.day }}-*'\nout = 'out/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}'",
    );
    scratch.semel("run").exits(0);
    assert_eq!(scratch.list("out"), ["[x]-1"]);
}

#[test]
fn a_hundred_thousand_items_are_planned_and_told() {
    let scratch = scratch();
    let lines: String = (0..100_000).map(|line| format!("host-{line}\n")).collect();
    scratch
        .file("list", &lines)
        .pipeline("[step.visit]\neach = { lines = 'list' }\nrun = ['true', '{{ item }}']");
    scratch.semel("plan").exits(0).says("100,000 of 100,000 tasks would run");
    // One of them alone is found and run.
    scratch.semel("run visit:host-77777").exits(0);
    scratch.semel("plan").exits(0).says("99,999");
    scratch.semel("status").exits(1).says("in part");
}
