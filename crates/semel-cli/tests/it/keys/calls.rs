//! `[[call]]`, `http`, `calls`: what a file says of HTTP calls, and what is said of a wrong
//! file.

use super::pipeline;
use super::wrong::each;

const STEP: &str = "[step.a]\nrun = 'x'\n";

#[test]
fn a_wrong_value_of_each_key_of_a_rule() {
    let cases = [
        ("match = 'api.example.com'", "wants a method and a URL"),
        ("match = 'post api.example.com'", "`post` is not a method"),
        ("match = 'POST /v1'", "the URL has no host"),
        ("match = 'POST me@example.com/'", "cannot be a host"),
        ("match = 'POST ftp://example.com/'", "`ftp` is not `http` or `https`"),
        ("match = 3", "`match` wants"),
        ("key = 'order'", "not a field of a request"),
        ("key = ['/a', '?']", "not a field of a request"),
        ("ignore = 3", "`ignore` wants"),
        ("equal = 'same'", "an unknown word"),
        ("read = 'yes'", "`read` wants"),
        ("pass = 1", "`pass` wants"),
        ("account = 'all'", "an unknown word"),
        ("send-key = true", "`send-key` wants a header's name, or `false`"),
        ("send-key = 'a b'", "cannot be a header"),
        ("send-key = 'Host'", "`host` is not said here"),
        ("key-window = 'soon'", "`key-window` wants"),
        ("unknown = 'retry'", "an unknown word"),
        ("unknown = { resend = 0 }", "`resend` wants"),
        ("unknown = {}", "`unknown` wants one of `resend` and `probe`"),
        ("unknown = { resend = 1, probe = 'x' }", "`unknown` wants one of"),
        ("unknown = { prob = 'x' }", "did you mean `probe`?"),
        ("rejected = 200", "`rejected` wants"),
        ("rejected = [503, 600]", "`rejected` wants"),
        ("fresh-for = '0s'", "`fresh-for`"),
        ("keep = 3", "`keep` wants"),
        ("price = '1'", "not an amount of money"),
        ("price = '-1 USD'", "not an amount of money"),
        ("price = { answer = '/cost' }", "`price` wants all of"),
        (
            "price = { answer = '?cost', each = '1 USD', at-most = '1 USD' }",
            "not a field of an answer",
        ),
        ("price = { answer = '/cost', each = '1 USD', at-most = '1 EUR' }", "`price` in two units"),
        ("budget = {}", "`budget` limits nothing"),
        ("budget = { per = 'day' }", "`budget` limits nothing"),
        ("budget = { calls = 0 }", "`calls` wants"),
        ("budget = { calls = 1, per = 'week' }", "an unknown word"),
        ("timeout = '0s'", "`timeout`"),
        ("redact = ['card']", "not a field of a request"),
        ("mach = 'x'", "did you mean `match`?"),
    ];
    each(&cases, |line| {
        let pattern = if line.starts_with("match") { "" } else { "match = 'POST a.com'\n" };
        format!("{STEP}[[call]]\n{pattern}{line}\n")
    });
}

#[test]
fn a_rule_that_means_nothing_or_contradicts_itself() {
    let cases = [
        ("equal = 'shared'", "a rule for no calls"),
        ("match = 'POST a.com'", "a rule that says nothing"),
        ("match = 'POST a.com'\npass = true\nprice = '1 USD'", "`price` with `pass`"),
        (
            "match = 'POST a.com'\nunknown = 'resend'\nsend-key = false",
            "`unknown = \"resend\"` with `send-key = false`",
        ),
        ("match = 'POST a.com'\nprice = '1 USD'\nbudget = '1 EUR'", "a budget in EUR for a price"),
        ("match = 'POST a.com'\nbudget = '1 EUR'", "a budget of money for calls without a price"),
    ];
    each(&cases, |lines| format!("{STEP}[[call]]\n{lines}\n"));
    let cases = [("call = 3", "`call` wants"), ("call = ['x']", "`call` wants tables")];
    each(&cases, |line| format!("{line}\n{STEP}"));
    each(&[("", "each rule is a table  [[call]]")], |_| {
        format!("{STEP}[call]\nmatch = 'POST a.com'\nread = true\n")
    });
}

