//! Calls that semel makes itself: the `http` of a step and of a hook; and commands that can
//! reach the network through semel only.

use rustix::process::Signal;
use semel_testkit::provider::{Act, Provider, Seen};

use super::server::Server;
use super::shop::Shop;

/// A pipeline with one call, and these rules.
fn pays(shop: &Shop, more: &str, rules: &str) {
    shop.folder.pipeline(&format!(
        "[step.pay]\nsecret-env = ['TOKEN']\n\
         http = {{ post = '{}', json = {{ order = '1' }}, headers = {{ authorization = 'Bearer {{{{ env.TOKEN }}}}' }} }}\n{more}\n\
         [[call]]\nmatch = 'POST */charge'\ntimeout = '30s'\n{rules}\n",
        shop.charge()
    ));
}

fn runs(shop: &Shop, words: &str) -> semel_testkit::Ran {
    let mut command = shop.folder.command(words.split(' '));
    command.env("TOKEN", "sesame-open-up");
    shop.folder.ran(command)
}

#[test]
fn the_call_of_a_step_is_made_once() {
    let shop = Shop::at(Provider::new());
    pays(&shop, "once = true", "");
    runs(&shop, "run").exits(0);
    runs(&shop, "run --expect-noop").exits(0);
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 1));
    // Who is told to do it again does it: that is a call of its own.
    runs(&shop, "redo pay --because again").exits(0);
    runs(&shop, "run").exits(0);
    assert_eq!(shop.seen(), 2);
    shop.folder.sh("! grep -ra sesame-open-up .semel");
}

#[test]
fn f14_the_call_of_a_step_that_was_not_answered_is_not_made_again() {
    let plan = |seen: &Seen<'_>| if seen.time == 1 { Act::SucceedThenClose } else { Act::Ok };
    let shop = Shop::at(Provider::builder().plan(plan).start());
    pays(&shop, "", "");
    for _ in 0..2 {
        let ran = runs(&shop, "run").exits(3);
        ran.says("may have been paid").says("semel calls").keeps_silent_of("look at the rows");
    }
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 1));
    shop.folder.semel_words(["calls", "redo", "1", "--because", "it is cheap"]).exits(0);
    runs(&shop, "run").exits(0);
    runs(&shop, "run --expect-noop").exits(0);
    assert_eq!(shop.seen(), 2);
}

#[test]
fn the_call_of_a_step_is_made_again_where_its_key_is_honoured() {
    let plan = |seen: &Seen<'_>| if seen.time == 1 { Act::SucceedThenClose } else { Act::Ok };
    let shop = Shop::at(Provider::builder().plan(plan).honours_keys(true).start());
    pays(&shop, "", "unknown = 'resend'\nkey-window = '24h'");
    runs(&shop, "run").exits(0);
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 2));
}

#[test]
fn what_a_server_refuses_is_told_with_its_status() {
    let server = Server::new(|visit| {
        while visit.request().is_some() {
            let body = r#"{"title":"no such thing"}"#;
            let length = body.len();
            visit.wire.says(format!(
                "HTTP/1.1 404 Not Found\r\nContent-Type: application/problem+json\r\nContent-Length: {length}\r\n\r\n{body}"
            ));
        }
    });
    let shop = Shop::at(Provider::new());
    shop.folder.pipeline(&format!("[step.look]\nhttp = {{ post = '{}' }}\n", server.url("/")));
    shop.folder.semel("run").exits(1).says("404").says("no such thing");
}

#[test]
fn a_hook_makes_its_call_once_a_run() {
    let shop = Shop::at(Provider::new());
    let hook =
        |order: &str| format!("{{ post = '{}', json = {{ order = '{order}' }} }}", shop.charge());
    shop.folder.pipeline(&format!(
        "[step.work]\nin = 'in'\nrun = '[ $(cat in) = good ]'\n\
         [on-success]\nhttp = {}\n[on-failure]\nhttp = {}\n",
        hook("good"),
        hook("bad")
    ));
    shop.folder.file("in", "bad");
    shop.folder.semel("run").exits(1);
    assert_eq!((shop.provider.charges("good"), shop.provider.charges("bad")), (0, 1));
    shop.folder.file("in", "good");
    shop.folder.semel("run").exits(0);
    // A run in which nothing was begun has nothing to tell.
    shop.folder.semel("run --expect-noop").exits(0);
    assert_eq!((shop.provider.charges("good"), shop.provider.charges("bad")), (1, 1));
}

