//! Turns: commands begin in the order in which they were ordered.
//!
//! Threads that act take their orders in order, but may be overtaken on the way to
//! the permit; whoever has a turn waits for those before it.

use std::sync::{Condvar, Mutex};

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turns {
    next: Mutex<u64>,
    changed: Condvar,
}

impl Turns {
    /// Waits for a turn, does what must be done in it, and passes it on.
    pub(super) fn in_turn<T>(&self, turn: u64, act: impl FnOnce() -> T) -> T {
        let next = self.next.lock().expect("nobody panics while holding it");
        let next = self
            .changed
            .wait_while(next, |next| *next != turn)
            .expect("nobody panics while holding it");
        drop(next);
        let done = act();
        *self.next.lock().expect("nobody panics while holding it") += 1;
        self.changed.notify_all();
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_taken_in_order_whoever_comes_first() {
        let (turns, order) = (Turns::default(), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for turn in (0..8).rev() {
                let (turns, order) = (&turns, &order);
                scope.spawn(move || {
                    turns.in_turn(turn, || order.lock().expect("no panic").push(turn));
                });
            }
        });
        assert_eq!(order.into_inner().expect("no panic"), (0..8).collect::<Vec<_>>());
    }
}
