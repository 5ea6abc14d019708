//! Handshake messages, on their way to their peers.

use std::sync::Arc;

use super::{Tunnel, read_u32};
use crate::batch::{Ecn, Endpoint, Now, Outbox};
use crate::constants::TICK;
use crate::errand::{Answer, Errand, Task};
use crate::handover::Kind;
use crate::handshakes::Initiation;
use crate::identity::has_low_order_ephemeral;
use crate::index::IndexTable;
use crate::key::PublicKey;
use crate::peer::Peer;

impl Tunnel {
    pub(super) fn handle_initiation(
        &mut self,
        message: &[u8],
        from: Endpoint,
        now: Now,
        out: &mut Outbox,
    ) {
        let (drops, datagrams) = (&mut self.drops, &mut out.datagrams);
        let Some(proof) = self.handshakes.admit(message, from, now, drops, datagrams) else {
            return;
        };
        // It waits for its turn.
        let pushed = self.handshakes.push(message, from, proof, now);
        self.drops.crowded += u64::from(!pushed);
        self.answer_initiation(now, out);
    }

    /// Somebody runs the errands of the outbox and hands them back with [`Tunnel::handle_errand`].
    /// Otherwise the tunnel runs them itself.
    pub fn lend_errands(&mut self) {
        self.lends = true;
    }

    /// Begins to answer the next initiation, if it is time.
    pub(super) fn answer_initiation(&mut self, now: Now, out: &mut Outbox) {
        let Some(initiation) = self.handshakes.pop(now) else {
            return;
        };
        match initiation.claimed {
            None => self.send_on(initiation, Task::Identify, now, out),
            Some(public_key) if self.by_key.contains_key(&public_key) => {
                self.answer_peer(public_key, initiation, now, out);
            }
            // It was removed since.
            Some(_) => self.drops.handshake += 1,
        }
    }

    fn send_on(&mut self, initiation: Initiation, task: Task, now: Now, out: &mut Outbox) {
        let Some(identity) = self.identity.clone() else {
            return;
        };
        let mut errand = Errand {
            identity,
            initiation,
            task,
        };
        self.handshakes.lent += 1;
        if self.lends {
            out.errands.push(errand);
        } else {
            errand.run();
            self.handle_errand(errand, now, out);
        }
    }

    /// Takes an errand back.
    pub fn handle_errand(&mut self, errand: Errand, now: Now, out: &mut Outbox) {
        self.handshakes.lent -= 1;
        let Errand {
            identity,
            initiation,
            task,
        } = errand;
        if let Task::Identified(public_key) = &task {
            let is_peer = public_key.is_some_and(|key| self.by_key.contains_key(&key));
            self.handshakes.note_sender(is_peer);
        }
        match task {
            // We have another key by now; what had to do with the old one is forgotten.
            _ if self
                .identity
                .as_ref()
                .is_none_or(|own| !Arc::ptr_eq(own, &identity)) => {}
            Task::Identified(Some(public_key)) if self.by_key.contains_key(&public_key) => {
                self.answer_peer(public_key, initiation, now, out);
            }
            Task::Answered(index, answer) => {
                self.take_answer(index, answer, &initiation, now, out);
            }
            _ => self.drops.handshake += 1,
        }
        self.count(out);
    }

    /// Answers an initiation that claims to be this peer's, or hands it over to its worker.
    fn answer_peer(
        &mut self,
        public_key: PublicKey,
        initiation: Initiation,
        now: Now,
        out: &mut Outbox,
    ) {
        let slot = self.by_key[&public_key];
        let Initiation { message, from, .. } = &initiation;
        if let Some(owner) = self.elsewhere(slot) {
            self.hand_over(owner, Kind::Initiation(*from, public_key), message, out);
            return;
        }
        if self.lends
            && let Some(peer) = &mut self.peers[slot]
            && let Some(answerer) = peer.answerer(slot, &mut self.indices)
        {
            self.send_on(initiation, Task::Answer(answerer), now, out);
            return;
        }
        self.wake(slot, now);
        let (Some(peer), Some(identity)) = (&mut self.peers[slot], &self.identity) else {
            return;
        };
        if peer.initiates_too_often(now) {
            self.drops.initiations += 1;
            return;
        }
        peer.renew(slot, identity, &mut self.indices, now);
        let accepted = peer.handle_initiation(message, *from, now, &mut out.datagrams);
        peer.tell(now, &mut out.events);
        self.drops.handshake += u64::from(!accepted);
    }

    /// Gives a peer the tunnel that was made for it. The index is known only as long as it waits for
    /// that.
    fn take_answer(
        &mut self,
        index: u32,
        answer: Option<Answer>,
        initiation: &Initiation,
        now: Now,
        out: &mut Outbox,
    ) {
        let Some(slot) = self.indices.lookup(index << 8) else {
            return;
        };
        let Some(peer) = &mut self.peers[slot] else {
            return;
        };
        if let Some(answer) = answer {
            peer.take_answer(index, answer, initiation, now, &mut out.datagrams);
            peer.tell(now, &mut out.events);
            self.look(slot, now.instant + TICK);
            return;
        }
        self.drops.handshake += 1;
        peer.give_up_answer(&mut self.indices);
        // What came for it meanwhile waits for a handshake.
        if peer.has_staged() {
            self.wake(slot, now);
            if let Some(peer) = &mut self.peers[slot] {
                peer.initiate(now, &mut out.datagrams);
            }
        }
    }

    pub(super) fn handle_response(
        &mut self,
        message: &[u8],
        from: Endpoint,
        now: Now,
        out: &mut Outbox,
    ) {
        let (drops, datagrams) = (&mut self.drops, &mut out.datagrams);
        let proof = self.handshakes.admit(message, from, now, drops, datagrams);
        if proof.is_some() {
            self.take_response(message, from, now, out);
        }
    }

    /// Handles a response that was checked.
    pub(super) fn take_response(
        &mut self,
        message: &[u8],
        from: Endpoint,
        now: Now,
        out: &mut Outbox,
    ) {
        let Some(peer) = addressee(&self.indices, &mut self.peers, &message[8..12]) else {
            self.hand_over_by_index(&message[8..12], message, from, Ecn::default(), out);
            return;
        };
        let accepted = !has_low_order_ephemeral(&message[12..44])
            && peer.handle_response(
                message,
                from,
                &mut self.staged_bytes,
                self.mtu,
                now,
                &mut out.datagrams,
            );
        peer.tell(now, &mut out.events);
        self.drops.handshake += u64::from(!accepted);
    }

    pub(super) fn handle_cookie_reply(&mut self, message: &[u8], from: Endpoint, out: &mut Outbox) {
        match addressee(&self.indices, &mut self.peers, &message[4..8]) {
            Some(peer) => self.drops.handshake += u64::from(!peer.handle_cookie_reply(message)),
            None => self.hand_over_by_index(&message[4..8], message, from, Ecn::default(), out),
        }
    }
}

/// The peer whose tunnel has the receiver index in these four bytes.
fn addressee<'a>(
    indices: &IndexTable,
    peers: &'a mut [Option<Peer>],
    receiver_index: &[u8],
) -> Option<&'a mut Peer> {
    peers[indices.lookup(read_u32(receiver_index))?].as_mut()
}
