//! One peer: its boringtun tunnel and what we keep around it.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use boringtun::noise::TunnResult;
use boringtun::noise::errors::WireGuardError;
use ipnet::IpNet;

use crate::batch::{DatagramsOut, Endpoint, Now};
use crate::constants::{
    DATA_OVERHEAD, HANDSHAKE_INITIATION_SIZE, HANDSHAKE_TRAFFIC_CLASS, INITIATION_INTERVAL,
    MAX_STAGED_BYTES, MAX_STAGED_PACKETS, PADDING,
};
use crate::errand::{Answer, Answerer};
use crate::event::Cause;
use crate::handshakes::Initiation;
use crate::identity::Identity;
use crate::index::IndexTable;
use crate::key::{PresharedKey, PublicKey};
use crate::packet::ecn;
use crate::stats::{Drops, PeerStatus};

mod events;
mod keyed;
mod timers;

use events::Told;
use keyed::{Former, Keyed};

/// Configuration and state of one peer. Without traffic it has no `Tunn`, which takes 11 KB.
pub(crate) struct Peer {
    pub(crate) public_key: PublicKey,
    pub(crate) preshared_key: Option<PresharedKey>,
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) allowed_ips: BTreeSet<IpNet>,
    /// The worker whose tunnel talks to it.
    pub(crate) worker: usize,
    /// When its timers are to be looked at.
    pub(crate) due: Option<Instant>,
    persistent_keepalive: u16,
    tunn: Option<Live>,
    /// The index of a tunnel that is being made elsewhere.
    answering: Option<u32>,
    /// Its last initiation that was accepted: tunnels made later learn from it how old is too old.
    last_initiation: Option<Box<[u8; HANDSHAKE_INITIATION_SIZE]>>,
    staged: VecDeque<Vec<u8>>,
    last_handshake: Option<Duration>,
    rx_bytes: u64,
    tx_bytes: u64,
    /// When an authenticated message last went either way; none asks for a keepalive at once.
    last_traversal: Option<Instant>,
    /// Whether its last message may have been one to tell of.
    pub(crate) has_news: bool,
}

/// The part of a peer that talks.
struct Live {
    /// The tunnel that shakes hands.
    newest: Keyed,
    /// The one before it, while it has sessions.
    former: Option<Box<Former>>,
    /// Whether the next handshake is a new tunnel's: the peer has another preshared key by now, or
    /// too many handshakes came to nothing.
    is_outdated: bool,
    /// Whether a handshake is to begin as soon as there is a tunnel with the right key.
    is_handshake_due: bool,
    last_tick: Instant,
    last_received: Instant,
    /// What boringtun takes for that time: that of the tick before.
    received_stamp: Instant,
    /// When its sessions began, the newest last.
    births: VecDeque<Instant>,
    /// When the first packet was sent that nothing has answered.
    first_unanswered: Option<Instant>,
    /// When the first packet came that we have answered with nothing.
    first_unacknowledged: Option<Instant>,
    /// When an initiation of the peer was last accepted.
    last_initiation: Option<Instant>,
    /// When we last sent an initiation that nothing has answered.
    initiated: Option<Instant>,
    /// When we sent the first of these.
    initiating_since: Option<Now>,
    /// Whether boringtun gave up and forgot all keys; nothing of it is due until a new handshake.
    given_up: bool,
    /// Who began a handshake that was completed and not told of.
    completed: Option<Cause>,
    /// What was told of the peer; none if it is not connected.
    told: Option<Told>,
}

impl Live {
    fn new(newest: Keyed, now: Now) -> Self {
        Self {
            newest,
            former: None,
            is_outdated: false,
            is_handshake_due: false,
            last_tick: now.instant,
            last_received: now.instant,
            received_stamp: now.instant,
            births: VecDeque::new(),
            first_unanswered: None,
            first_unacknowledged: None,
            last_initiation: None,
            initiated: None,
            initiating_since: None,
            given_up: false,
            completed: None,
            told: None,
        }
    }