#[test]
fn a_wrong_call_of_a_step() {
    let cases = [
        ("http = 'https://a.com'", "`http` wants"),
        ("http = {}", "a call to nowhere"),
        ("http = { post = 'a.com' }", "not a URL"),
        ("http = { post = 'https:///x' }", "not a URL"),
        ("http = { pst = 'https://a.com' }", "did you mean `post`?"),
        ("http = { post = 'https://a.com', get = 'https://a.com' }", "a call with two URLs"),
        ("http = { post = 'https://a.com', json = 1, text = '' }", "a call that sends two things"),
        ("http = { post = 'https://a.com', json = { a = nan } }", "`a` wants a number"),
        ("http = { post = 'https://a.com', form = ['a'] }", "`form` wants"),
        ("http = { post = 'https://a.com', file = 'x/*' }", "a pattern in `file`"),
        ("http = { post = 'https://a.com', headers = { 'a b' = '' } }", "cannot be a header"),
        ("http = { post = 'https://a.com', headers = { Host = 'b' } }", "is not said here"),
        (
            "http = { post = 'https://a.com', headers = { Authorization = 'Bearer x' } }",
            "a secret in the file: `authorization`",
        ),
        ("http = { post = 'https://a.com', status = 100 }", "`status` wants"),
        ("http = { post = 'https://a.com', timeout = '0s' }", "`timeout`"),
        ("http = { post = 'https://a.com/{{ item }}' }", "the step has no `each`"),
        (
            "http = { post = 'https://a.com', json = { a = ['{{ run.id }}'] } }",
            "has no value in `http`",
        ),
        (
            "http = { post = 'https://a.com', text = '{{ params.day }}' }",
            "there is no parameter `day`",
        ),
        ("http = { post = 'https://a.com', text = '{{ env.T }}' }", "does not list `T`"),
        ("http = { post = 'https://a.com' }\nrun = 'x'", "has two actions"),
        ("http = { post = 'https://a.com' }\nout = 'o'", "`out` with `http`"),
        ("http = { post = 'https://a.com' }\ndir = 'x'", "`dir` with `http`"),
        ("http = { post = 'https://a.com' }\ncleanup = 'x'", "`cleanup` with `http`"),
        (
            "http = { post = 'https://a.com' }\nonce = true\nsafe-exits = 3",
            "`safe-exits` with `http`",
        ),
        (
            "http = { post = 'https://a.com', text = '{{ params.month }}' }\nonce = true",
            "is done once for all values of `month`",
        ),
        ("http = { post = 'https://a.com' }\ncalls = 'guarded'", "`calls` with `http`"),
        ("run = 'x'\ncalls = 'free'", "an unknown word"),
        ("run = 'x'\ncalls = true", "`calls` wants"),
        ("check = 'x'\ncalls = 'guarded'", "`calls` in a step that is a check alone"),
    ];
    each(&cases, |lines| format!("[params]\nmonth = '01'\n[step.tested]\n{lines}\n"));
    let cases = [
        ("finally = { http = { post = 'https://a.com' } }", "`http` is not a key of `finally`"),
        ("on-failure = { http = {} }", "a call to nowhere"),
        (
            "on-failure = { run = 'x', http = { post = 'https://a.com' } }",
            "`[on-failure]` does two things",
        ),
        ("on-success = { http = { post = 'https://a.com', text = '{{ item }}' } }", "{{ item }}"),
    ];
    each(&cases, |line| format!("{line}\n{STEP}"));
}

/// Nobody can say which of two rules is meant: both places are shown.
#[test]
fn two_rules_for_the_same_calls_that_differ() {
    let scratch = pipeline(
        "[step.a]\nrun = 'x'\n\n[[call]]\nmatch = \"POST api.example.com/**\"\nequal = \"shared\"\nprice = \"0.01 USD\"\n\n[[call]]\nmatch = \"* *.example.com/v1/*\"\nequal = \"separate\"\nbudget = \"20 EUR\"\n\n[[call]]\nmatch = \"GET api.example.com/**\"\npass = true\n",
    );
    insta::assert_snapshot!(scratch.semel("run").exits(2).shown());
}

/// Lists add up, budgets hold each, and rules for other calls do not matter.
#[test]
fn rules_that_agree() {
    let scratch = pipeline(
        "[step.a]\ncheck = 'true'\n[[call]]\nmatch = 'POST a.com/**'\nignore = '/time'\nrejected = 503\nprice = '1 USD'\nequal = 'shared'\n[[call]]\nmatch = '* **'\nignore = '/try'\nrejected = [502]\nbudget = '9 USD'\n[[call]]\nmatch = '* login.com/**'\npass = true\n[[call]]\nmatch = 'POST b.com/**'\nequal = 'separate'\nsend-key = false\nunknown = 'resend'\nread = true\n",
    );
    scratch.semel("run").exits(0);
}

/// `semel proxy` reads a file that has rules alone; a run wants steps.
#[test]
fn a_file_with_rules_alone_is_nothing_to_run() {
    let scratch = pipeline("[[call]]\nmatch = 'POST a.com'\nread = true\n");
    let said = scratch.semel("run").exits(2).stderr;
    assert!(said.contains("a pipeline without steps"), "{said}");
    let text = std::fs::read_to_string(scratch.path().join("semel.toml")).unwrap();
    assert_eq!(semel::words::pipeline::Pipeline::read_calls(&text).unwrap().len(), 1);
}
