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

/// Standard error.
pub(crate) struct Patient {
    pieces: Option<SyncSender<Vec<u8>>>,
    written: Receiver<()>,
}

impl Patient {
    /// Begins to write.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(crate) fn stderr() -> io::Result<Self> {
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
        Ok(Self { pieces: Some(pieces), written })
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut piece = bytes.to_vec();
        while let Some(pieces) = &self.pieces {
            piece = match pieces.try_send(piece) {
                Err(TrySendError::Full(piece)) if !IS_SIGNALLED.load(Ordering::SeqCst) => piece,
                _ => break,
            };
            std::thread::sleep(BETWEEN);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        self.pieces = None;
        loop {
            let limit = if IS_SIGNALLED.load(Ordering::SeqCst) { LAST_WORDS } else { BETWEEN };
            match self.written.recv_timeout(limit) {
                Err(RecvTimeoutError::Timeout) if limit == BETWEEN => {}
                _ => return,
            }
        }
    }
}
