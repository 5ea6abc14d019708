//! The porter: takes in the handshake messages of a device, so that a flood of them costs those who
//! carry data nothing.
//!
//! It checks them, asks for cookies and finds out who initiations claim to be from; what passes goes
//! to the worker of its peer. There is one for all workers, so one queue, one secret of the cookies
//! and one table of addresses.

use std::sync::Arc;
use std::time::Instant;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::batch::{DatagramIn, Ecn, Endpoint, Now, Outbox};
use crate::change::{PeerChange, TunnelChange};
use crate::constants::{
    COOKIE_REPLY_SIZE, DATA_OVERHEAD, HANDSHAKE_INITIATION_SIZE, HANDSHAKE_RESPONSE_SIZE,
};
use crate::handover::{Handover, Kind};
use crate::handshakes::Handshakes;
use crate::identity::Identity;
use crate::key::{PrivateKey, PublicKey};
use crate::share::Share;
use crate::stats::{Drops, HandshakeStats};
use crate::tunnel::{message_type, read_u32};

/// What stands before the tunnels of all workers of a device, and is told of every change as they are.
pub struct Porter {
    share: Share,
    identity: Option<Arc<Identity>>,
    /// The worker of each peer.
    owners: FxHashMap<PublicKey, u8>,
    handshakes: Handshakes,
    drops: Drops,
    stats: HandshakeStats,
}

