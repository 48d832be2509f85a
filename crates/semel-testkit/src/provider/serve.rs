//! The threads of a provider: one accepts connections, and each connection has one.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use rustls::ServerConfig;

use super::answer::{Answer, Body, chunk};
use super::keys::Booked;
use super::link::Link;
use super::plan::{Act, Plan, Reads, Seen};
use super::request::SeenRequest;
use super::shapes;
use super::state::{State, Waits};
use crate::moment::PATIENCE;

/// There may be thousands of them.
const STACK: usize = 512 << 10;

/// What the threads of a provider share.
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Those at the gates are woken for nothing else: there may be thousands of them.
    opened: Condvar,
    plan: Mutex<Arc<Plan>>,
    reads: Arc<Reads>,
    seed: u64,
    honours_keys: bool,
    keeps: usize,
    tls: Option<Arc<ServerConfig>>,
}

/// What becomes of a connection after an answer.
enum After {
    /// Another request may come.
    Goes,
    /// It is closed as it should be.
    Closes,
    /// It is cut: TLS does not say goodbye.
    Cut,
    /// Its client is told of an error.
    Resets,
}

impl Shared {
    pub(super) fn new(
        (plan, reads): (Arc<Plan>, Arc<Reads>),
        seed: u64,
        honours_keys: bool,
        keeps: usize,
        tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        let (state, plan) = (Mutex::default(), Mutex::new(plan));
        let (changed, opened) = (Condvar::new(), Condvar::new());
        Self { state, changed, opened, plan, reads, seed, honours_keys, keeps, tls }
    }

    pub(super) fn speaks_tls(&self) -> bool {
        self.tls.is_some()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Opens gates, or all there are because the provider goes.
    pub(super) fn open(&self, change: impl FnOnce(&mut State)) {
        self.tell(change);
        self.opened.notify_all();
    }

    /// Changes what is known, and wakes the tests that wait for a change.
    pub(super) fn tell<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let told = change(&mut self.state());
        self.changed.notify_all();
        told
    }

