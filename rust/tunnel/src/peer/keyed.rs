//! A peer's boringtun tunnels. Each is made for one preshared key.
//!
//! The kernel mixes a changed preshared key into the next handshake, and goes on with the session
//! that there is (`set_peer`, `netlink.c`). boringtun takes a key only for a new tunnel: so the one
//! that has the session stays until its successor has one, and goes on receiving until its sessions
//! are over. A successor is made when there is a handshake for it, not before: keys that nobody
//! has used cost nothing, however many of them follow each other.

use std::time::Instant;

use boringtun::noise::{Tunn, TunnResult};

use super::{Live, Peer, little_endian};
use crate::batch::{DatagramsOut, Now};
use crate::constants::{HANDSHAKE_INITIATION_SIZE, REJECT_AFTER_TIME};
use crate::errand::Answerer;
use crate::identity::Identity;
use crate::index::IndexTable;

/// A boringtun tunnel.
pub(super) struct Keyed {
    pub(super) tunn: Box<Tunn>,
    /// Its part of our receiver indices.
    pub(super) index: u32,
    /// Whether the peer has shown that it has the keys of a session that is not over. boringtun's
    /// own word is not enough: after eight handshakes that nothing came of, it takes one for that.
    is_confirmed: bool,
    /// Our receiver index of a handshake that we answered and the peer has not used yet.
    unconfirmed: Option<u32>,
    /// Handshakes that we answered since one was completed.
    answered: u8,
}

/// A tunnel that has a successor.
pub(super) struct Former {
    keyed: Keyed,
    /// When its last session is over.
    end: Instant,
}

impl Keyed {
    pub(super) fn new(tunn: Box<Tunn>, index: u32) -> Self {
        Self {
            tunn,
            index,
            is_confirmed: false,
            unconfirmed: None,
            answered: 0,
        }
    }

    pub(super) fn has_session(&self) -> bool {
        self.is_confirmed && self.tunn.time_since_last_handshake().is_some()
    }

    /// Notes that an initiation was answered with our receiver index `receiver`.
    pub(super) fn note_answered(&mut self, receiver: u32) {
        self.unconfirmed = Some(receiver);
        self.answered = self.answered.saturating_add(1);
    }

    /// Notes that our initiation was answered.
    pub(super) fn note_response(&mut self) {
        self.unconfirmed = None;
        self.is_confirmed = true;
        self.answered = 0;
    }

    /// Notes that the peer has used a session for this message; whether that completes its
    /// handshake.
    pub(super) fn confirm(&mut self, message: &[u8]) -> bool {
        self.is_confirmed = true;
        let is_its = |own: &mut u32| *own == little_endian(&message[4..8]);
        let is_completed = self.unconfirmed.take_if(is_its).is_some();
        if is_completed {
            self.answered = 0;
        }
        is_completed
    }

    /// Whether another handshake or two would push the session out of boringtun's ring of eight.
    pub(super) fn is_crowded(&self) -> bool {
        self.answered >= 6 && self.has_session()
    }

    pub(super) fn update_timers<'a>(&mut self, room: &'a mut [u8]) -> TunnResult<'a> {
        let result = self.tunn.update_timers(room);
        self.is_confirmed &= self.tunn.time_since_last_handshake().is_some();
        result
    }
}

impl Former {
    fn sends_for(&self, successor: &Keyed) -> bool {
        self.keyed.has_session() && !successor.has_session()
    }
}

impl Live {
    /// The tunnel that seals: the newest, unless it has no session and its predecessor has one.
    pub(super) fn sender(&self) -> &Keyed {
        match &self.former {
            Some(former) if former.sends_for(&self.newest) => &former.keyed,
            _ => &self.newest,
        }
    }

    pub(super) fn sender_mut(&mut self) -> &mut Keyed {
        match &mut self.former {
            Some(former) if former.sends_for(&self.newest) => &mut former.keyed,
            _ => &mut self.newest,
        }
    }

