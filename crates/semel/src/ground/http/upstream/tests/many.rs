//! HTTP/2, frame by frame: what a server says decides what is proved.

use super::*;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const END_STREAM_AND_HEADERS: u8 = 5;
const ACK: u8 = 1;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A server's side of a connection.
struct Peer(TcpStream);

impl Peer {
    /// The client has begun; so do we.
    async fn begin(socket: TcpStream) -> Self {
        Self::begin_with(socket, &[]).await
    }

    async fn begin_with(mut socket: TcpStream, settings: &[u8]) -> Self {
        let mut preface = [0; 24];
        socket.read_exact(&mut preface).await.unwrap();
        let mut peer = Self(socket);
        peer.write(SETTINGS, 0, 0, settings).await;
        peer
    }

    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.0.write_all(&frame(kind, flags, stream, payload)).await.unwrap();
    }

    /// The stream of the next request, or `None` when the client has gone.
    async fn request(&mut self) -> Option<u32> {
        self.next(HEADERS).await.map(|(stream, _)| stream)
    }

    /// The next frame of a kind.
    async fn next(&mut self, wanted: u8) -> Option<(u32, Vec<u8>)> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.0.read_exact(&mut payload).await.ok()?;
            if head[3] == PING && head[4] & ACK == 0 {
                self.write(PING, ACK, 0, &payload).await;
            }
            if head[3] == wanted {
                return Some((u32::from_be_bytes(head[5..].try_into().unwrap()), payload));
            }
        }
    }

    /// Answers with a status and nothing else.
    async fn answer(&mut self, stream: u32) {
        // 200 is one of the headers that have a number.
        self.write(HEADERS, END_STREAM_AND_HEADERS, stream, &[0x88]).await;
    }

    async fn reset(&mut self, stream: u32, code: u32) {
        self.write(RST_STREAM, 0, stream, &code.to_be_bytes()).await;
    }

    async fn go_away(&mut self, last: u32, code: u32) {
        let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
        self.write(GOAWAY, 0, 0, &payload).await;
    }

    /// Listens on until the client has gone.
    async fn linger(mut self) {
        while self.request().await.is_some() {}
    }
}

async fn h2_server<F, S>(serve: S) -> Origin
where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(usize, TcpStream) -> F + Send + 'static,
{
    Origin { h2_plain: true, ..server(serve).await }
}

/// What comes of a request to a server that does this with its connections.
async fn h2_sent_to<F, S>(serve: S) -> Result<Response<Received>, SendError>
where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(usize, TcpStream) -> F + Send + 'static,
{
    let to = h2_server(serve).await;
    upstream(Limits::default()).send(&to, charge(), Freshness::Fresh).await
}

#[test]
fn a_refused_stream_was_not_processed() {
    run(async {
        let sent = h2_sent_to(|_, socket| async move {
            let mut peer = Peer::begin(socket).await;
            let stream = peer.request().await.unwrap();
            peer.reset(stream, REFUSED_STREAM).await;
            peer.linger().await;
        });
        has_proof(sent.await, NotProcessed::RefusedStream);
    });
}

#[test]
fn a_stream_that_was_reset_otherwise_may_have_been() {
    run(async {
        for code in [NO_ERROR, INTERNAL_ERROR, CANCEL, ENHANCE_YOUR_CALM] {
            let sent = h2_sent_to(move |_, socket| async move {
                let mut peer = Peer::begin(socket).await;
                let stream = peer.request().await.unwrap();
                peer.reset(stream, code).await;
                peer.linger().await;
            });
            has_no_proof(sent.await);
        }
    });
}

#[test]
fn a_server_that_goes_away_before_a_stream_did_not_process_it() {
    run(async {
        for code in [NO_ERROR, INTERNAL_ERROR, ENHANCE_YOUR_CALM] {
            let sent = h2_sent_to(move |_, socket| async move {
                let mut peer = Peer::begin(socket).await;
                let stream = peer.request().await.unwrap();
                peer.go_away(stream - 1, code).await;
                peer.linger().await;
            });
            has_proof(sent.await, NotProcessed::GoAway);
        }
    });
}