    pub(super) fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let waited = self.changed.wait_timeout_while(self.state(), PATIENCE, |state| !holds(state));
        let (state, timed_out) = waited.unwrap();
        let waited_in_vain = timed_out.timed_out();
        drop(state);
        assert!(!waited_in_vain, "waited in vain until {what}");
    }

    pub(super) fn answer_by(&self, plan: Arc<Plan>) {
        *self.plan.lock().unwrap() = plan;
    }

    /// Accepts connections until they are refused.
    pub(super) fn accept(shared: &Arc<Self>, listener: TcpListener) -> JoinHandle<()> {
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                if shared.state().refuses {
                    return;
                }
                // Where there are no descriptors left, some will be.
                let Ok(socket) = socket else { continue };
                let shared = Arc::clone(&shared);
                let thread = std::thread::Builder::new().stack_size(STACK);
                thread.spawn(move || shared.serve(socket)).expect("there is room for a thread");
            }
        })
    }

    fn serve(&self, socket: TcpStream) {
        // What waits for more to send comes later than it was sent.
        let _ = socket.set_nodelay(true);
        let socket = Arc::new(socket);
        let connection = self.tell(|state| state.begin(&socket));
        let mut link = Link::new(socket, self.tls.clone());
        let after = loop {
            match link.read(self.keeps) {
                Ok(Some(mut request)) => {
                    request.connection = connection;
                    let request = self.tell(|state| state.note(request));
                    match self.answer(&mut link, &request).unwrap_or(After::Cut) {
                        After::Goes => {}
                        after => break after,
                    }
                }
                Ok(None) => break After::Closes,
                Err(_) => {
                    self.tell(State::note_broken);
                    break After::Cut;
                }
            }
        };
        match after {
            After::Goes | After::Closes => link.close(),
            After::Cut => drop(link),
            After::Resets => link.reset(),
        }
        self.tell(|state| state.end(connection));
    }

    fn answer(&self, link: &mut Link, request: &SeenRequest) -> io::Result<After> {
        let order = request.order.as_deref().unwrap_or_default();
        if !request.would_charge() {
            if let Some(bytes) = (self.reads)(request) {
                link.write(&bytes)?;
                return Ok(After::Closes);
            }
            let answer = shapes::read(request, self.state().charges(order));
            return self.send(link, request, &answer);
        }
        let time = self.tell(|state| state.see(order));
        let plan = Arc::clone(&self.plan.lock().unwrap());
        let act = plan(&Seen { order, time, request, seed: self.seed });
        if !act.charges() {
            return self.refuse(link, request, order, &act);
        }
        match self.tell(|state| state.book(request, order, &act, self.honours_keys)) {
            Booked::Conflict(answer) => self.send(link, request, &answer),
            Booked::Answer(answer) => self.deliver(link, request, order, &act, answer),
        }
    }

    /// Answers a request that is not charged.
    fn refuse(
        &self,
        link: &mut Link,
        request: &SeenRequest,
        order: &str,
        act: &Act,
    ) -> io::Result<After> {
        match act {
            Act::Refuse(status) => self.send(link, request, &Answer::error(*status)),
            Act::Hang => Ok(self.hang(link, request, order)),
            _ => Ok(After::Resets),
        }
    }

    /// Answers a request that is charged.
    fn deliver(
        &self,
        link: &mut Link,
        request: &SeenRequest,
        order: &str,
        act: &Act,
        answer: Answer,
    ) -> io::Result<After> {
        match act {
            Act::SucceedThenHang => return Ok(self.hang(link, request, order)),
            Act::SucceedThenReset => return Ok(After::Resets),
            Act::SucceedThenClose => return Ok(After::Closes),
            Act::HalfHeader => {
                let head = answer.head();
                link.write(&head[..head.len() / 2])?;
            }
            Act::ShortBody => {
                let answer = answer.whole();
                link.write(&[answer.head(), answer.parts()[0].clone()].concat())?;
            }
            Act::CutStream => {
                let answer = answer.in_chunks();
                link.write(&answer.head())?;
                let parts = answer.parts();
                for part in &parts[..parts.len() / 2] {
                    link.write(part)?;
                }
            }
            Act::Garbage => link.write(b"\x16\x03 this is no HTTP\r\n\r\n\0\xff")?,
            Act::Raw(bytes) => {
                link.write(bytes)?;
                return Ok(After::Closes);
            }
            Act::EndlessBody => {
                let mut answer = answer;
                answer.body = Body::Chunks(Vec::new());
                link.write(&answer.head())?;
                self.tell(|state| state.wait(request.connection, Waits::Hanging, order));
                let more = chunk(&[b' '; 1 << 12]);
                while link.write(&more).is_ok() {}
                self.tell(|state| state.wait_no_more(request.connection, Waits::Hanging));
            }
            Act::Slow => {
                self.wait_at_gate(request, order);
                self.tell(|state| state.is_done(request));
                return self.send(link, request, &answer);
            }
            Act::Pause => {
                let parts = answer.parts();
                let (before, after) = parts.split_at(parts.len() / 2);
                link.write(&[answer.head(), before.concat()].concat())?;
                self.wait_at_gate(request, order);
                link.write(&after.concat())?;
                return Ok(self.sent(request));
            }
            _ => return self.send(link, request, &answer),
        }
        Ok(After::Cut)
    }

    fn send(&self, link: &mut Link, request: &SeenRequest, answer: &Answer) -> io::Result<After> {
        let mut head = answer.head();
        match (&*request.method, &answer.body) {
            ("HEAD", _) => link.write(&head)?,
            (_, Body::Whole(body)) => {
                head.extend(body);
                link.write(&head)?;
            }
            (_, Body::Chunks(_)) => {
                link.write(&head)?;
                answer.parts().iter().try_for_each(|part| link.write(part))?;
            }
        }
        Ok(self.sent(request))
    }

    fn sent(&self, request: &SeenRequest) -> After {
        self.tell(State::note_answered);
        let closes = request.header("Connection").is_some_and(|said| {
            said.split(',').any(|word| word.trim().eq_ignore_ascii_case("close"))
        });
        if closes || request.is_old { After::Closes } else { After::Goes }
    }

    fn hang(&self, link: &mut Link, request: &SeenRequest, order: &str) -> After {
        self.tell(|state| state.wait(request.connection, Waits::Hanging, order));
        link.hang();
        self.tell(|state| state.wait_no_more(request.connection, Waits::Hanging));
        After::Cut
    }

    /// Waits until the gate of an order is open, or the provider goes.
    fn wait_at_gate(&self, request: &SeenRequest, order: &str) {
        self.tell(|state| state.wait(request.connection, Waits::AtGate, order));
        let shut = |state: &mut State| !state.is_open(order) && !state.stopped;
        drop(self.opened.wait_while(self.state(), shut).unwrap());
        self.tell(|state| state.wait_no_more(request.connection, Waits::AtGate));
    }
}
