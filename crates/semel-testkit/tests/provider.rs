//! What the fake provider does to a plain client, and what that pays.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};

use semel_testkit::plain_client;
use semel_testkit::provider::{Act, Certificate, Provider, State};

/// What the tests of other crates have for the client.
#[test]
fn plain_client() {
    plain_client::become_client();
}

/// The client, at the provider's URL for charges; no proxy of the user's is in between.
fn client(provider: &Provider, words: &str) -> Command {
    let mut client = Command::new(env!("CARGO_BIN_EXE_plain_client"));
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"] {
        client.env_remove(name);
    }
    client.arg(provider.url("/charge")).args(words.split_whitespace());
    client
}

/// What the client prints, and whether all went well.
fn pays(provider: &Provider, words: &str) -> (String, bool) {
    said(&client(provider, words).output().expect("it runs"))
}

fn said(output: &Output) -> (String, bool) {
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
}

fn started(mut client: Command) -> Child {
    client.stdout(Stdio::piped()).spawn().expect("it runs")
}

/// What comes back for some bytes, until the connection is closed.
fn raw(provider: &Provider, request: &str) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", provider.port())).expect("it listens");
    socket.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("it answers with a text");
    answer
}

/// What is answered to a body that is posted.
fn post(provider: &Provider, path: &str, headers: &str, body: &str) -> String {
    raw(
        provider,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: provider\r\nConnection: close\r\n{headers}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    )
}

