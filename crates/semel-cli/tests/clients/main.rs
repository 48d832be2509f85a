//! Real clients, unchanged, each through the proxy over TLS: the answer to its order is lost,
//! and it is run again. The provider counts one charge.
//!
//! What is seen is a row of `docs/reference/clients.md`, and is held against it;
//! `SEMEL_UPDATE_DOCS=1` writes it anew. A client that is not on this machine is not tried,
//! which is said; `scripts/clients` gets them.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests tell their story in their names, and end where it is another"
)]

mod clients;
mod git;
mod page;
mod scene;

use semel_testkit::provider::Act;

use crate::clients::{Client, client};
use crate::page::{Row, holds};
use crate::scene::{Alone, ORDER, Scene, alone};

/// What semel says of a connection that it did not see.
const ROUND: &str = "did not go through semel";

/// A client loses its answer, is run again, is told that it may send again, and is run once
/// more. Beside it the same client does the same alone.
fn pays_once(name: &str) {
    let client = client(name);
    let Some(command) = client.command() else { return };
    let (alone, http) = std::thread::scope(|scope| {
        let alone = scope.spawn(|| alone(client, &command));
        let http = under_semel(client, &Scene::new(client.loses.clone()));
        with_a_rule(client, &Scene::new(client.loses.clone()));
        (alone.join().unwrap(), http)
    });
    assert_eq!(alone, client.alone, "{name} alone");
    holds(&Row { client, http, sum: "one charge" });
}

/// Gives the version of HTTP that its requests came in by.
fn under_semel(client: &Client, scene: &Scene) -> &'static str {
    let command = client.command().unwrap();
    let run = || scene.guarded(&command, &client.path);
    // The answer is lost. What the client tries by itself is not sent.
    run().exits(103).keeps_silent_of(ROUND);
    assert_eq!(scene.sent(), 1);
    // Nor is it when it is run again.
    run().exits(103).keeps_silent_of(ROUND);
    assert_eq!(scene.sent(), 1);
    // A human knows that this provider honours keys.
    scene.settle("redo");
    let paid = run().exits(0).says("1 sent").keeps_silent_of(ROUND);
    assert_eq!(scene.sent(), 2);
    assert_eq!(scene.provider.charges(ORDER), 1);
    // And once more: it gets the same answer, from semel.
    let again = run().exits(0).says("1 replayed").keeps_silent_of(ROUND);
    assert_eq!(scene.sent(), 2);
    assert_eq!(scene.provider.charges_by_order().values().sum::<u32>(), 1);
    assert!(!paid.stdout.is_empty());
    assert_eq!(again.stdout, paid.stdout);
    scene.no_secret_is_left();
    scene.http_of(client)
}

/// Where a rule says that the provider honours keys, the client need not be run again.
fn with_a_rule(client: &Client, scene: &Scene) {
    scene.may_resend();
    let run = || scene.guarded(&client.command().unwrap(), &client.path);
    // But if it had begun to read the answer, it must.
    if client.loses == Act::CutStream {
        run().exits(103);
    }
    run().exits(0).keeps_silent_of(ROUND);
    assert_eq!((scene.sent(), scene.provider.charges(ORDER)), (2, 1));
}

macro_rules! clients {
    ($($test:ident: $name:literal,)* ; $other:literal) => {
        $(#[test]
        fn $test() {
            pays_once($name);
        })*

        #[test]
        fn every_client_is_tried() {
            let tried = [$($name,)* $other];
            let all: Vec<_> = clients::all().iter().map(|client| client.name).collect();
            assert_eq!(all, tried);
            page::has_rows_of(&all);
        }
    };
}

clients! {
    curl_pays_once: "curl",
    wget_pays_once: "wget",
    urllib_pays_once: "Python urllib",
    http_client_pays_once: "Python http.client",
    urllib3_pays_once: "urllib3",
    requests_pays_once: "requests",
    httpx_pays_once: "httpx",
    httpx_with_a_transport_pays_once: "httpx, own transport",
    aiohttp_pays_once: "aiohttp",
    openai_pays_once: "OpenAI (Python)",
    openai_streamed_pays_once: "OpenAI (Python), streamed",
    anthropic_pays_once: "Anthropic (Python)",
    stripe_pays_once: "Stripe (Python)",
    boto3_pays_once: "boto3",
    fetch_pays_once: "Node fetch",
    node_https_pays_once: "Node https",
    axios_pays_once: "axios",
    openai_of_node_pays_once: "OpenAI (Node)",
    stripe_of_node_pays_once: "Stripe (Node)",
    java_pays_once: "Java HttpClient",
    ; "git"
}

/// Whoever hangs is given up by the rule's time, and asked again under its key in the same
/// run.
#[test]
fn a_client_whose_provider_hangs_pays_once_in_one_run() {
    for name in ["curl", "Python urllib"] {
        let client = client(name);
        let Some(command) = client.command() else { continue };
        let scene = Scene::new(Act::SucceedThenHang);
        scene.may_resend_after("timeout = \"1s\"\n");
        scene.guarded(&command, &client.path).exits(0);
        assert_eq!((scene.sent(), scene.provider.charges(ORDER)), (2, 1));
        scene.provider.release();
    }
}

/// A human looks, and allows one more.
#[test]
fn a_human_settles_what_is_unknown() {
    let client = client("curl");
    let Some(command) = client.command() else { return };
    let scene = Scene::new(Act::SucceedThenReset);
    scene.guarded(&command, &client.path).exits(103);
    scene.settle("redo");
    scene.guarded(&command, &client.path).exits(0);
    assert_eq!((scene.sent(), scene.provider.charges(ORDER)), (2, 1));
    let scene = Scene::new(Act::SucceedThenReset);
    scene.guarded(&command, &client.path).exits(103);
    scene.settle("done");
    // There is no answer to give.
    scene.guarded(&command, &client.path);
    assert_eq!((scene.sent(), scene.provider.charges(ORDER)), (1, 1));
}

/// Only what is alone pays twice.
#[test]
fn each_that_tries_again_by_itself_is_known() {
    let again = |alone: Alone| clients::all().iter().filter(|client| client.alone == alone).count();
    assert!(again(Alone::PaysTwice) > 0 && again(Alone::Fails) > 0);
}
