//! Which peer's timers are to be looked at next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Looks at peers, by time. Peers that have nothing to wait for are not in it.
///
/// An entry counts if it is the one that its peer waits for (`Peer::due`). Others are left behind
/// when a look is moved or a peer removed, which costs nothing then, and fall out in their time.
#[derive(Debug, Default)]
pub(crate) struct Timers(BinaryHeap<Reverse<(Instant, usize)>>);

impl Timers {
    pub(crate) fn insert(&mut self, at: Instant, slot: usize) {
        self.0.push(Reverse((at, slot)));
    }

    /// When the next look is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes out the earliest look that is due at `now`.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(Instant, usize)> {
        self.next().filter(|at| *at <= now)?;
        self.0.pop().map(|Reverse(entry)| entry)
    }
}
