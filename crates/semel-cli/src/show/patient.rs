//! Standard error, written by a thread of its own: where nobody reads it, a run goes on
//! for a while, and a signal ends it all the same.
//!
//! Invariant: who writes waits for the reader only as long as no signal came; what
//! cannot be told after one is in the manifest, and in the exit status.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// How many pieces may wait for the reader.
const ROOM: usize = 1024;

/// How long between two tries to find room.
const BETWEEN: Duration = Duration::from_millis(10);

/// How long the end may take to be told after a signal.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Whether a signal came.
static IS_SIGNALLED: AtomicBool = AtomicBool::new(false);

/// A signal came: from now on nobody waits for a reader.
pub(crate) fn signalled() {
    IS_SIGNALLED.store(true, Ordering::SeqCst);
}

/// Standard error. The thread is started by the first thing that is told: most runs
/// have little to tell before their end.
#[derive(Default)]
pub(crate) struct Patient {
    writer: Option<Writer>,
}

struct Writer {
    pieces: SyncSender<Vec<u8>>,
    written: Receiver<()>,
}

impl Writer {
    /// Begins to write.
    ///
    /// # Errors
    /// If the system has no thread left.
    fn start() -> io::Result<Self> {
        let (pieces, to_write) = sync_channel::<Vec<u8>>(ROOM);
        let (done, written) = sync_channel(1);
        std::thread::Builder::new().name("standard error".to_owned()).spawn(move || {
            // Without colours, unless they are asked for.
            let mut out = anstream::stderr();
            for piece in to_write {
                // A log that is gone must not end the run.
                let _ = out.write_all(&piece);
            }
            let _ = done.send(());
        })?;
        Ok(Self { pieces, written })
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.writer.is_none() {
            self.writer = Writer::start().ok();
        }
        let Some(Writer { pieces, .. }) = &self.writer else {
            // There is no thread for it: then it is written here.
            return anstream::stderr().write(bytes);
        };
        let mut piece = bytes.to_vec();
        loop {
            piece = match pieces.try_send(piece) {
                Err(TrySendError::Full(piece)) if !IS_SIGNALLED.load(Ordering::SeqCst) => piece,
                _ => return Ok(bytes.len()),
            };
            std::thread::sleep(BETWEEN);
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        let Some(Writer { pieces, written }) = self.writer.take() else {
            return;
        };
        drop(pieces);
        loop {
            let limit = if IS_SIGNALLED.load(Ordering::SeqCst) { LAST_WORDS } else { BETWEEN };
            match written.recv_timeout(limit) {
                Err(RecvTimeoutError::Timeout) if limit == BETWEEN => {}
                _ => return,
            }
        }
    }
}