    /// Notes that this is the answer to an initiation of the peer.
    fn note_answered(&mut self, response: &[u8], now: Now) {
        self.newest.note_answered(little_endian(&response[4..8]));
        self.is_outdated = self.newest.is_crowded();
        self.last_initiation = Some(now.instant);
        self.given_up = false;
    }
}

/// What came of a data message.
pub(crate) enum Received {
    /// An IP packet of this many bytes, at the start of the buffer.
    Packet(usize),
    /// A keepalive.
    Keepalive,
    /// It is the peer's, but holds no IP packet.
    NotIp,
    /// It cannot be trusted.
    Rejected,
}

impl Peer {
    pub(crate) fn new(public_key: PublicKey, worker: usize) -> Self {
        Self {
            public_key,
            worker,
            preshared_key: None,
            endpoint: None,
            allowed_ips: BTreeSet::new(),
            due: None,
            persistent_keepalive: 0,
            tunn: None,
            answering: None,
            last_initiation: None,
            staged: VecDeque::new(),
            last_handshake: None,
            rx_bytes: 0,
            tx_bytes: 0,
            last_traversal: None,
            has_news: false,
        }
    }

    pub(crate) fn status(&self) -> PeerStatus {
        PeerStatus {
            public_key: self.public_key,
            preshared_key: self.preshared_key.clone(),
            endpoint: self.endpoint.map(|endpoint| endpoint.address),
            allowed_ips: self.allowed_ips.iter().copied().collect(),
            last_handshake: self.last_handshake,
            initiating_since: (self.tunn.as_ref())
                .and_then(|live| live.initiating_since)
                .map(|since| since.unix),
            rx_bytes: self.rx_bytes,
            tx_bytes: self.tx_bytes,
            persistent_keepalive: self.persistent_keepalive,
        }
    }

    pub(crate) fn persistent_keepalive(&self) -> u16 {
        self.persistent_keepalive
    }

    /// Sets the interval in seconds. Switched on, it sends one at once, as `wg` promises.
    pub(crate) fn set_persistent_keepalive(&mut self, seconds: u16) {
        if self.persistent_keepalive == 0 {
            self.last_traversal = None;
        }
        self.persistent_keepalive = seconds;
    }

    /// Makes the tunnel, if there is none, or none of use.
    pub(crate) fn wake(
        &mut self,
        slot: usize,
        identity: &Identity,
        indices: &mut IndexTable,
        now: Now,
    ) {
        if let Some(answerer) = self.answerer(slot, indices) {
            let tunn = answerer.tunn(identity);
            self.answering = None;
            self.tunn = Some(Live::new(Keyed::new(tunn, answerer.index), now));
        } else if self.is_outdated() && !self.has_session() {
            self.renew(slot, identity, indices, now);
        }
    }

    /// What to make the peer's tunnel of, unless it has one, or one is being made.
    pub(crate) fn answerer(&mut self, slot: usize, indices: &mut IndexTable) -> Option<Answerer> {
        if self.tunn.is_some() || self.answering.is_some() {
            return None;
        }
        let index = indices.insert(slot);
        self.answering = Some(index);
        Some(self.blueprint(index))
    }

    /// Takes the tunnel that was made for an initiation of the peer's, and sends the response.
    pub(crate) fn take_answer(
        &mut self,
        index: u32,
        answer: Answer,
        initiation: &Initiation,
        now: Now,
        out: &mut DatagramsOut,
    ) {
        self.answering = None;
        let Answer { tunn, response } = answer;
        let mut live = Live::new(Keyed::new(tunn, index), now);
        out.room(response.len()).copy_from_slice(&response);
        live.note_answered(&response, now);
        self.tunn = Some(live);
        self.last_initiation = Some(Box::new(initiation.message));
        self.respond(response.len(), initiation.from, now, out);
    }

    /// No tunnel comes of an initiation.
    pub(crate) fn give_up_answer(&mut self, indices: &mut IndexTable) {
        if let Some(index) = self.answering.take() {
            indices.remove(index);
        }
    }

