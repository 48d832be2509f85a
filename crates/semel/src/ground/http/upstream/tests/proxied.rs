//! Through the user's proxy. What is asked for has a name that only the proxy knows.

use std::collections::BTreeMap;

use super::*;

/// A client with this proxy for everything.
fn through(proxy: &Origin) -> Upstream {
    let trust = Trust { is_instead_of_system: true, ..Trust::default() };
    let url = format!("http://me:secret@127.0.0.1:{}", proxy.port);
    let environment = BTreeMap::from([("ALL_PROXY".into(), url.into())]);
    Upstream::new(&Roots::of(&trust), UserProxy::of(&environment).unwrap())
}

fn far(scheme: Scheme) -> Origin {
    Origin { scheme, host: "far.example".to_owned(), port: 8080, h2_plain: false }
}

/// A proxy that notes what it is asked, and answers with this.
async fn proxy(answer: &'static str) -> (Origin, oneshot::Receiver<String>) {
    let (heard, hears) = oneshot::channel();
    let heard = Mutex::new(Some(heard));
    let proxy = server(move |_, mut socket| {
        let heard = heard.lock().unwrap().take().unwrap();
        async move {
            heard.send(head(&mut socket).await).unwrap();
            socket.write_all(answer.as_bytes()).await.unwrap();
            let _ = socket.read_to_end(&mut Vec::new()).await;
        }
    });
    (proxy.await, hears)
}

#[test]
fn a_proxy_is_told_the_whole_url() {
    run(async {
        let (proxy, hears) = proxy(HELLO).await;
        let answer = through(&proxy).send(&far(Scheme::Http), get(), Freshness::Fresh).await;
        assert_eq!(text(answer.unwrap()).await, "hello");
        let heard = hears.await.unwrap();
        assert!(heard.starts_with("GET http://far.example:8080/ HTTP/1.1\r\n"), "{heard}");
        assert!(heard.contains("proxy-authorization: Basic bWU6c2VjcmV0\r\n"), "{heard}");
    });
}

#[test]
fn a_proxy_that_does_not_connect_is_proof() {
    run(async {
        for said in [
            "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 502 Bad Gateway\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "SSH-2.0-200 200 \r\n\r\n",
        ] {
            let (proxy, hears) = proxy(said).await;
            let sent = through(&proxy).send(&far(Scheme::Https), charge(), Freshness::Fresh).await;
            let what = has_proof(sent, NotProcessed::ProxyRefused);
            assert!(what.contains("far.example") && !what.contains("secret"), "{what}");
            let heard = hears.await.unwrap();
            assert!(heard.starts_with("CONNECT far.example:8080 HTTP/1.1\r\n"), "{heard}");
        }
    });
}

#[test]
fn a_tunnel_begins_where_the_proxys_answer_ends() {
    run(async {
        let (proxy, _hears) = proxy("HTTP/1.1 200 OK\r\nvia: x\r\n\r\n220 I speak first").await;
        let mut tunnel = through(&proxy).tunnel(&far(Scheme::Http)).await.unwrap();
        let mut said = [0; 17];
        tunnel.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"220 I speak first");
    });
}
