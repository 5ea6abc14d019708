//! The device-wide tunnel: which peer a message or a packet belongs to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::allowed_ips::AllowedIps;
use crate::batch::{DatagramIn, DatagramsOut, Ecn, Endpoint, LocalAddress, Now, Outbox};
use crate::constants::{
    COOKIE_REPLY_SIZE, DATA_OVERHEAD, HANDSHAKE_INITIATION_SIZE, HANDSHAKE_RESPONSE_SIZE,
    REJECT_AFTER_MESSAGES, TICK,
};
use crate::handover::{Handover, Kind};
use crate::handshakes::Handshakes;
use crate::hub::Hub;
use crate::identity::Identity;
use crate::index::IndexTable;
use crate::key::{PrivateKey, PublicKey};
use crate::packet::{ecn, ip};
use crate::peer::{Peer, Received};
use crate::share::Share;
use crate::stats::{Drops, HandshakeStats, PeerStatus};
use crate::timers::Timers;

mod configuration;
mod configured;
mod handshake;
mod outbound;
mod sharing;

use configured::Before;
use outbound::Outbound;

/// Peers whose timers are looked at between two batches: more would delay packets.
const LOOKS_PER_CALL: usize = 256;

/// All peers of one device and what is between them and us.
///
/// Three tables lead to a peer: its public key (configuration, initiations), its receiver index
/// (every other message) and its allowed IPs (packets). All of them name its slot in `peers`.
///
/// Of several workers that share a device each has a tunnel, and all are told of every change. A
/// peer talks in the tunnel of its own worker; the others know whose it is and what it may send.
pub struct Tunnel {
    share: Share,
    mtu: usize,
    identity: Option<Arc<Identity>>,
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    by_key: FxHashMap<PublicKey, usize>,
    indices: IndexTable,
    allowed_ips: AllowedIps<usize>,
    hub: Arc<Hub>,
    handshakes: Handshakes,
    /// Whether somebody else runs the errands.
    lends: bool,
    /// The number of the porter, if one takes in the handshake messages.
    porter: Option<usize>,
    timers: Timers,
    outbound: Outbound,
    staged_bytes: usize,
    drops: Drops,
    handshake_stats: HandshakeStats,
    before: Before,
}

impl Tunnel {
    /// A tunnel without a key and without peers, for an interface with this MTU in bytes.
    #[must_use]
    pub fn new(mtu: u16) -> Self {
        Self::shared(mtu, Share::WHOLE)
    }

    /// One worker's tunnel of several.
    #[must_use]
    pub fn shared(mtu: u16, share: Share) -> Self {
        Self {
            share,
            mtu: mtu.into(),
            identity: None,
            peers: Vec::new(),
            free: Vec::new(),
            by_key: FxHashMap::default(),
            indices: IndexTable::new(share),
            allowed_ips: AllowedIps::default(),
            hub: Arc::default(),
            handshakes: Handshakes::default(),
            lends: false,
            porter: None,
            timers: Timers::default(),
            outbound: Outbound::default(),
            staged_bytes: 0,
            drops: Drops::default(),
            handshake_stats: HandshakeStats::default(),
            before: Before::default(),
        }
    }

    /// The interface has another MTU now.
    pub fn set_mtu(&mut self, mtu: u16) {
        self.mtu = mtu.into();
    }

    // --- Datagrams from UDP.

