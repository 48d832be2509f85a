//! HTTP/2, with many requests on one connection: towards clients that give up on one of them,
//! and through, as gRPC wants it.

use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use hyper::http::request::Builder;
use hyper::{HeaderMap, Request, Response};
use semel_testkit::eventually;
use tokio::task::LocalSet;

use super::counter::Counter;
use super::server::{Server, ok};
use super::shop::Shop;

/// A test that waits for ever has failed.
const PATIENCE: Duration = Duration::from_secs(60);

const ORDER: &str = r#"{"order":"1"}"#;

/// Runs a test whose connections go on only while it waits for something.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let test = async { tokio::time::timeout(PATIENCE, test).await.expect("something hangs") };
    LocalSet::new().block_on(&runtime, test);
}

/// A client on this socket that takes so many bytes of each answer.
async fn client(socket: TcpStream, window: u32) -> SendRequest<Bytes> {
    socket.set_nonblocking(true).unwrap();
    let socket = tokio::net::TcpStream::from_std(socket).unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window);
    let (client, connection) = builder.handshake(socket).await.unwrap();
    tokio::task::spawn_local(connection);
    client
}

/// The request of an order, to the proxy.
fn order(counter: &Counter, server: &Server) -> Builder {
    let (name, value) = counter.login.trim().split_once(": ").unwrap();
    Request::post(server.url("/charge")).header(name, value)
}

fn ask(
    client: &mut SendRequest<Bytes>,
    request: Builder,
    body: &'static str,
) -> (ResponseFuture, SendStream<Bytes>) {
    let request = request.header("content-type", "application/json").body(()).unwrap();
    let (answer, mut stream) = client.send_request(request, false).unwrap();
    stream.send_data(Bytes::from(body), true).unwrap();
    (answer, stream)
}

/// An answer and its trailers.
type Said = Result<(Response<Vec<u8>>, HeaderMap), h2::Error>;

/// What was answered, and the status that came behind it.
async fn whole(answer: ResponseFuture) -> Said {
    let (parts, mut body) = answer.await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(piece) = poll_fn(|context| body.poll_data(context)).await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len()).unwrap();
        bytes.extend(piece);
    }
    let trailers = poll_fn(|context| body.poll_trailers(context)).await?.unwrap_or_default();
    Ok((Response::from_parts(parts, bytes), trailers))
}

fn paid() -> Server {
    Server::new(|visit| {
        while visit.request().is_some() {
            visit.wire.says(ok("paid!"));
        }
    })
}

/// Whether semel has all of its answer still, a part, or none: a client that gives up on a
/// request, and tries again, has not heard it, be that on the same connection or on another.
#[test]
fn f15_whoever_cancels_a_stream_gets_the_answer_at_the_next_try() {
    for (window, is_same) in
        [(0, true), (3, true), (1024, true), (0, false), (3, false), (1024, false)]
    {
        let (shop, server) = (Shop::new(), paid());
        let counter = shop.opens(&[]);
        run(async {
            let mut first = client(counter.dial().into_socket(), window).await;
            let (_answer, mut stream) = ask(&mut first, order(&counter, &server), ORDER);
            while server.heard().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // From here on the connection rests: what comes is in the system's hands.
            eventually("it is recorded", || shop.states() == ["complete"]);
            stream.send_reset(Reason::CANCEL);
            let mut second = match is_same {
                true => first,
                false => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    client(counter.dial().into_socket(), 1024).await
                }
            };
            let (answer, _stream) = ask(&mut second, order(&counter, &server), ORDER);
            assert_eq!(answer.await.unwrap().status(), 200);
        });
        counter.close();
        let charged = (server.heard().len(), shop.states());
        assert_eq!(charged, (1, vec!["complete".to_owned()]), "{window} {is_same}");
    }
}

/// Whoever has heard an answer and asks again means another one; so do two at once.
#[test]
fn equal_requests_on_one_connection_are_calls_of_their_own() {
    let (shop, server) = (Shop::new(), paid());
    for told in ["4 sent", "4 replayed"] {
        let counter = shop.opens(&[]);
        run(async {
            let mut client = client(counter.dial().into_socket(), 1024).await;
            let both = [(); 2].map(|()| ask(&mut client, order(&counter, &server), ORDER).0);
            for answer in both {
                assert_eq!(whole(answer).await.unwrap().0.body(), b"paid!");
            }
            for _ in 0..2 {
                let (answer, _stream) = ask(&mut client, order(&counter, &server), ORDER);
                assert_eq!(whole(answer).await.unwrap().0.body(), b"paid!");
            }
        });
        counter.close().exits(0).says(told);
    }
    assert_eq!((server.heard().len(), shop.states()), (4, vec!["complete".to_owned(); 4]));
}

