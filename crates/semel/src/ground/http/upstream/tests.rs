//! Against little servers on loopback that do what servers do, and what they should not.

mod encrypted;
mod many;
mod proxied;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::{Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper::{StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::{Notify, oneshot};

use super::connect::Connection;
use super::*;
use crate::ground::http::trust::Trust;

/// A test that waits for ever has failed.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(test: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(PATIENCE, test).await.expect("something hangs") });
}

/// Trusts nobody, and goes through no proxy.
fn upstream(limits: Limits) -> Upstream {
    let trust = Trust { is_instead_of_system: true, ..Trust::default() };
    Upstream::with(&Roots::of(&trust), UserProxy::default(), limits)
}

/// A server that does as it is told with each of its connections; the first is 0.
async fn server<F, S>(serve: S) -> Origin
where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(usize, TcpStream) -> F + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for at in 0.. {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(at, socket));
        }
    });
    Origin { scheme: Scheme::Http, host: "127.0.0.1".to_owned(), port, h2_plain: false }
}

/// The head of a request, or what there is of it.
async fn head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// Answers every request in the same way.
async fn answer(mut socket: TcpStream, with: &str) {
    while !head(&mut socket).await.is_empty() {
        socket.write_all(with.as_bytes()).await.unwrap();
    }
}

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

fn get() -> Request<Empty<Bytes>> {
    Request::get("/").body(Empty::new()).unwrap()
}

fn charge() -> Request<Full<Bytes>> {
    Request::post("/charge").body(Full::from("order 1")).unwrap()
}

async fn text(answer: Response<Received>) -> String {
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// What comes of a request to a server that does this with its connections.
async fn sent_to<F, S>(serve: S) -> Result<Response<Received>, SendError>
where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(usize, TcpStream) -> F + Send + 'static,
{
    let to = server(serve).await;
    upstream(Limits::default()).send(&to, charge(), Freshness::Fresh).await
}

fn has_no_proof(sent: Result<Response<Received>, SendError>) -> String {
    let error = sent.unwrap_err();
    assert_eq!(error.proof, None, "{error}");
    error.what
}

fn has_proof(sent: Result<Response<Received>, SendError>, proof: NotProcessed) -> String {
    let error = sent.unwrap_err();
    assert_eq!(error.proof, Some(proof), "{error}");
    error.what
}

#[test]
fn a_request_goes_out_as_it_is_and_its_answer_comes_in() {
    run(async {
        let (heard, hears) = oneshot::channel();
        let heard = Mutex::new(Some(heard));
        let to = server(move |_, mut socket| {
            let heard = heard.lock().unwrap().take().unwrap();
            async move {
                let mut said = head(&mut socket).await;
                let mut body = [0; 7];
                socket.read_exact(&mut body).await.unwrap();
                said.push_str(std::str::from_utf8(&body).unwrap());
                heard.send(said).unwrap();
                socket.write_all(HELLO.as_bytes()).await.unwrap();
            }
        })
        .await;
        let request = Request::post("/charge?n=1").header("x-mine", "1");
        let request = request.body(Full::<Bytes>::from("order 1")).unwrap();
        let upstream = upstream(Limits::default());
        let answer = upstream.send(&to, request, Freshness::Fresh).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(text(answer).await, "hello");
        let port = to.port;
        assert_eq!(
            hears.await.unwrap(),
            format!(
                "POST /charge?n=1 HTTP/1.1\r\nx-mine: 1\r\nhost: 127.0.0.1:{port}\r\n\
                 content-length: 7\r\n\r\norder 1"
            )
        );
    });
}

/// What the proxy does: a client's request goes on as it came.
#[test]
fn headers_keep_their_case_on_both_ways() {
    run(async {
        let (heard, hears) = oneshot::channel();
        let heard = Mutex::new(Some(heard));
        let to = server(move |_, mut socket| {
            let heard = heard.lock().unwrap().take().unwrap();
            async move {
                heard.send(head(&mut socket).await).unwrap();
                let answer = "HTTP/1.1 200 OK\r\nX-RateLimit: 7\r\nContent-Length: 0\r\n\r\n";
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        })
        .await;
        let (mut client, in_between) = tokio::io::duplex(4096);
        let upstream = upstream(Limits::default());
        let service = hyper::service::service_fn(move |request| {
            let (upstream, to) = (upstream.clone(), to.clone());
            async move { upstream.send(&to, request, Freshness::Fresh).await }
        });
        let serving = hyper::server::conn::http1::Builder::new()
            .preserve_header_case(true)
            .serve_connection(TokioIo::new(in_between), service);
        tokio::spawn(serving);
        let request = b"GET / HTTP/1.1\r\nHost: x\r\nX-API-Key: k\r\n\r\n";
        client.write_all(request).await.unwrap();
        let heard = hears.await.unwrap();
        assert!(heard.contains("Host: x\r\n") && heard.contains("X-API-Key: k\r\n"), "{heard}");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(client.read_u8().await.unwrap());
        }
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.contains("X-RateLimit: 7\r\n"), "{answer}");
    });
}