    pub(crate) fn has_staged(&self) -> bool {
        !self.staged.is_empty()
    }

    /// Whether packets can be sealed now.
    pub(crate) fn has_session(&self) -> bool {
        self.tunn
            .as_ref()
            .is_some_and(|live| live.sender().has_session())
    }

    // --- Towards the peer.

    /// Seals the packet `buffer[start..start + len]` for the peer. The caller checked `has_session`.
    ///
    /// The packet is padded where it lies: up to 15 bytes behind it are overwritten and restored.
    pub(crate) fn seal(
        &mut self,
        buffer: &mut [u8],
        start: usize,
        len: usize,
        mtu: usize,
        out: &mut DatagramsOut,
    ) {
        let (Some(live), Some(endpoint)) = (&mut self.tunn, &self.endpoint) else {
            return;
        };
        let padded = padded_len(len, mtu);
        let traffic_class = ecn::outer_traffic_class(&buffer[start..start + len]);
        let mut behind = [0; PADDING];
        let behind = &mut behind[..padded - len];
        let padding = start + len..start + padded;
        behind.copy_from_slice(&buffer[padding.clone()]);
        buffer[padding.clone()].fill(0);
        let room = out.room((padded + DATA_OVERHEAD).max(HANDSHAKE_INITIATION_SIZE));
        let tunn = &mut live.sender_mut().tunn;
        let sealed = match tunn.encapsulate(&buffer[start..start + padded], room) {
            TunnResult::WriteToNetwork(datagram) => datagram.len(),
            _ => 0,
        };
        buffer[padding].copy_from_slice(behind);
        if sealed > 0 {
            out.push(sealed, endpoint, traffic_class);
            self.tx_bytes += sealed as u64;
        }
    }

    /// Notes that packets were sealed at `now`.
    pub(crate) fn note_sent(&mut self, now: Now) {
        self.note_sent_keepalive(now);
        if let Some(live) = &mut self.tunn {
            live.first_unanswered.get_or_insert(now.instant);
        }
    }

    /// Notes that a keepalive was sealed at `now`: it expects no answer.
    fn note_sent_keepalive(&mut self, now: Now) {
        self.last_traversal = Some(now.instant);
        if let Some(live) = &mut self.tunn {
            live.first_unacknowledged = None;
        }
    }

    /// Keeps a copy of `packet` until there is a session. `total` counts the bytes of all peers.
    pub(crate) fn stage(&mut self, packet: &[u8], total: &mut usize, drops: &mut Drops) {
        while self.staged.len() >= MAX_STAGED_PACKETS
            || (*total + packet.len() > MAX_STAGED_BYTES && !self.staged.is_empty())
        {
            if let Some(oldest) = self.staged.pop_front() {
                *total -= oldest.len();
                drops.staged += 1;
            }
        }
        if *total + packet.len() > MAX_STAGED_BYTES {
            drops.staged += 1;
            return;
        }
        *total += packet.len();
        self.staged.push_back(packet.to_vec());
    }

    /// Sends what waited. Only called when the peer has proved that it holds the session's keys.
    fn flush(&mut self, total: &mut usize, mtu: usize, now: Now, out: &mut DatagramsOut) {
        if self.staged.is_empty() || !self.has_session() {
            return;
        }
        for mut packet in std::mem::take(&mut self.staged) {
            let len = packet.len();
            *total -= len;
            packet.resize(len + PADDING, 0);
            self.seal(&mut packet, 0, len, mtu, out);
        }
        self.note_sent(now);
    }

    /// Gives up on what waits.
    pub(crate) fn drop_staged(&mut self, total: &mut usize, drops: &mut Drops) {
        for packet in std::mem::take(&mut self.staged) {
            *total -= packet.len();
            drops.staged += 1;
        }
    }