#[test]
fn a_server_that_goes_away_after_a_stream_may_have() {
    run(async {
        for code in [NO_ERROR, INTERNAL_ERROR, ENHANCE_YOUR_CALM] {
            let hangs_up = h2_sent_to(move |_, socket| async move {
                let mut peer = Peer::begin(socket).await;
                let stream = peer.request().await.unwrap();
                peer.go_away(stream, code).await;
            });
            has_no_proof(hangs_up.await);
            let graceful = h2_sent_to(move |_, socket| async move {
                let mut peer = Peer::begin(socket).await;
                let stream = peer.request().await.unwrap();
                peer.go_away(0x7fff_ffff, code).await;
                peer.go_away(stream, code).await;
            });
            has_no_proof(graceful.await);
        }
        let resets = h2_sent_to(move |_, socket| async move {
            let mut peer = Peer::begin(socket).await;
            let stream = peer.request().await.unwrap();
            peer.go_away(stream, NO_ERROR).await;
            peer.reset(stream, INTERNAL_ERROR).await;
            peer.linger().await;
        });
        has_no_proof(resets.await);
        let answers = h2_sent_to(move |_, socket| async move {
            let mut peer = Peer::begin(socket).await;
            let stream = peer.request().await.unwrap();
            peer.go_away(stream, NO_ERROR).await;
            peer.answer(stream).await;
            peer.linger().await;
        });
        assert_eq!(answers.await.unwrap().status(), StatusCode::OK);
    });
}

/// What comes of two requests on one connection that is served like this.
async fn two_sent_to<F, S>(serve: S) -> [Option<NotProcessed>; 2]
where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(usize, TcpStream) -> F + Send + 'static,
{
    let to = h2_server(serve).await;
    let upstream = upstream(Limits::default());
    let place = upstream.pool.place(&to);
    let first = place.add(upstream.connector.open(&to, false).await.unwrap());
    let second = place.take(Freshness::Fresh, false).unwrap();
    let sending = [first, second].map(|lane| {
        let request = charge().map(|body| body.map_err(Into::into).boxed_unsync());
        let (to, place) = (to.clone(), Arc::clone(&place));
        tokio::spawn(async move { lane.send(&to, request, &place).await })
    });
    let mut proofs = Vec::new();
    for sent in sending {
        match sent.await.unwrap() {
            Err(Failed::Over(error)) => proofs.push(error.proof),
            _ => panic!("it was answered, or never begun"),
        }
    }
    [proofs[0], proofs[1]]
}

/// The one below the line may have been processed, the other not, though the same
/// connection ends for both.
#[test]
fn the_line_is_between_streams() {
    run(async {
        let proofs = two_sent_to(|_, socket| async move {
            let mut peer = Peer::begin(socket).await;
            let first = peer.request().await.unwrap();
            let second = peer.request().await.unwrap();
            assert!(first < second);
            peer.go_away(first, NO_ERROR).await;
        });
        assert_eq!(proofs.await, [None, Some(NotProcessed::GoAway)]);
    });
}

/// A server that must not push and does it ends all streams, right after its goodbye.
#[test]
fn a_goodbye_is_not_taken_for_more_than_it_says() {
    run(async {
        let proofs = two_sent_to(|_, socket| async move {
            let mut peer = Peer::begin(socket).await;
            let first = peer.request().await.unwrap();
            let second = peer.request().await.unwrap();
            let goodbye = [first.to_be_bytes(), NO_ERROR.to_be_bytes()].concat();
            let mut both = frame(GOAWAY, 0, 0, &goodbye);
            both.extend(frame(PUSH_PROMISE, 4, second, &[0, 0, 0, 2, 0x82, 0x86, 0x84]));
            peer.0.write_all(&both).await.unwrap();
            peer.linger().await;
        });
        assert_eq!(proofs.await[0], None);
    });
}

