//! Initiations that wait for their turn.
//!
//! Answering one takes as long as opening some hundred data messages, so that thousands of clients
//! that come back at once would stop everybody's data for seconds: while data flows, it goes first.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use crate::batch::{Endpoint, Now};
use crate::constants::HANDSHAKE_INITIATION_SIZE;

/// Initiations that wait at most, 4 MB of them; a client whose initiation is dropped sends another
/// one after 5 s, in which 11,000 are answered even beside data.
const MAX_WAITING: usize = 16_384;

/// While data flows, one initiation is answered in this time: half of the worker's at most. Slower
/// costs a transfer as much in all, since clients try again after 5 s.
const PACE: Duration = Duration::from_micros(450);

/// Bytes between two answers that are a flow: more than keepalives and calls, and what 80 Mbit/s
/// bring in that time.
const FLOW: usize = 8192;

/// Otherwise it waits for the worker's next turn, which looks for data first.
const TURN: Duration = Duration::from_nanos(1);

/// An initiation with a right MAC1, and where it came from.
pub(crate) struct Initiation {
    pub(crate) message: [u8; HANDSHAKE_INITIATION_SIZE],
    pub(crate) from: Endpoint,
    arrived: Instant,
}

#[derive(Default)]
pub(crate) struct Handshakes {
    /// One of each source, by when its first came.
    waiting: FxHashMap<SocketAddr, Initiation>,
    order: VecDeque<SocketAddr>,
    last: Option<Instant>,
    /// Bytes of data that came or went since.
    moved: usize,
}

impl Handshakes {
    /// Takes an initiation; false if there is no room.
    ///
    /// A client that tries again while its first initiation waits has forgotten that one: the new
    /// one takes its place. Who replays an old one from the same address, and so hides the new one,
    /// must see the client's datagrams and forge its address; the client's next try is another race.
    pub(crate) fn push(&mut self, message: &[u8], from: Endpoint, now: Now) -> bool {
        let Ok(message) = message.try_into() else {
            return false;
        };
        if let Some(earlier) = self.waiting.get_mut(&from.address) {
            (earlier.message, earlier.from) = (message, from);
            return true;
        }
        if self.order.len() >= MAX_WAITING {
            return false;
        }
        let initiation = Initiation {
            message,
            from,
            arrived: now.instant,
        };
        self.waiting.insert(from.address, initiation);
        self.order.push_back(from.address);
        true
    }

    /// Notes that so many bytes of data are moved.
    pub(crate) fn note_data(&mut self, len: usize) {
        self.moved = self.moved.saturating_add(len);
    }

    /// When the next initiation is to be answered, if one waits.
    pub(crate) fn next(&self) -> Option<Instant> {
        let pause = if self.moved >= FLOW { PACE } else { TURN };
        let initiation = self.waiting.get(self.order.front()?)?;
        Some(self.last.map_or(initiation.arrived, |last| last + pause))
    }

    /// Takes out the initiation that is to be answered at `now`, if it is time: a batch of
    /// datagrams brings one at most.
    pub(crate) fn pop(&mut self, now: Now) -> Option<Initiation> {
        self.next().filter(|next| *next <= now.instant)?;
        self.last = Some(now.instant);
        self.moved = 0;
        let source = self.order.pop_front()?;
        self.waiting.remove(&source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(port: u16) -> Endpoint {
        SocketAddr::from(([192, 0, 2, 1], port)).into()
    }

    fn message(byte: u8) -> [u8; HANDSHAKE_INITIATION_SIZE] {
        [byte; HANDSHAKE_INITIATION_SIZE]
    }

    #[test]
    fn a_second_try_takes_the_place_of_the_first() {
        let mut now = Now {
            instant: Instant::now(),
            unix: Duration::ZERO,
        };
        let mut handshakes = Handshakes::default();
        for (byte, port) in [(1, 1), (2, 2), (3, 1), (4, 3), (5, 2)] {
            assert!(handshakes.push(&message(byte), from(port), now));
        }
        let mut served = Vec::new();
        while let Some(at) = handshakes.next() {
            now.instant = at;
            let initiation = handshakes.pop(now).expect("it is time");
            served.push((initiation.message[0], initiation.from.address.port()));
        }
        assert_eq!(served, [(3, 1), (5, 2), (4, 3)]);
    }

    #[test]
    fn no_more_wait_than_there_is_room() {
        let now = Now {
            instant: Instant::now(),
            unix: Duration::ZERO,
        };
        let mut handshakes = Handshakes::default();
        for port in 0..MAX_WAITING as u16 {
            assert!(handshakes.push(&message(0), from(port), now));
        }
        assert!(!handshakes.push(&message(0), from(u16::MAX), now));
        assert!(handshakes.push(&message(1), from(7), now), "a second try");
    }

    #[test]
    fn only_a_flow_of_data_makes_initiations_wait() {
        for (moved, pause) in [(FLOW - 1, TURN), (FLOW, PACE)] {
            let mut now = Now {
                instant: Instant::now(),
                unix: Duration::ZERO,
            };
            let mut handshakes = Handshakes::default();
            for port in [1, 2] {
                assert!(handshakes.push(&message(0), from(port), now));
            }
            assert!(handshakes.pop(now).is_some());
            handshakes.note_data(moved);
            now.instant += pause - Duration::from_nanos(1);
            assert!(handshakes.pop(now).is_none());
            now.instant += Duration::from_nanos(1);
            assert!(handshakes.pop(now).is_some());
        }
    }
}