#[test]
fn a_provider_that_behaves_charges_each_order_once() {
    let provider = Provider::new();
    let (said, well) = pays(&provider, "--orders 1-3,17 --threads 1 --header X-Batch:7");
    assert!(well, "{said}");
    assert_eq!(
        said,
        "order 1: 200 after 1\norder 2: 200 after 1\norder 3: 200 after 1\norder 17: 200 after 1\n"
    );
    let expected = ["1", "17", "2", "3"].map(|order| (order.to_owned(), 1));
    assert_eq!(provider.charges_by_order().into_iter().collect::<Vec<_>>(), expected);

    let requests = provider.requests();
    let last = &requests[3];
    assert_eq!((&*last.method, &*last.target, last.number), ("POST", "/charge", 4));
    assert_eq!(last.text(), r#"{"order": "17", "amount": 3}"#);
    assert_eq!((last.header("x-batch"), last.body_length), (Some("7"), 28));
    let read = raw(&provider, "GET /orders/17 HTTP/1.0\r\n\r\n");
    assert!(read.ends_with("\r\n\r\n{\"charged\":1,\"order\":\"17\"}"), "{read}");
}

/// What a client gets that does not send again, and how often its order is charged.
#[test]
fn each_act_charges_or_not_and_fails_in_its_own_way() {
    for (act, charges, fault) in [
        (Act::SucceedThenReset, 1, "reset by peer"),
        (Act::SucceedThenClose, 1, "unexpected end of file"),
        (Act::HalfHeader, 1, "unexpected end of file"),
        (Act::ShortBody, 1, "unexpected end of file"),
        (Act::CutStream, 1, "unexpected end of file"),
        (Act::Garbage, 1, ""),
        (Act::ErrorAfterCharging(500), 1, "500"),
        (Act::Raw(b"HTTP/1.1 402 No\r\n\r\n".to_vec()), 1, "402"),
        (Act::Refuse(429), 0, "429"),
        (Act::Refuse(409), 0, "409"),
        (Act::Reset, 0, "reset by peer"),
    ] {
        let planned = act.clone();
        let provider = Provider::builder().plan(move |_| planned.clone()).start();
        let (said, well) = pays(&provider, "--orders 17 --retries 0");
        assert!(!well && said.contains(fault), "{act:?}: {said}");
        assert_eq!(provider.charges("17"), charges, "{act:?}");
        assert_eq!(act.charges(), charges > 0, "{act:?}");
    }
}

#[test]
fn what_hangs_is_released() {
    for (act, charges) in [(Act::SucceedThenHang, 1), (Act::EndlessBody, 1), (Act::Hang, 0)] {
        let planned = act.clone();
        let provider = Provider::builder().plan(move |_| planned.clone()).start();
        let client = started(client(&provider, "--orders 17 --retries 0"));
        provider.until("order 17 hangs", |state| state.hanging() == ["17"]);
        assert_eq!(provider.charges("17"), charges, "{act:?}");
        provider.release();
        let (said, well) = said(&client.wait_with_output().unwrap());
        assert!(!well, "{act:?}: {said}");
        provider.until("nobody is there", |state| state.connected() == 0);
    }
}

#[test]
fn a_client_that_is_told_so_gives_up_what_hangs() {
    let provider = Provider::builder()
        .plan(|seen| if seen.time == 1 { Act::SucceedThenHang } else { Act::Ok })
        .start();
    let (said, well) = pays(&provider, "--orders 17 --timeout 300");
    assert!(well, "{said}");
    // This is what semel is for.
    assert_eq!(provider.charges("17"), 2, "{said}");
}

#[test]
fn what_is_slow_is_answered_when_the_gate_opens() {
    for act in [Act::Slow, Act::Pause] {
        let planned = act.clone();
        let provider = Provider::builder().plan(move |_| planned.clone()).start();
        let client = started(client(&provider, "--orders 17,18 --threads 2"));
        provider.until("both wait", |state| state.at_gate().len() == 2);
        assert_eq!((provider.charges("17"), provider.look(State::answered)), (1, 0));
        provider.open("17");
        provider.until("one is answered", |state| state.at_gate() == ["18"]);
        provider.open_all();
        let (said, well) = said(&client.wait_with_output().unwrap());
        assert!(well, "{act:?}: {said}");
    }
}

#[test]
fn a_key_is_honoured_until_it_is_forgotten() {
    let provider = Provider::builder()
        .honours_keys(true)
        .plan(|seen| if seen.time == 1 { Act::SucceedThenReset } else { Act::Ok })
        .start();
    // A retry has the key of its first request.
    let (said, well) = pays(&provider, "--orders 17 --key fresh");
    assert!(well && said == "order 17: 200 after 2\n", "{said}");
    assert_eq!(provider.charges("17"), 1);
    // The next run has another, unless it is made of the order.
    pays(&provider, "--orders 17 --key fresh");
    assert_eq!(provider.charges("17"), 2);
    pays(&provider, "--orders 18 --key order");
    pays(&provider, "--orders 18 --key order");
    assert_eq!(provider.charges("18"), 1);

    let key = "Idempotency-Key: order-18\r\n";
    let again = post(&provider, "/charge", key, r#"{"order": "18", "amount": 3}"#);
    assert!(again.contains("Idempotent-Replayed: true"), "{again}");
    let other = post(&provider, "/charge", key, r#"{"order": "18", "amount": 4}"#);
    assert!(other.starts_with("HTTP/1.1 422 "), "{other}");
    assert_eq!(provider.charges("18"), 1);
    provider.forget_keys();
    pays(&provider, "--orders 18 --key order");
    assert_eq!(provider.charges("18"), 2);
}

#[test]
fn a_key_is_in_use_while_its_first_request_is_at_work() {
    let provider = Provider::builder().honours_keys(true).plan(|_| Act::Slow).start();
    let client = started(client(&provider, "--orders 17 --key order"));
    provider.until("order 17 is at work", |state| state.at_gate() == ["17"]);
    let (body, key) = (r#"{"order": "17", "amount": 3}"#, "Idempotency-Key: order-17\r\n");
    let meanwhile = post(&provider, "/charge", key, body);
    assert!(meanwhile.starts_with("HTTP/1.1 409 Conflict"), "{meanwhile}");
    provider.open("17");
    let (said, well) = said(&client.wait_with_output().unwrap());
    assert!(well, "{said}");
    let later = post(&provider, "/charge", key, body);
    assert!(later.ends_with("{\"charge\":1,\"charged\":1,\"order\":\"17\"}"), "{later}");
}

#[test]
fn each_sdk_is_answered_in_its_own_shape() {
    let provider = Provider::new();
    let chat = r#"{"model": "m", "messages": [{"role": "user", "content": "Pay order-1!"}]}"#;
    let stream = chat.replace("\"m\"", "\"m\", \"stream\": true");
    for (path, headers, body, ends) in [
        ("/v1/chat/completions", "", chat, "}"),
        ("/v1/chat/completions", "", &*stream, "data: [DONE]\n\n\r\n0\r\n\r\n"),
        ("/v1/messages", "", chat, "}"),
        ("/v1/messages", "", &*stream, "data: {\"type\":\"message_stop\"}\n\n\r\n0\r\n\r\n"),
        ("/v1/charges", "", "amount=3&currency=eur&metadata[order]=order-1", "}"),
        ("/v1/payment_intents", "", "amount=3&description=order-1", "}"),
        ("/", "X-Amz-Target: AmazonSQS.SendMessage\r\n", r#"{"MessageBody":"order-1"}"#, "}"),
        ("/", "", "Action=SendMessage&MessageBody=order-1", "</SendMessageResponse>"),
        ("/anything", "", "order-1", "}"),
    ] {
        let answer = post(&provider, path, headers, body);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with(ends), "{answer}");
    }
    let put = "PUT /bucket/order-1 HTTP/1.0\r\nExpect: 100-continue\r\n\
               Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n";
    let put = raw(&provider, put);
    assert!(put.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{put}");
    let last = provider.requests().pop().unwrap();
    assert_eq!((last.text(), last.trailers.len()), ("abc".to_owned(), 1));
    assert_eq!(provider.charges("order-1"), 10);
}

#[test]
fn one_that_is_down_refuses_and_charges_nothing() {
    let provider = Provider::new();
    provider.refuse_connections();
    let (said, well) = pays(&provider, "--orders 17");
    assert!(!well && said.contains("refused"), "{said}");
    provider.accept_connections();
    let (said, well) = pays(&provider, "--orders 17");
    assert!(well && provider.charges("17") == 1, "{said}");
}

#[test]
fn tls_with_a_good_certificate_and_with_bad_ones() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, Provider::ca_pem()).unwrap();
    for (certificate, good) in [
        (Certificate::Good, true),
        (Certificate::WrongName, false),
        (Certificate::Expired, false),
        (Certificate::OfStranger, false),
    ] {
        let provider = Provider::builder().tls(certificate).start();
        let output = client(&provider, "--orders 17").env("SSL_CERT_FILE", &ca).output().unwrap();
        let (said, well) = said(&output);
        assert_eq!(well, good, "{certificate:?}: {said}");
        assert_eq!(provider.charges("17"), u32::from(good), "{certificate:?}");
    }
}

#[test]
fn the_client_goes_through_a_proxy_with_its_name_and_password() {
    // Whoever is named as a proxy is asked in absolute form; this one answers itself.
    let provider = Provider::new();
    let mut client = client(&provider, "--orders 17");
    client.env("http_proxy", format!("http://step%2D1:secret@127.0.0.1:{}", provider.port()));
    assert!(client.output().unwrap().status.success());
    let request = &provider.requests()[0];
    assert_eq!(request.target, provider.url("/charge"));
    assert_eq!(request.header("Proxy-Authorization"), Some("Basic c3RlcC0xOnNlY3JldA=="));
    assert_eq!(request.path(), "/charge");
}

#[test]
fn the_client_goes_through_a_proxy_to_one_that_speaks_tls() {
    let provider = Provider::builder().tls(Certificate::Good).start();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, Provider::ca_pem()).unwrap();
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy_at = proxy.local_addr().unwrap();
    let mut client = client(&provider, "--orders 17");
    client.env("SSL_CERT_FILE", &ca).env("https_proxy", format!("http://a:b@{proxy_at}"));
    let client = started(client);

    let (mut from, _) = proxy.accept().unwrap();
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        from.read_exact(&mut byte).unwrap();
        asked.extend(byte);
    }
    let asked = String::from_utf8(asked).unwrap();
    assert!(asked.starts_with(&format!("CONNECT localhost:{} ", provider.port())), "{asked}");
    assert!(asked.contains("\r\nProxy-Authorization: Basic YTpi\r\n"), "{asked}");
    from.write_all(b"HTTP/1.1 200 Yes\r\n\r\n").unwrap();
    let to = TcpStream::connect(("127.0.0.1", provider.port())).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| std::io::copy(&mut &to, &mut &from));
        // The client goes as it likes.
        let _ = std::io::copy(&mut &from, &mut &to);
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
    let (said, well) = said(&client.wait_with_output().unwrap());
    assert!(well && provider.charges("17") == 1, "{said}");
    assert_eq!(provider.requests()[0].header("Proxy-Authorization"), None);
}