#[test]
fn a_connection_that_breaks_proves_nothing() {
    run(async {
        let hangs_up = h2_sent_to(|_, socket| async move {
            Peer::begin(socket).await.request().await.unwrap();
        });
        has_no_proof(hangs_up.await);
        let garbage = h2_sent_to(|_, socket| async move {
            let mut peer = Peer::begin(socket).await;
            peer.request().await.unwrap();
            peer.0.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            peer.linger().await;
        });
        has_no_proof(garbage.await);
        // A stream that there is not.
        let absurd = h2_sent_to(|_, socket| async move {
            let mut peer = Peer::begin(socket).await;
            let stream = peer.request().await.unwrap();
            peer.reset(stream + 2, REFUSED_STREAM).await;
            peer.linger().await;
        });
        has_no_proof(absurd.await);
    });
}

#[test]
fn after_a_goodbye_there_is_a_new_connection() {
    run(async {
        let to = h2_server(|_, socket| async move {
            let mut peer = Peer::begin(socket).await;
            let stream = peer.request().await.unwrap();
            peer.answer(stream).await;
            peer.go_away(stream, NO_ERROR).await;
            peer.linger().await;
        })
        .await;
        let upstream = upstream(Limits::default());
        for _ in 0..5 {
            let answer = upstream.send(&to, charge(), Freshness::Any).await;
            // The goodbye may not have been read when the next request was on its way.
            match answer {
                Ok(answer) => assert_eq!(answer.status(), StatusCode::OK),
                Err(error) => assert_eq!(error.proof, Some(NotProcessed::GoAway), "{error}"),
            }
        }
    });
}

#[test]
fn many_share_a_connection() {
    run(async {
        let opened = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&opened);
        let to = h2_server(move |_, socket| {
            counts.fetch_add(1, Ordering::SeqCst);
            async move {
                let mut peer = Peer::begin(socket).await;
                let mut waiting = vec![peer.request().await.unwrap()];
                peer.answer(waiting.pop().unwrap()).await;
                // All of them at once, and none is answered before the last is there.
                while waiting.len() < 16 {
                    waiting.push(peer.request().await.unwrap());
                }
                for stream in waiting {
                    peer.answer(stream).await;
                }
                peer.linger().await;
            }
        })
        .await;
        let upstream = upstream(Limits::default());
        upstream.send(&to, get(), Freshness::Fresh).await.unwrap();
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let (upstream, to) = (upstream.clone(), to.clone());
            clients.spawn(async move { upstream.send(&to, get(), Freshness::Fresh).await });
        }
        for answer in clients.join_all().await {
            assert_eq!(answer.unwrap().version(), Version::HTTP_2);
        }
        assert_eq!(opened.load(Ordering::SeqCst), 1);
    });
}

/// What would have to wait for its turn takes another connection: if the server went away
/// meanwhile, nobody could say that it was not sent.
#[test]
fn where_there_is_no_room_another_connection_is_opened() {
    run(async {
        let another = Arc::new(Notify::new());
        let to = h2_server(move |at, socket| {
            let another = Arc::clone(&another);
            async move {
                // At most one stream.
                let mut peer = Peer::begin_with(socket, &[0, 3, 0, 0, 0, 1]).await;
                let stream = peer.request().await.unwrap();
                peer.answer(stream).await;
                if at > 0 {
                    another.notify_one();
                } else {
                    let stream = peer.request().await.unwrap();
                    another.notified().await;
                    peer.answer(stream).await;
                }
                peer.linger().await;
            }
        })
        .await;
        let upstream = upstream(Limits::default());
        upstream.send(&to, get(), Freshness::Fresh).await.unwrap();
        let sending = [(); 2].map(|()| {
            let (upstream, to) = (upstream.clone(), to.clone());
            tokio::spawn(async move { upstream.send(&to, get(), Freshness::Fresh).await })
        });
        for sent in sending {
            assert_eq!(sent.await.unwrap().unwrap().status(), StatusCode::OK);
        }
    });
}