    /// Starts a handshake, unless one is under way.
    pub(crate) fn initiate(&mut self, now: Now, out: &mut DatagramsOut) {
        let (Some(live), Some(endpoint)) = (&mut self.tunn, &self.endpoint) else {
            return;
        };
        if live.is_outdated {
            live.is_handshake_due = true;
            return;
        }
        let result = live
            .newest
            .tunn
            .format_handshake_initiation(out.room(HANDSHAKE_INITIATION_SIZE), false);
        if let TunnResult::WriteToNetwork(datagram) = result {
            let len = datagram.len();
            out.push(len, endpoint, HANDSHAKE_TRAFFIC_CLASS);
            self.tx_bytes += len as u64;
            out.handshakes.initiated += 1;
            live.initiated = Some(now.instant);
            live.initiating_since.get_or_insert(now);
            live.given_up = false;
        }
    }

    // --- From the peer.

    /// Notes that an authenticated message of `len` bytes came from `endpoint`: the peer is there now.
    fn authenticated(&mut self, endpoint: Endpoint, len: usize, now: Now) {
        if self.endpoint != Some(endpoint) {
            self.endpoint = Some(endpoint);
            self.has_news = true;
        }
        self.rx_bytes += len as u64;
        self.last_traversal = Some(now.instant);
        if let Some(live) = &mut self.tunn {
            live.last_received = now.instant;
            live.received_stamp = live.last_tick;
            live.first_unanswered = None;
            live.initiating_since = None;
        }
    }

    /// Whether the peer's last initiation was accepted too short a while ago for another one. Those
    /// that were not do not count, or anybody could lock the peer out.
    pub(crate) fn initiates_too_often(&self, now: Now) -> bool {
        self.tunn
            .as_ref()
            .and_then(|live| live.last_initiation)
            .is_some_and(|last| now.instant.saturating_duration_since(last) < INITIATION_INTERVAL)
    }

    /// Handles a handshake initiation that claims to be the peer's; false if it is not to be trusted.
    pub(crate) fn handle_initiation(
        &mut self,
        message: &[u8],
        from: Endpoint,
        now: Now,
        out: &mut DatagramsOut,
    ) -> bool {
        self.update_timers(now, out);
        let Some(live) = &mut self.tunn else {
            return false;
        };
        let room = out.room(HANDSHAKE_INITIATION_SIZE);
        let tunn = &mut live.newest.tunn;
        let TunnResult::WriteToNetwork(response) = tunn.decapsulate(None, message, room) else {
            return false;
        };
        let len = response.len();
        live.note_answered(response, now);
        self.last_initiation = message.try_into().ok().map(Box::new);
        self.respond(len, from, now, out);
        true
    }

    /// Sends the response that is in the room of `out`, and notes that its initiation was good.
    fn respond(&mut self, len: usize, to: Endpoint, now: Now, out: &mut DatagramsOut) {
        self.authenticated(to, HANDSHAKE_INITIATION_SIZE, now);
        out.push(len, &to, HANDSHAKE_TRAFFIC_CLASS);
        out.handshakes.answered += 1;
        self.tx_bytes += len as u64;
    }

    /// Handles a handshake response; false if it is not to be trusted.
    pub(crate) fn handle_response(
        &mut self,
        message: &[u8],
        from: Endpoint,
        staged: &mut usize,
        mtu: usize,
        now: Now,
        out: &mut DatagramsOut,
    ) -> bool {
        self.update_timers(now, out);
        let Some(live) = &mut self.tunn else {
            return false;
        };
        let room = out.room(HANDSHAKE_INITIATION_SIZE);
        // Its initiation was made to be finished with another preshared key.
        if live.is_outdated {
            live.is_handshake_due = true;
            return false;
        }
        let tunn = &mut live.newest.tunn;
        let TunnResult::WriteToNetwork(keepalive) = tunn.decapsulate(None, message, room) else {
            return false;
        };
        let len = keepalive.len();
        live.initiated = None;
        live.newest.note_response();
        live.completed = Some(Cause::OwnHandshake);
        out.handshakes.completed += 1;
        self.authenticated(from, message.len(), now);
        self.last_handshake = Some(now.unix);
        out.push(len, &from, 0);
        self.tx_bytes += len as u64;
        self.flush(staged, mtu, now, out);
        true
    }

