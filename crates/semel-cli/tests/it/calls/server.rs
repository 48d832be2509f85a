//! A server that does with its connections what a test says, byte by byte.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::counter::{Request, Wire};

/// A server, until it is dropped.
pub(super) struct Server {
    pub(super) port: u16,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// The requests that came whole: their heads.
    heard: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

/// A connection to it.
pub(super) struct Visit {
    pub(super) wire: Wire,
    shared: Arc<Shared>,
}

impl Server {
    /// Each connection is served on a thread of its own, and closed after.
    pub(super) fn new(serve: impl Fn(&mut Visit) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (shared, serve) = (Arc::<Shared>::default(), Arc::new(serve));
        let of_listener = Arc::clone(&shared);
        let listener = std::thread::spawn(move || {
            for socket in listener.incoming() {
                if of_listener.is_over.load(Ordering::Acquire) {
                    return;
                }
                let wire = Wire::of(socket.unwrap());
                let mut visit = Visit { wire, shared: Arc::clone(&of_listener) };
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(&mut visit));
            }
        });
        Self { port, shared, listener: Some(listener) }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// A charge there.
    pub(super) fn charge(&self) -> Request {
        Request::post(&self.url("/charge"), r#"{"order":"1"}"#)
    }

    /// The heads of all requests that came whole.
    pub(super) fn heard(&self) -> Vec<String> {
        self.shared.heard.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        // It waits for connections; this is one.
        let _ = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

impl Visit {
    /// Waits for the next request, with its body; none, if the client has gone.
    pub(super) fn request(&mut self) -> Option<String> {
        let head = self.wire.whole_request()?;
        self.shared.heard.lock().unwrap().push(head.clone());
        Some(head)
    }
}

/// An answer of 200 with this body.
pub(super) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