#[test]
fn an_answer_that_was_reset_has_not_ended() {
    run(async {
        for code in [NO_ERROR, INTERNAL_ERROR, CANCEL, REFUSED_STREAM] {
            let sent = h2_sent_to(move |_, socket| async move {
                let mut peer = Peer::begin(socket).await;
                let stream = peer.request().await.unwrap();
                peer.write(HEADERS, END_HEADERS, stream, &[0x88]).await;
                peer.write(DATA, 0, stream, b"hello").await;
                peer.reset(stream, code).await;
                peer.linger().await;
            });
            let body = sent.await.unwrap().into_body().collect().await;
            assert!(body.is_err(), "{code}");
        }
        let hangs_up = h2_sent_to(|_, socket| async move {
            let mut peer = Peer::begin(socket).await;
            let stream = peer.request().await.unwrap();
            peer.write(HEADERS, END_HEADERS, stream, &[0x88]).await;
            peer.write(DATA, 0, stream, b"hello").await;
        });
        assert!(hangs_up.await.unwrap().into_body().collect().await.is_err());
    });
}

#[test]
fn an_answer_may_end_before_its_request() {
    run(async {
        let to = h2_server(|_, socket| async move {
            let mut peer = Peer::begin(socket).await;
            let stream = peer.request().await.unwrap();
            peer.write(HEADERS, END_HEADERS, stream, &[0x88]).await;
            peer.write(DATA, END_STREAM, stream, b"hello").await;
            // It wants no more.
            peer.reset(stream, NO_ERROR).await;
            peer.linger().await;
        })
        .await;
        let request = Request::post("/").body(StreamBody::new(Endless)).unwrap();
        let upstream = upstream(Limits::default());
        let answer = upstream.send(&to, request, Freshness::Fresh).await.unwrap();
        assert_eq!(text(answer).await, "hello");
    });
}

#[test]
fn whoever_gives_up_resets_the_stream_and_nothing_else() {
    run(async {
        let (heard, hears) = oneshot::channel();
        let (ended, ends) = oneshot::channel();
        let (gone, goes) = oneshot::channel();
        let tells = Mutex::new(Some((heard, ended, gone)));
        let to = h2_server(move |_, socket| {
            let (heard, ended, gone) = tells.lock().unwrap().take().unwrap();
            async move {
                let mut peer = Peer::begin(socket).await;
                let stream = peer.request().await.unwrap();
                heard.send(()).unwrap();
                let reset = (stream, CANCEL.to_be_bytes().to_vec());
                assert_eq!(peer.next(RST_STREAM).await.unwrap(), reset);
                ended.send(()).unwrap();
                let stream = peer.request().await.unwrap();
                peer.answer(stream).await;
                peer.linger().await;
                gone.send(()).unwrap();
            }
        })
        .await;
        let upstream = upstream(Limits::default());
        let sending = tokio::spawn({
            let (upstream, to) = (upstream.clone(), to.clone());
            let request = Request::post("/").body(StreamBody::new(Endless)).unwrap();
            async move { upstream.send(&to, request, Freshness::Fresh).await }
        });
        hears.await.unwrap();
        sending.abort();
        ends.await.unwrap();
        let answer = upstream.send(&to, get(), Freshness::Fresh).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        // When nobody has it any more, the connection is closed.
        drop((answer, upstream));
        goes.await.unwrap();
    });
}

#[test]
fn half_a_request_does_not_look_like_a_whole_one() {
    run(async {
        let (heard, hears) = oneshot::channel();
        let heard = Mutex::new(Some(heard));
        let sent = h2_sent_half_to(move |_, socket| {
            let heard = heard.lock().unwrap().take().unwrap();
            async move {
                let mut peer = Peer::begin(socket).await;
                peer.request().await.unwrap();
                heard.send(peer.next(RST_STREAM).await.unwrap().1).unwrap();
                peer.linger().await;
            }
        });
        has_no_proof(sent.await);
        assert_eq!(hears.await.unwrap(), CANCEL.to_be_bytes());
    });
}

/// The same with a request whose body breaks off.
async fn h2_sent_half_to<F, S>(serve: S) -> Result<Response<Received>, SendError>
where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(usize, TcpStream) -> F + Send + 'static,
{
    let to = h2_server(serve).await;
    let half = [Ok(Frame::data(Bytes::from("ord"))), Err(io::Error::other("hung up"))];
    let half = StreamBody::new(futures_util::stream::iter(half));
    let request = Request::post("/charge").body(half).unwrap();
    upstream(Limits::default()).send(&to, request, Freshness::Fresh).await
}