/// A server of gRPC that does this with each request, until its client has gone.
struct Grpc {
    port: u16,
    heard: JoinHandle<usize>,
}

impl Grpc {
    fn new(serve: impl Fn(usize, SendResponse<Bytes>) + Send + 'static) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = std::thread::spawn(move || {
            let mut heard = 0;
            run(async {
                let socket = listener.accept().unwrap().0;
                socket.set_nonblocking(true).unwrap();
                let socket = tokio::net::TcpStream::from_std(socket).unwrap();
                let mut connection = h2::server::handshake(socket).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    assert_eq!(request.headers()["te"], "trailers");
                    drain(request.into_body());
                    serve(heard, respond);
                    heard += 1;
                }
            });
            heard
        });
        Self { port, heard }
    }

    fn charge(&self) -> Builder {
        Request::post(format!("http://127.0.0.1:{}/shop.Till/Charge", self.port))
            .header("te", "trailers")
    }
}

/// Reads what is of no interest.
fn drain(mut body: RecvStream) {
    tokio::task::spawn_local(async move {
        while let Some(Ok(piece)) = poll_fn(|context| body.poll_data(context)).await {
            let _ = body.flow_control().release_capacity(piece.len());
        }
    });
}

/// A message, and a status behind it.
fn ends(respond: &mut SendResponse<Bytes>, message: &'static str, status: &'static str) {
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    stream.send_data(Bytes::from(message), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    stream.send_trailers(trailers).unwrap();
}

/// Makes the call through a tunnel, as gRPC does.
fn calls(shop: &Shop, server: &Grpc) -> (Said, Counter) {
    let counter = shop.opens(&[]);
    let mut said = None;
    run(async {
        let mut client = client(counter.tunnel(server.port).into_socket(), 1024).await;
        let (answer, _stream) = ask(&mut client, server.charge(), ORDER);
        said = Some(whole(answer).await);
    });
    (said.unwrap(), counter)
}

#[test]
fn grpc_goes_through_with_its_trailers_and_is_replayed() {
    let shop = Shop::new();
    let server = Grpc::new(|_, mut respond| ends(&mut respond, "receipt", "0"));
    for told in ["1 sent", "1 replayed"] {
        let (said, counter) = calls(&shop, &server);
        let (answer, trailers) = said.unwrap();
        assert_eq!(
            (answer.body().as_slice(), &trailers["grpc-status"]),
            (&b"receipt"[..], &"0".parse().unwrap())
        );
        counter.close().exits(0).says(told);
    }
    assert_eq!(server.heard.join().unwrap(), 1);
}

/// That a service is unavailable proves nothing; that a stream was refused proves that nothing
/// was done with it (RFC 9113, 8.7).
#[test]
fn what_a_grpc_server_says_of_a_failure_counts() {
    let shop = Shop::new();
    let unavailable = Grpc::new(|_, mut respond| ends(&mut respond, "", "14"));
    for _ in 0..2 {
        let (_, counter) = calls(&shop, &unavailable);
        counter.close().exits(103);
    }
    assert_eq!((unavailable.heard.join().unwrap(), shop.states()), (1, vec!["unknown".to_owned()]));

    let shop = Shop::new();
    let cut = Grpc::new(|_, mut respond| {
        let head = Response::builder().body(()).unwrap();
        let mut stream = respond.send_response(head, false).unwrap();
        stream.send_data(Bytes::from("half"), false).unwrap();
        stream.send_reset(Reason::INTERNAL_ERROR);
    });
    for _ in 0..2 {
        let (said, counter) = calls(&shop, &cut);
        assert!(said.map_or(true, |(answer, _)| answer.status() == 424));
        counter.close().exits(103);
    }
    assert_eq!((cut.heard.join().unwrap(), shop.states()), (1, vec!["unknown".to_owned()]));

    let shop = Shop::new();
    let busy = Grpc::new(|_, mut respond| respond.send_reset(Reason::REFUSED_STREAM));
    let (said, counter) = calls(&shop, &busy);
    assert_eq!(said.unwrap().0.status(), 502);
    counter.close();
    assert_eq!((busy.heard.join().unwrap(), shop.states()), (1, vec!["rejected".to_owned()]));
}