#[test]
fn a_contained_step_reaches_the_network_through_semel_only() {
    let semel = std::path::Path::new(env!("CARGO_BIN_EXE_semel"));
    if let Err(why) = semel::ground::world::contain::is_possible(semel) {
        eprintln!("skipped: {why}");
        return;
    }
    let shop = Shop::at(Provider::new());
    let body = r#"{\"order\":\"1\"}"#;
    shop.folder.pipeline(&format!(
        "[step.pay]\ncalls = 'contained'\nrun = '''\n\
         curl -sf -d \"{body}\" {url}\n\
         ! curl -sf --noproxy '*' -d \"{body}\" {url}\n'''\n",
        url = shop.charge()
    ));
    shop.folder.semel("run").exits(0).says("1 sent");
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 1));
}

/// Nothing was sent: there is nothing to look at, nor to be settled, though it is to be done
/// once.
#[test]
fn a_server_that_cannot_be_reached_leaves_no_question() {
    let shop = Shop::new();
    pays(&shop, "once = true", "");
    shop.provider.refuse_connections();
    for _ in 0..2 {
        let ran = runs(&shop, "run").exits(1);
        let ran = ran.says("the server cannot be reached").says("Connection refused");
        ran.keeps_silent_of("semel redo").keeps_silent_of("status").keeps_silent_of("{\"by\"");
    }
    shop.provider.accept_connections();
    runs(&shop, "run").exits(0);
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 1));
}

/// Likewise a definite refusal; what was refused is asked once more by the next run.
#[test]
fn a_refusal_leaves_no_question() {
    let plan = |seen: &Seen<'_>| if seen.time == 1 { Act::Refuse(422) } else { Act::Ok };
    let shop = Shop::at(Provider::builder().plan(plan).start());
    pays(&shop, "once = true", "");
    runs(&shop, "run").exits(1).says("status 422").keeps_silent_of("semel redo");
    runs(&shop, "run").exits(0);
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 2));
}

/// A stop while it waits: whether it is paid for is known later, or not at all; it is not
/// paid for twice.
#[test]
fn stopped_while_it_waits_the_call_of_a_step_is_not_made_again() {
    let plan = |seen: &Seen<'_>| if seen.time == 1 { Act::SucceedThenHang } else { Act::Ok };
    let shop = Shop::at(Provider::builder().plan(plan).start());
    pays(&shop, "", "");
    let mut command = shop.folder.command(["run"]);
    command.env("TOKEN", "sesame-open-up");
    let running = shop.folder.started(command);
    shop.provider.until("it hangs", |state| !state.hanging().is_empty());
    running.signal(Signal::INT);
    running.end().exits(130);
    for _ in 0..2 {
        runs(&shop, "run").exits(3).says("may have been paid");
        assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 1));
    }
}

/// An answer of a server that is cut after its head is asked for once more, where a key makes
/// that one purchase; else it is said that it is unknown.
#[test]
fn the_call_of_a_step_whose_answer_is_cut_is_made_again_where_its_key_is_honoured() {
    for (rules, status) in [("unknown = 'resend'\nkey-window = '24h'", 0), ("", 3)] {
        let plan = |seen: &Seen<'_>| if seen.time == 1 { Act::ShortBody } else { Act::Ok };
        let shop = Shop::at(Provider::builder().plan(plan).honours_keys(true).start());
        pays(&shop, "", rules);
        runs(&shop, "run").exits(status);
        let seen = if status == 0 { 2 } else { 1 };
        assert_eq!((shop.provider.charges("1"), shop.seen()), (1, seen));
    }
}

/// The time that the rules, the call itself or its step give; the least counts.
#[test]
fn the_call_of_a_step_that_hangs_is_given_up() {
    let hangs = || Shop::at(Provider::builder().plan(|_| Act::SucceedThenHang).start());
    for (of_call, of_step) in [(", timeout = '200ms'", ""), ("", "timeout = '200ms'")] {
        let shop = hangs();
        let url = shop.charge();
        shop.folder.pipeline(&format!(
            "[step.pay]\n{of_step}\nhttp = {{ post = '{url}', json = {{ order = '1' }}{of_call} }}\n"
        ));
        for _ in 0..2 {
            shop.folder.semel("run").exits(3).says("no answer after");
            assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 1));
        }
    }
}

#[test]
fn killed_while_it_waits_the_call_of_a_step_is_unknown() {
    let plan = |seen: &Seen<'_>| if seen.time == 1 { Act::SucceedThenHang } else { Act::Ok };
    let shop = Shop::at(Provider::builder().plan(plan).start());
    shop.folder.pipeline(&format!(
        "[step.pay]\nhttp = {{ post = '{}', json = {{ order = '1' }} }}\n",
        shop.charge()
    ));
    let running = shop.folder.start("run");
    shop.provider.until("it hangs", |state| !state.hanging().is_empty());
    running.kill();
    for _ in 0..2 {
        shop.folder.semel("run").exits(3).says("semel was killed while it was in flight");
        assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 1));
    }
    shop.folder.semel_words(["calls", "redo", "--unknown", "--because", "looked"]).exits(0);
    shop.folder.semel("run").exits(0);
    assert_eq!(shop.seen(), 2);
}