    /// Handles a cookie reply. It is not authenticated by the peer's key: no roaming.
    pub(crate) fn handle_cookie_reply(&mut self, message: &[u8]) -> bool {
        let mut nothing = [0; HANDSHAKE_INITIATION_SIZE];
        self.tunn.as_mut().is_some_and(|live| {
            matches!(
                live.newest.tunn.decapsulate(None, message, &mut nothing),
                TunnResult::Done
            )
        })
    }

    /// Opens a data message into `plain`, which must have room for the whole message.
    pub(crate) fn open(
        &mut self,
        message: &[u8],
        plain: &mut [u8],
        from: Endpoint,
        now: Now,
    ) -> Received {
        let Some(live) = &mut self.tunn else {
            return Received::Rejected;
        };
        let keyed = live.receiver_mut(message);
        let received = match keyed.tunn.decapsulate(None, message, plain) {
            TunnResult::WriteToTunnelV4(packet, _) => Received::Packet(packet.len()),
            TunnResult::WriteToTunnelV6(packet, _) => Received::Packet(packet.len()),
            TunnResult::Done => Received::Keepalive,
            // The message itself parsed before it came here, so this is about what was inside.
            TunnResult::Err(WireGuardError::InvalidPacket) => Received::NotIp,
            _ => return Received::Rejected,
        };
        self.authenticated(from, message.len(), now);
        if let (Received::Packet(_), Some(live)) = (&received, &mut self.tunn) {
            live.first_unacknowledged.get_or_insert(now.instant);
        }
        received
    }

    /// The first message of a session that we answered completes its handshake (the paper,
    /// section 5.4.4): from now on we may send.
    pub(crate) fn confirm(
        &mut self,
        message: &[u8],
        staged: &mut usize,
        mtu: usize,
        now: Now,
        out: &mut DatagramsOut,
    ) {
        let Some(live) = &mut self.tunn else { return };
        if live.receiver_mut(message).confirm(message) {
            live.completed = Some(Cause::PeerHandshake);
            out.handshakes.completed += 1;
            self.has_news = true;
            self.last_handshake = Some(now.unix);
        }
        self.flush(staged, mtu, now, out);
    }
}

/// Bytes of a packet with its padding: to a multiple of 16, but never above the MTU (the paper,
/// section 5.4.6; `calculate_skb_padding`, kernel `send.c`).
fn padded_len(len: usize, mtu: usize) -> usize {
    len.next_multiple_of(PADDING).min(mtu.max(len))
}

fn little_endian(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_stops_at_the_mtu() {
        assert_eq!(padded_len(0, 1420), 0);
        assert_eq!(padded_len(1, 1420), 16);
        assert_eq!(padded_len(84, 1420), 96);
        assert_eq!(padded_len(1408, 1420), 1408);
        assert_eq!(padded_len(1409, 1420), 1420);
        assert_eq!(padded_len(1420, 1420), 1420);
        assert_eq!(padded_len(1500, 1420), 1500);
    }

    #[test]
    fn the_oldest_staged_packet_goes_first() {
        let mut peer = Peer::new(PublicKey::from_bytes([7; 32]), 0);
        let (mut total, mut drops) = (0, Drops::default());
        for number in 0..MAX_STAGED_PACKETS + 3 {
            peer.stage(&[number as u8; 10], &mut total, &mut drops);
        }
        assert_eq!(peer.staged.len(), MAX_STAGED_PACKETS);
        assert_eq!(peer.staged[0][0], 3);
        assert_eq!((total, drops.staged), (10 * MAX_STAGED_PACKETS, 3));
        peer.drop_staged(&mut total, &mut drops);
        assert_eq!((total, drops.staged as usize), (0, MAX_STAGED_PACKETS + 3));
    }
}