    /// The tunnel that gave out the receiver index of a data message.
    pub(super) fn receiver_mut(&mut self, message: &[u8]) -> &mut Keyed {
        match &mut self.former {
            Some(former) if former.keyed.index == little_endian(&message[4..8]) >> 8 => {
                &mut former.keyed
            }
            _ => &mut self.newest,
        }
    }

    /// Lets the newest tunnel's predecessor see the time; whether it wants a handshake, which is its
    /// successor's to begin.
    pub(super) fn update_former(&mut self, room: &mut [u8]) -> bool {
        let Some(former) = &mut self.former else {
            return false;
        };
        let result = former.keyed.update_timers(room);
        matches!(result, TunnResult::WriteToNetwork(message) if message.len() == HANDSHAKE_INITIATION_SIZE)
            && !self.newest.has_session()
    }

    /// When the newest tunnel's predecessor is to be dropped.
    pub(super) fn end_of_former(&self) -> Option<Instant> {
        self.former.as_ref().map(|former| former.end)
    }

    /// Gives the newest tunnel a successor. Of what then are three, the one without a session goes;
    /// if both have one, the older.
    fn succeed(&mut self, successor: Keyed, indices: &mut IndexTable, now: Now) {
        let keyed = std::mem::replace(&mut self.newest, successor);
        (self.is_outdated, self.is_handshake_due) = (false, false);
        let is_needed = keyed.has_session() || self.former.is_none() && keyed.unconfirmed.is_some();
        let dropped = if is_needed {
            let end = now.instant + REJECT_AFTER_TIME;
            let before = self.former.replace(Box::new(Former { keyed, end }));
            before.map(|former| former.keyed)
        } else {
            Some(keyed)
        };
        if let Some(dropped) = dropped {
            indices.remove(dropped.index);
        }
    }

    /// Gives all indices back.
    pub(super) fn release(&self, indices: &mut IndexTable) {
        indices.remove(self.newest.index);
        if let Some(former) = &self.former {
            indices.remove(former.keyed.index);
        }
    }
}

impl Peer {
    /// Another preshared key is for the next handshake.
    pub(crate) fn outdate(&mut self, indices: &mut IndexTable) {
        self.give_up_answer(indices);
        if let Some(live) = &mut self.tunn {
            live.is_outdated = true;
        }
    }

    /// Whether its next handshake needs another tunnel than it has.
    pub(super) fn is_outdated(&self) -> bool {
        self.tunn.as_ref().is_some_and(|live| live.is_outdated)
    }

    /// Makes the tunnel for the next handshake, if the one that there is has another preshared key.
    pub(crate) fn renew(
        &mut self,
        slot: usize,
        identity: &Identity,
        indices: &mut IndexTable,
        now: Now,
    ) {
        if !self.is_outdated() {
            return;
        }
        let answerer = self.blueprint(indices.insert(slot));
        if let Some(live) = &mut self.tunn {
            let successor = Keyed::new(answerer.tunn(identity), answerer.index);
            live.succeed(successor, indices, now);
        }
    }

    /// Begins the handshake that an outdated tunnel wanted to begin at the last look.
    pub(crate) fn initiate_renewed(
        &mut self,
        slot: usize,
        identity: &Identity,
        indices: &mut IndexTable,
        now: Now,
        out: &mut DatagramsOut,
    ) {
        let is_due = |live: &mut Live| std::mem::take(&mut live.is_handshake_due);
        if self.tunn.as_mut().is_some_and(is_due) {
            self.renew(slot, identity, indices, now);
            self.initiate(now, out);
        }
    }

    /// Drops a tunnel that has a successor, when its sessions are over.
    pub(crate) fn drop_former(&mut self, indices: &mut IndexTable, now: Now) {
        if let Some(live) = &mut self.tunn
            && let Some(former) = live.former.take_if(|former| former.end <= now.instant)
        {
            indices.remove(former.keyed.index);
        }
    }

    /// What its next tunnel is made of.
    pub(super) fn blueprint(&self, index: u32) -> Answerer {
        Answerer {
            public_key: self.public_key,
            preshared_key: self.preshared_key.clone(),
            last_initiation: self.last_initiation.clone(),
            index,
        }
    }
}
