//! Initiations that wait for their turn.
//!
//! Answering one takes as long as opening some hundred data messages, so that thousands of clients
//! that come back at once would stop everybody's data for seconds: while data flows, it goes first.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::batch::{Endpoint, Now};
use crate::constants::HANDSHAKE_INITIATION_SIZE;

/// Initiations that wait at most; a client whose initiation is dropped sends another one.
const MAX_WAITING: usize = 4096;

/// While data flows, one initiation is answered in this time.
const PACE: Duration = Duration::from_micros(800);

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
    waiting: VecDeque<Initiation>,
    last: Option<Instant>,
    /// Whether data came or went since.
    busy: bool,
}

impl Handshakes {
    /// Takes an initiation; false if there is no room.
    pub(crate) fn push(&mut self, message: &[u8], from: Endpoint, now: Now) -> bool {
        let Ok(message) = message.try_into() else {
            return false;
        };
        let room = self.waiting.len() < MAX_WAITING;
        if room {
            self.waiting.push_back(Initiation {
                message,
                from,
                arrived: now.instant,
            });
        }
        room
    }

    /// Notes that there is data to be moved.
    pub(crate) fn data_flows(&mut self) {
        self.busy = true;
    }

    /// When the next initiation is to be answered, if one waits.
    pub(crate) fn next(&self) -> Option<Instant> {
        let pause = if self.busy { PACE } else { TURN };
        let initiation = self.waiting.front()?;
        Some(self.last.map_or(initiation.arrived, |last| last + pause))
    }

    /// Takes out the initiation that is to be answered at `now`, if it is time: a batch of
    /// datagrams brings one at most.
    pub(crate) fn pop(&mut self, now: Now) -> Option<Initiation> {
        self.next().filter(|next| *next <= now.instant)?;
        self.last = Some(now.instant);
        self.busy = false;
        self.waiting.pop_front()
    }
}