#[test]
fn a_connection_is_used_again_while_it_is_fresh() {
    run(async {
        let opened = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&opened);
        let to = server(move |_, socket| {
            counts.fetch_add(1, Ordering::SeqCst);
            answer(socket, HELLO)
        })
        .await;
        let all_day = Duration::from_secs(24 * 60 * 60);
        let patient = upstream(Limits { fresh: all_day, ..Limits::default() });
        for _ in 0..5 {
            let answer = patient.send(&to, get(), Freshness::Fresh).await.unwrap();
            assert_eq!(text(answer).await, "hello");
        }
        assert_eq!(opened.load(Ordering::SeqCst), 1);
        let strict = upstream(Limits { fresh: Duration::ZERO, ..Limits::default() });
        for (fresh, expected) in [
            (Freshness::Fresh, 2),
            (Freshness::Fresh, 3),
            // What only reads may take the old one.
            (Freshness::Any, 3),
        ] {
            text(strict.send(&to, get(), fresh).await.unwrap()).await;
            assert_eq!(opened.load(Ordering::SeqCst), expected);
        }
    });
}

#[test]
fn a_connection_that_the_server_closed_is_not_used_again() {
    run(async {
        let closed = Arc::new(Notify::new());
        let closes = Arc::clone(&closed);
        let to = server(move |_, mut socket| {
            let closes = Arc::clone(&closes);
            async move {
                head(&mut socket).await;
                socket.write_all(HELLO.as_bytes()).await.unwrap();
                drop(socket);
                closes.notify_one();
            }
        })
        .await;
        let upstream = upstream(Limits::default());
        for _ in 0..20 {
            let answer = upstream.send(&to, get(), Freshness::Fresh).await.unwrap();
            assert_eq!(text(answer).await, "hello");
            closed.notified().await;
        }
    });
}

#[test]
fn many_at_once_are_all_answered() {
    run(async {
        let opened = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&opened);
        let to = server(move |_, socket| {
            counts.fetch_add(1, Ordering::SeqCst);
            answer(socket, HELLO)
        })
        .await;
        let upstream = upstream(Limits::default());
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let (upstream, to) = (upstream.clone(), to.clone());
            clients.spawn(async move {
                for _ in 0..50 {
                    let answer = upstream.send(&to, get(), Freshness::Fresh).await.unwrap();
                    assert_eq!(text(answer).await, "hello");
                }
            });
        }
        clients.join_all().await;
        assert!(opened.load(Ordering::SeqCst) <= 16);
    });
}

#[test]
fn what_comes_before_an_answer_is_passed_over_and_trailers_are_not() {
    run(async {
        let answer = sent_to(|_, socket| {
            answer(
                socket,
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n\
                 HTTP/1.1 200 OK\r\ntrailer: sum\r\ntransfer-encoding: chunked\r\n\r\n\
                 5\r\nhello\r\n0\r\nsum: 5\r\n\r\n",
            )
        });
        let whole = answer.await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(whole.trailers().unwrap()["sum"], "5");
        assert_eq!(whole.to_bytes(), "hello");
    });
}

#[test]
fn an_answer_comes_before_the_request_has_ended() {
    run(async {
        let to = server(|_, mut socket| async move {
            head(&mut socket).await;
            let answer = "HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n";
            socket.write_all(answer.as_bytes()).await.unwrap();
            // Only when the client has gone.
            let _ = socket.read_to_end(&mut Vec::new()).await;
        })
        .await;
        let endless = StreamBody::new(Endless);
        let request = Request::post("/").body(endless).unwrap();
        let upstream = upstream(Limits::default());
        let answer = upstream.send(&to, request, Freshness::Fresh).await.unwrap();
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    });
}

/// A body that begins and does not go on.
struct Endless;

impl futures_util::Stream for Endless {
    type Item = Result<Frame<Bytes>, std::convert::Infallible>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Pending
    }
}

#[test]
fn a_connection_can_go_on_in_another_protocol() {
    run(async {
        let answer = server(|_, mut socket| async move {
            let said = head(&mut socket).await;
            assert!(said.contains("upgrade: echo"), "{said}");
            let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                          upgrade: echo\r\n\r\n";
            socket.write_all(answer.as_bytes()).await.unwrap();
            let mut said = [0; 4];
            socket.read_exact(&mut said).await.unwrap();
            socket.write_all(&said).await.unwrap();
        })
        .await;
        let request = Request::get("/").header("connection", "upgrade").header("upgrade", "echo");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let upstream = upstream(Limits::default());
        let answer = upstream.send(&answer, request, Freshness::Fresh).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        let mut upgraded = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
        upgraded.write_all(b"ping").await.unwrap();
        let mut said = [0; 4];
        upgraded.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"ping");
    });
}