    /// Takes datagrams from UDP.
    pub fn handle_datagrams(&mut self, batch: &mut [DatagramIn], now: Now, out: &mut Outbox) {
        for slot in batch {
            for datagram in slot.datagrams() {
                self.handle_datagram(datagram, slot.from(), slot.ecn, now, out);
            }
        }
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
            // In one train with data it came past the porter; what he hands over does not.
            (1..=3, _)
                if let Some(porter) = self.porter
                    && !out.handovers.is_empty() =>
            {
                self.hand_over(porter, Kind::Message(from, ecn), message, out);
            }
            (1, HANDSHAKE_INITIATION_SIZE) => self.handle_initiation(message, from, now, out),
            (2, HANDSHAKE_RESPONSE_SIZE) => self.handle_response(message, from, now, out),
            (3, COOKIE_REPLY_SIZE) => self.handle_cookie_reply(message, from, out),
            (4, DATA_OVERHEAD..) => self.handle_data(message, from, ecn, now, out),
            _ => self.drops.malformed += 1,
        }
    }

    fn handle_data(
        &mut self,
        message: &[u8],
        from: Endpoint,
        ecn: Ecn,
        now: Now,
        out: &mut Outbox,
    ) {
        let Some(slot) = self.indices.lookup(read_u32(&message[4..8])) else {
            self.hand_over_by_index(&message[4..8], message, from, ecn, out);
            return;
        };
        self.refresh(slot, now, &mut out.datagrams);
        let Some(peer) = &mut self.peers[slot] else {
            return;
        };
        // boringtun knows no such limit, and adds to the counter without looking.
        if read_u64(&message[8..16]) >= REJECT_AFTER_MESSAGES {
            self.drops.data += 1;
            return;
        }
        let plain = out
            .packets
            .room(message.len().max(HANDSHAKE_INITIATION_SIZE));
        let received = peer.open(message, plain, from, now);
        if !matches!(received, Received::Rejected) {
            self.handshakes.note_data(message.len());
            peer.confirm(
                message,
                &mut self.staged_bytes,
                self.mtu,
                now,
                &mut out.datagrams,
            );
            if peer.has_news {
                peer.tell(now, &mut out.events);
            }
            self.look(slot, now.instant + TICK);
        }
        match received {
            Received::Packet(len) => {
                let packet = &mut plain[..len];
                match ip::Header::parse(packet) {
                    None => self.drops.not_ip += 1,
                    // Whoever may use the source address for the whole device, not just this peer
                    // for itself: a longer prefix of another peer takes it away.
                    Some(header) if self.allowed_ips.lookup(header.source) != Some(slot) => {
                        self.drops.source_address += 1;
                    }
                    Some(_) if !ecn::decapsulate(ecn, packet) => self.drops.ecn += 1,
                    Some(header) => {
                        let (datagrams, handovers) = (&mut out.datagrams, &mut out.handovers);
                        if !self.cross(&header, plain, now, datagrams, handovers) {
                            out.packets.push(len);
                        }
                    }
                }
            }
            Received::Keepalive => {}
            Received::NotIp => self.drops.not_ip += 1,
            Received::Rejected => self.drops.data += 1,
        }
    }

    /// Sends a decrypted packet straight to the peer that it is for, where that is all that the
    /// kernel would do. `plain` has room behind the packet for its padding.
    ///
    /// Whatever needs more than that (an ICMP error, a handshake, options) goes by the kernel.
    fn cross(
        &mut self,
        header: &ip::Header,
        plain: &mut [u8],
        now: Now,
        out: &mut DatagramsOut,
        handovers: &mut [Handover],
    ) -> bool {
        if !self.hub.joins(header.source, header.destination)
            || header.total_len > self.mtu
            || header.has_options()
        {
            return false;
        }
        let Some(slot) = self.allowed_ips.lookup(header.destination) else {
            return false;
        };
        self.refresh(slot, now, out);
        let Some(peer) = &mut self.peers[slot] else {
            return false;
        };
        if peer.worker != self.share.worker()
            && let Some(handover) = handovers.get_mut(peer.worker)
        {
            let pushed = handover.push(Kind::Crossing, &plain[..header.total_len]);
            self.drops.handover += u64::from(!pushed);
            return true;
        }
        if !peer.has_session() || !ip::decrement_ttl(plain) {
            return false;
        }
        peer.seal(plain, 0, header.total_len, self.mtu, out);
        peer.note_sent(now);
        self.look(slot, now.instant + TICK);
        true
    }

    /// The way from this address of ours to these destinations is gone: their peers are sent to from
    /// whichever address the routing table says, until they show which one they know.
    pub fn forget_local(&mut self, gone: &[(SocketAddr, LocalAddress)]) {
        for peer in self.peers.iter_mut().flatten() {
            if let Some(endpoint) = &mut peer.endpoint
                && let Some(local) = endpoint.local
                && gone.contains(&(endpoint.address, local))
            {
                endpoint.local = None;
            }
        }
    }

    // --- Time.

    /// Looks at the timers that are due.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Outbox) {
        self.answer_initiation(now, out);
        for _ in 0..LOOKS_PER_CALL {
            let Some((due, slot)) = self.timers.pop(now.instant) else {
                break;
            };
            let awaited = self.peers[slot]
                .as_mut()
                .and_then(|peer| peer.due.take_if(|at| *at == due));
            if awaited.is_none() {
                continue;
            }
            self.wake_for_keepalive(slot, now);
            let Some(peer) = &mut self.peers[slot] else {
                continue;
            };
            if !peer.tick(now, &mut out.datagrams) {
                peer.drop_staged(&mut self.staged_bytes, &mut self.drops);
            }
            if let Some(identity) = &self.identity {
                let (indices, datagrams) = (&mut self.indices, &mut out.datagrams);
                peer.initiate_renewed(slot, identity, indices, now, datagrams);
            }
            peer.drop_former(&mut self.indices, now);
            peer.keep_alive(now, &mut out.datagrams);
            peer.tell(now, &mut out.events);
            if let Some(at) = peer.next_look(now) {
                self.look(slot, at);
            }
        }
        self.count(out);
    }

    /// When [`Tunnel::handle_timeout`] is to be called next, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let looks = self.timers.next().map(|at| (at, "timers of the peers"));
        let answer = self.handshakes.next().map(|at| (at, "handshakes"));
        [looks, answer].into_iter().flatten().min()
    }

    /// Makes the peer's tunnel, if it has none and we have a key.
    fn wake(&mut self, slot: usize, now: Now) {
        if let (Some(peer), Some(identity)) = (&mut self.peers[slot], &self.identity) {
            peer.wake(slot, identity, &mut self.indices, now);
            self.look(slot, now.instant + TICK);
        }
    }

    /// A persistent keepalive needs a tunnel to a peer that has shown no sign of life yet.
    fn wake_for_keepalive(&mut self, slot: usize, now: Now) {
        let wanted = self.peers[slot].as_ref().is_some_and(|peer| {
            peer.persistent_keepalive() > 0
                && peer.endpoint.is_some()
                && !peer.public_key.is_low_order()
        });
        if wanted {
            self.wake(slot, now);
        }
    }

    /// Has the peer's timers looked at by `at`; those of another worker's peer are not ours.
    fn look(&mut self, slot: usize, at: Instant) {
        if let Some(peer) = &mut self.peers[slot]
            && peer.worker == self.share.worker()
            && peer.due.is_none_or(|due| at < due)
        {
            peer.due = Some(at);
            self.timers.insert(at, slot);
        }
    }

    /// Sets the clock of a peer that is about to be used after a silence.
    fn refresh(&mut self, slot: usize, now: Now, out: &mut DatagramsOut) {
        if let Some(peer) = &mut self.peers[slot]
            && !peer.refresh(now, out)
        {
            peer.drop_staged(&mut self.staged_bytes, &mut self.drops);
        }
    }

    // --- What there is to see.

    /// The private key, for the control socket.
    #[must_use]
    pub fn private_key(&self) -> Option<&PrivateKey> {
        self.identity.as_deref().map(Identity::private_key)
    }

    /// What is known of one peer.
    #[must_use]
    pub fn peer(&self, public_key: &PublicKey) -> Option<PeerStatus> {
        let slot = self.by_key.get(public_key)?;
        self.peers[*slot].as_ref().map(Peer::status)
    }

    /// This worker's peers among those with these keys.
    #[must_use]
    pub fn peers_named(&self, keys: &[PublicKey]) -> Vec<PeerStatus> {
        keys.iter()
            .filter_map(|key| self.peers[*self.by_key.get(key)?].as_ref())
            .filter(|peer| peer.worker == self.share.worker())
            .map(Peer::status)
            .collect()
    }

    /// This worker's peers among the `limit` from position `from` on, and the position to go on
    /// from, if there are more: a caller that takes a few at a time delays no packet.
    #[must_use]
    pub fn peers(&self, from: usize, limit: usize) -> (Vec<PeerStatus>, Option<usize>) {
        self.page(from, limit, |peer| Some(peer.status()))
    }

    /// Where peers are and which of our addresses they know, those that have shown it; a few at a
    /// time, as [`Tunnel::peers`].
    #[must_use]
    pub fn ways(
        &self,
        from: usize,
        limit: usize,
    ) -> (Vec<(SocketAddr, LocalAddress)>, Option<usize>) {
        self.page(from, limit, |peer| {
            let endpoint = peer.endpoint?;
            Some((endpoint.address, endpoint.local?))
        })
    }

    fn page<T>(
        &self,
        from: usize,
        limit: usize,
        item: impl Fn(&Peer) -> Option<T>,
    ) -> (Vec<T>, Option<usize>) {
        let end = self.peers.len().min(from.saturating_add(limit));
        let page = self.peers.get(from..end).unwrap_or_default();
        let items = page
            .iter()
            .flatten()
            .filter(|peer| peer.worker == self.share.worker())
            .filter_map(item)
            .collect();
        (items, (end < self.peers.len()).then_some(end))
    }

    /// What was dropped since the start.
    #[must_use]
    pub fn drops(&self) -> Drops {
        self.drops
    }

    /// What came of handshakes since the start.
    #[must_use]
    pub fn handshakes(&self) -> HandshakeStats {
        HandshakeStats {
            queued: self.handshakes.len() as u64,
            ..self.handshake_stats
        }
    }

    /// Adds up what the peers have noted in a batch.
    fn count(&mut self, out: &mut Outbox) {
        self.handshake_stats += std::mem::take(&mut out.datagrams.handshakes);
    }
}

/// The type and three reserved zero bytes, read as one number (the paper, section 5.4); 0 is none.
pub(crate) fn message_type(message: &[u8]) -> u32 {
    read_u32(message)
}

pub(crate) fn read_u32(bytes: &[u8]) -> u32 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn read_u64(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests;
