//! Servers that are who they say, and servers that are not.

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::ground::http::authority::Authority;

/// Trusts an authority, and nobody else.
fn trusting(authority: &Authority) -> Upstream {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("ca.pem");
    std::fs::write(&file, authority.ca_pem()).unwrap();
    let trust = Trust { is_instead_of_system: true, files: vec![file], ..Trust::default() };
    let roots = Roots::of(&trust);
    assert_eq!(roots.faults, [""; 0]);
    Upstream::new(&roots, UserProxy::default())
}

/// What a client gets of a server is what the server got of the client.
async fn echo(request: Request<Incoming>) -> Result<Response<Incoming>, hyper::Error> {
    let (head, body) = request.into_parts();
    let mut answer = Response::new(body);
    answer.headers_mut().insert("heard", head.uri.to_string().parse().unwrap());
    answer.headers_mut().insert("spoke", format!("{:?}", head.version).parse().unwrap());
    if let Some(host) = head.headers.get("host") {
        answer.headers_mut().insert("host", host.clone());
    }
    Ok(answer)
}

async fn tls_server(mut config: ServerConfig, protocols: &[&str]) -> Origin {
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let plain = server(move |_, socket| {
        let acceptor = acceptor.clone();
        async move {
            // A client that does not trust us hangs up.
            let Ok(socket) = acceptor.accept(socket).await else { return };
            let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(socket), service_fn(echo))
                .await;
        }
    })
    .await;
    Origin { scheme: Scheme::Https, host: "localhost".to_owned(), ..plain }
}

fn config(authority: &Authority, host: &str) -> ServerConfig {
    ServerConfig::clone(&authority.server_config(None, host).unwrap())
}

#[test]
fn the_server_says_which_http_it_speaks() {
    run(async {
        let authority = Authority::new().unwrap();
        let upstream = trusting(&authority);
        for (protocols, spoke) in
            [(&["h2", "http/1.1"][..], "HTTP/2.0"), (&["http/1.1"], "HTTP/1.1"), (&[], "HTTP/1.1")]
        {
            let to = tls_server(config(&authority, "localhost"), protocols).await;
            for _ in 0..3 {
                let answer = upstream.send(&to, charge(), Freshness::Fresh).await.unwrap();
                let said = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
                assert_eq!(said("spoke"), spoke);
                if spoke == "HTTP/2.0" {
                    let whole = format!("https://localhost:{}/charge", to.port);
                    assert_eq!(said("heard"), whole);
                } else {
                    assert_eq!(said("heard"), "/charge");
                    assert_eq!(said("host"), format!("localhost:{}", to.port));
                }
                assert_eq!(text(answer).await, "order 1");
            }
        }
    });
}

#[test]
fn trailers_go_both_ways() {
    run(async {
        let authority = Authority::new().unwrap();
        let upstream = trusting(&authority);
        let to = tls_server(config(&authority, "localhost"), &["h2"]).await;
        let mut trailers = hyper::HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let body = Full::<Bytes>::from("order 1").with_trailers(async { Some(Ok(trailers)) });
        let request = Request::post("/charge").header("te", "trailers").body(body).unwrap();
        let answer = upstream.send(&to, request, Freshness::Fresh).await.unwrap();
        let whole = answer.into_body().collect().await.unwrap();
        assert_eq!(whole.trailers().unwrap()["grpc-status"], "0");
    });
}

#[test]
fn a_server_that_is_not_trusted_gets_nothing() {
    run(async {
        let (trusted, other) = (Authority::new().unwrap(), Authority::new().unwrap());
        let upstream = trusting(&trusted);
        let stranger = tls_server(config(&other, "localhost"), &["h2"]).await;
        let sent = upstream.send(&stranger, charge(), Freshness::Fresh).await;
        let what = has_proof(sent, NotProcessed::Untrusted);
        assert!(what.contains("localhost") && what.contains("signed"), "{what}");
        let impostor = tls_server(config(&trusted, "other.example.com"), &["h2"]).await;
        let sent = upstream.send(&impostor, charge(), Freshness::Fresh).await;
        let what = has_proof(sent, NotProcessed::Untrusted);
        assert!(what.contains("localhost") && what.contains("other.example.com"), "{what}");
    });
}

#[test]
fn without_a_handshake_nothing_was_processed() {
    run(async {
        let authority = Authority::new().unwrap();
        let upstream = trusting(&authority);
        for said in ["HTTP/1.1 400 Bad Request\r\n\r\n", ""] {
            let plain = server(move |_, mut socket| async move {
                socket.write_all(said.as_bytes()).await.unwrap();
            })
            .await;
            let to = Origin { scheme: Scheme::Https, ..plain };
            let sent = upstream.send(&to, charge(), Freshness::Fresh).await;
            has_proof(sent, NotProcessed::Handshake);
        }
        let limits = Limits { connect: Duration::from_millis(1), ..Limits::default() };
        let silent = server(|_, mut socket| async move {
            let _ = socket.read_to_end(&mut Vec::new()).await;
        })
        .await;
        let to = Origin { scheme: Scheme::Https, ..silent };
        let sent = super::upstream(limits).send(&to, charge(), Freshness::Fresh).await;
        let what = has_proof(sent, NotProcessed::Unreachable);
        assert!(what.contains("within 0.001 s"), "{what}");
    });
}

/// More than the windows of HTTP/2 and the buffers of HTTP/1, both ways.
#[test]
fn large_bodies_stream() {
    run(async {
        let authority = Authority::new().unwrap();
        let upstream = trusting(&authority);
        let large = Bytes::from_iter((0..3 * 1024 * 1024_u32).map(|at| at.to_be_bytes()[3]));
        for protocols in [&["h2"][..], &["http/1.1"]] {
            let to = tls_server(config(&authority, "localhost"), protocols).await;
            let request = Request::post("/").body(Full::new(large.clone())).unwrap();
            let answer = upstream.send(&to, request, Freshness::Fresh).await.unwrap();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert!(body == large, "{} bytes", body.len());
        }
    });
}