#[test]
fn without_a_connection_nothing_was_processed() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut to =
            Origin { scheme: Scheme::Http, host: "127.0.0.1".to_owned(), port, h2_plain: false };
        let upstream = upstream(Limits::default());
        let sent = upstream.send(&to, charge(), Freshness::Fresh).await;
        let what = has_proof(sent, NotProcessed::Unreachable);
        assert!(what.contains(&format!("127.0.0.1:{port}")) && what.contains("refused"), "{what}");
        // No name may be so long, so nobody is asked.
        to.host = "a".repeat(300);
        let sent = upstream.send(&to, charge(), Freshness::Fresh).await;
        has_proof(sent, NotProcessed::Unresolved);
    });
}

#[test]
fn once_a_byte_was_written_it_may_have_been_processed() {
    run(async {
        // Closed with something unread, a connection is reset.
        let reset = sent_to(|_, mut socket| async move {
            socket.read_u8().await.unwrap();
        });
        has_no_proof(reset.await);
        let hung_up = sent_to(|_, mut socket| async move {
            head(&mut socket).await;
            socket.read_exact(&mut [0; 7]).await.unwrap();
        });
        has_no_proof(hung_up.await);
        for said in
            ["HTTP/1.1 200 OK\r\ncontent-le", "HTTP/1.1 2", "\0\x01\x02 what\r\n\r\n", "\r\n"]
        {
            let sent = sent_to(move |_, mut socket| async move {
                head(&mut socket).await;
                socket.read_exact(&mut [0; 7]).await.unwrap();
                socket.write_all(said.as_bytes()).await.unwrap();
            });
            has_no_proof(sent.await);
        }
    });
}

#[test]
fn an_answer_that_is_cut_is_an_error_of_its_body() {
    run(async {
        for said in [
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nwhat\r\nhello",
        ] {
            let sent = sent_to(move |_, mut socket| async move {
                head(&mut socket).await;
                socket.read_exact(&mut [0; 7]).await.unwrap();
                socket.write_all(said.as_bytes()).await.unwrap();
            });
            let answer = sent.await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            assert!(answer.into_body().collect().await.is_err(), "{said}");
        }
    });
}

#[test]
fn whoever_gives_up_hangs_up() {
    run(async {
        let (heard, hears) = oneshot::channel();
        let (gone, goes) = oneshot::channel();
        let tells = Mutex::new(Some((heard, gone)));
        let to = server(move |_, mut socket| {
            let (heard, gone) = tells.lock().unwrap().take().unwrap();
            async move {
                head(&mut socket).await;
                heard.send(()).unwrap();
                let _ = socket.read_to_end(&mut Vec::new()).await;
                gone.send(()).unwrap();
            }
        })
        .await;
        let sending = tokio::spawn(async move {
            upstream(Limits::default()).send(&to, charge(), Freshness::Fresh).await
        });
        hears.await.unwrap();
        sending.abort();
        goes.await.unwrap();
    });
}

#[test]
fn what_was_cut_before_it_was_written_is_proved() {
    run(async {
        let to = server(|_, socket| answer(socket, HELLO)).await;
        let upstream = upstream(Limits::default());
        let connection = upstream.connector.open(&to, false).await.unwrap();
        let Connection::One(one) = &connection else { panic!("it speaks HTTP/1") };
        assert_eq!(one.line.cut(), 0);
        let place = upstream.pool.place(&to);
        let request = charge().map(|body| body.map_err(Into::into).boxed_unsync());
        match place.add(connection).send(&to, request, &place).await {
            Err(Failed::Over(error)) => assert_eq!(error.proof, Some(NotProcessed::Unwritten)),
            Err(Failed::GivenBack(..)) => panic!("it was begun"),
            Ok(_) => panic!("nothing was written"),
        }
    });
}

#[test]
fn what_was_never_begun_comes_back_whole() {
    run(async {
        let to = server(|_, socket| async move { drop(socket) }).await;
        let upstream = upstream(Limits::default());
        let connection = upstream.connector.open(&to, false).await.unwrap();
        let Connection::One(mut one) = connection else { panic!("it speaks HTTP/1") };
        while one.sender.ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
        let place = upstream.pool.place(&to);
        let request = charge().map(|body| body.map_err(Into::into).boxed_unsync());
        match place.add(Connection::One(one)).send(&to, request, &place).await {
            Err(Failed::GivenBack(request, _)) => {
                assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "order 1");
            }
            _ => panic!("it was begun"),
        }
    });
}

#[test]
fn a_tunnel_is_for_anything() {
    run(async {
        let to = server(|_, mut socket| async move {
            socket.write_all(b"220 I speak first\r\n").await.unwrap();
        })
        .await;
        let mut tunnel = upstream(Limits::default()).tunnel(&to).await.unwrap();
        let mut said = String::new();
        tunnel.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "220 I speak first\r\n");
    });
}