#[test]
fn a_test_binary_becomes_the_client() {
    let provider = Provider::builder()
        .plan(|seen| if seen.order == "17" { Act::Refuse(400) } else { Act::Ok })
        .start();
    let of = |orders: &str| {
        let mut client = plain_client::command();
        client.env_remove("http_proxy").env_remove("HTTP_PROXY").stdout(Stdio::null());
        client.args([&provider.url("/charge"), "--orders", orders]).status().unwrap().success()
    };
    assert!(of("1-3") && !of("16-18"));
    let script = format!("{} {} --orders 4", plain_client::words(), provider.url("/charge"));
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).env_remove("http_proxy").env_remove("HTTP_PROXY");
    assert!(shell.output().unwrap().status.success());
    assert_eq!(provider.charges_by_order().len(), 6);
}

#[test]
fn the_client_obeys_who_says_that_it_shall_not_send_again() {
    let raw = b"HTTP/1.1 500 No\r\nX-Should-Retry: false\r\nContent-Length: 0\r\n\r\n";
    let provider = Provider::builder().plan(|_| Act::Raw(raw.to_vec())).start();
    let (said, well) = pays(&provider, "--orders 17");
    assert!(!well && said == "order 17: failed after 1: 500\n", "{said}");
}

#[test]
fn hundreds_are_served_at_once_and_thousands_in_turn() {
    let provider = Provider::builder().plan(|_| Act::Slow).start();
    // A process may have a thousand files, and each connection has both its ends here.
    let sockets: Vec<_> = (0..300)
        .map(|order| {
            let mut socket = TcpStream::connect(("127.0.0.1", provider.port())).unwrap();
            let body = format!("order-{order}");
            write!(socket, "POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                .unwrap();
            socket
        })
        .collect();
    provider.until("all wait", |state| state.at_gate().len() == 300);
    provider.open_all();
    provider.until("all are answered", |state| state.answered() == 300);
    drop(sockets);
    // One connection, thousands of requests.
    let mut socket = TcpStream::connect(("127.0.0.1", provider.port())).unwrap();
    for _ in 0..2000 {
        socket.write_all(b"GET /orders/17 HTTP/1.1\r\n\r\n").unwrap();
    }
    provider.until("all are answered", |state| state.answered() == 2300);
    assert_eq!(provider.look(State::connections), 301);
}

/// The figure that stands beside semel's: a provider that charges and then does not
/// answer, one time in five.
#[test]
fn the_plain_clients_retries_pay_twice() {
    let provider = Provider::builder()
        .plan(
            |seen| {
                if seen.time == 1 && seen.lot(5) == 0 { Act::SucceedThenHang } else { Act::Ok }
            },
        )
        .start();
    let (said, well) = pays(&provider, "--orders 1-200 --threads 40 --timeout 1000");
    let charges = provider.charges_by_order();
    let twice = charges.values().filter(|charges| **charges > 1).count();
    println!("of {} orders, {twice} were charged more than once", charges.len());
    assert!(well && charges.len() == 200, "{said}");
    assert!(twice > 0, "{charges:?}");
}