impl Porter {
    /// A porter of so many workers, without a key and without peers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            share: Share::none(workers),
            identity: None,
            owners: FxHashMap::default(),
            handshakes: Handshakes::default(),
            drops: Drops::default(),
            stats: HandshakeStats::default(),
        }
    }

    /// Takes over what a change, which the workers have taken, says of keys and peers.
    pub fn apply(&mut self, change: &TunnelChange) {
        if let Some(private_key) = &change.private_key {
            self.set_private_key(private_key.as_ref());
        }
        if change.replace_peers {
            let named: FxHashSet<_> = change.peers.iter().map(|peer| peer.public_key).collect();
            self.owners.retain(|key, _| named.contains(key));
        }
        for peer in &change.peers {
            self.apply_to_peer(peer);
        }
    }

    fn set_private_key(&mut self, private_key: Option<&PrivateKey>) {
        let before = self.identity.as_deref().map(Identity::private_key);
        if private_key == before {
            return;
        }
        self.identity = private_key.map(|key| Arc::new(Identity::new(key.clone())));
        let public_key = self.identity.as_deref().map(Identity::public_key);
        self.handshakes.set_key(public_key);
        if let Some(own) = public_key {
            self.owners.remove(own);
        }
    }

    fn apply_to_peer(&mut self, change: &PeerChange) {
        let key = change.public_key;
        let is_own = self
            .identity
            .as_ref()
            .is_some_and(|identity| *identity.public_key() == key);
        if change.remove {
            self.owners.remove(&key);
        } else if !change.update_only && !is_own {
            let owner = self.share.owner_of_peer(change) as u8;
            self.owners.entry(key).or_insert(owner);
        }
    }

    /// Takes datagrams from UDP.
    pub fn handle_datagrams(&mut self, batch: &[DatagramIn], now: Now, out: &mut Outbox) {
        for slot in batch {
            for datagram in slot.datagrams() {
                self.handle_datagram(datagram, slot.from(), slot.ecn, now, out);
            }
        }
        self.count(out);
    }

    /// Takes what came to a worker, in one train with data.
    pub fn handle_handover(&mut self, handover: &mut Handover, now: Now, out: &mut Outbox) {
        handover.for_each(|kind, buffer, len| {
            if let Kind::Message(from, ecn) = kind {
                self.handle_datagram(&buffer[..len], from, ecn, now, out);
            }
        });
        self.count(out);
    }

    fn handle_datagram(
        &mut self,
        message: &[u8],
        from: Endpoint,
        ecn: Ecn,
        now: Now,
        out: &mut Outbox,
    ) {
        match (message_type(message), message.len()) {
            // Nothing can be answered to port 0.
            _ if from.address.port() == 0 => self.drops.malformed += 1,
            (1, HANDSHAKE_INITIATION_SIZE) => {
                let (drops, datagrams) = (&mut self.drops, &mut out.datagrams);
                let proof = self.handshakes.admit(message, from, now, drops, datagrams);
                if let Some(proof) = proof {
                    let pushed = self.handshakes.push(message, from, proof, now);
                    self.drops.crowded += u64::from(!pushed);
                }
            }
            (2, HANDSHAKE_RESPONSE_SIZE) => {
                let (drops, datagrams) = (&mut self.drops, &mut out.datagrams);
                let proof = self.handshakes.admit(message, from, now, drops, datagrams);
                if proof.is_some() {
                    self.hand_over(&message[8..12], Kind::Response(from), message, out);
                }
            }
            (3, COOKIE_REPLY_SIZE) | (4, DATA_OVERHEAD..) => {
                self.hand_over(&message[4..8], Kind::Message(from, ecn), message, out);
            }
            _ => self.drops.malformed += 1,
        }
    }

    /// Hands a message over to whose receiver index it has.
    fn hand_over(&mut self, index: &[u8], kind: Kind, message: &[u8], out: &mut Outbox) {
        let owner = self.share.owner_of_index(read_u32(index));
        self.drops.handover += u64::from(!out.hand_over(owner, kind, message));
    }

    /// So many initiations wait at the workers for their answers: while those are many, others wait
    /// here, where who answers a cookie goes first.
    pub fn set_waiting(&mut self, waiting: usize) {
        self.handshakes.lent = waiting;
    }

    /// Whether initiations wait here until fewer wait at the workers.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.handshakes.are_held() && self.handshakes.len() > self.handshakes.lent
    }

    /// Finds out whose the next initiation is, if it is time.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Outbox) {
        let Some(initiation) = self.handshakes.pop(now) else {
            return;
        };
        let claimed = self
            .identity
            .as_ref()
            .and_then(|identity| identity.initiator(&initiation.message))
            .and_then(|key| Some((key, *self.owners.get(&key)?)));
        self.handshakes.note_sender(claimed.is_some());
        if self.handshakes.are_suspect() {
            self.handshakes.pace();
        }
        let Some((key, owner)) = claimed else {
            self.drops.handshake += 1;
            return;
        };
        let kind = Kind::Initiation(initiation.from, key);
        let pushed = out.hand_over(owner.into(), kind, &initiation.message);
        self.drops.handover += u64::from(!pushed);
        self.handshakes.lent += 1;
    }

    /// When [`Porter::handle_timeout`] is to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.handshakes.next()
    }

    /// What was dropped since the start.
    #[must_use]
    pub fn drops(&self) -> Drops {
        self.drops
    }

    /// What came of handshakes since the start; those that wait at the workers are theirs to count.
    #[must_use]
    pub fn handshakes(&self) -> HandshakeStats {
        HandshakeStats {
            queued: (self.handshakes.len() - self.handshakes.lent) as u64,
            ..self.stats
        }
    }

    fn count(&mut self, out: &mut Outbox) {
        self.stats += std::mem::take(&mut out.datagrams.handshakes);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;
    use crate::handshakes::tests::client_of;

    fn call(porter: &mut Porter, source: SocketAddr, message: &[u8], now: Now) -> Outbox {
        let mut slot = DatagramIn {
            len: message.len(),
            segment_size: message.len(),
            source,
            ..DatagramIn::default()
        };
        slot.buffer[..message.len()].copy_from_slice(message);
        let mut out = Outbox {
            handovers: vec![Handover::default()],
            ..Outbox::default()
        };
        porter.handle_datagrams(&[slot], now, &mut out);
        porter.handle_timeout(now, &mut out);
        out
    }

    /// Of initiations with a right MAC1 from everywhere nothing reaches a worker, and few of them cost
    /// more than a look; who answers its cookie gets in.
    #[test]
    fn a_flood_ends_here() {
        let (server, peer) = (PrivateKey::generate(), PrivateKey::generate());
        let mut porter = Porter::new(1);
        porter.apply(&TunnelChange {
            private_key: Some(Some(server.clone())),
            peers: vec![PeerChange::new(peer.public_key())],
            ..TunnelChange::default()
        });
        let stray = client_of(&PrivateKey::generate(), &server.public_key())(None);
        let mut now = Now {
            instant: Instant::now(),
            unix: Duration::ZERO,
        };
        let mut cookies = 0;
        for number in 0..10_000_u32 {
            now.instant += Duration::from_micros(20);
            let source = SocketAddr::from(((0x0a80_0000 + number).to_be_bytes(), 7));
            let out = call(&mut porter, source, &stray, now);
            assert!(out.handovers[0].is_empty());
            assert!(out.datagrams.runs.iter().all(|run| run.range.len() == 64));
            cookies += out.datagrams.runs.len();
        }
        // 500 at once, and 5,000 a second.
        assert!((1..=1_500).contains(&cookies), "{cookies} in 0.2 s");
        let identified = porter.drops().handshake;
        assert!(identified < 100, "{identified}");

        let source = SocketAddr::from(([192, 0, 2, 1], 7));
        let mut initiate = client_of(&peer, &server.public_key());
        // The second time it is preferred.
        let cookie = (0..2).find_map(|_| {
            let mut out = call(&mut porter, source, &initiate(None), now);
            let reply = out.datagrams.runs.pop()?;
            Some(out.datagrams.buffer[reply.range].to_vec())
        });
        let initiation = initiate(Some(&cookie.expect("a cookie")));
        now.instant += Duration::from_millis(1);
        let out = call(&mut porter, source, &initiation, now);
        assert!(!out.handovers[0].is_empty());
    }
}
