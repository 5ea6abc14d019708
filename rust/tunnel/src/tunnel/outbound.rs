//! Packets from the TUN device, on their way to peers, and what is said of those that have none.

use std::net::SocketAddr;

use super::Tunnel;
use crate::batch::{Endpoint, Now, Outbox, PacketIn, PacketsOut};
use crate::handover::Kind;
use crate::offload::{self, VirtioHeader};
use crate::packet::{icmp, ip, udp};
use crate::rate_limit::Bucket;
use crate::reentry::Reentry;

/// ICMP errors a second, all peers together, and how many at once: a scan of absent peers is told
/// enough, and a flood costs no more than this.
const ERRORS_PER_SECOND: u32 = 100;
const ERRORS_AT_ONCE: u32 = 50;

/// What is kept between packets.
#[derive(Default)]
pub(super) struct Outbound {
    /// The port that our datagrams come from; 0 if they are not known by it.
    port: u16,
    reentry: Reentry,
    /// How many ICMP errors may be sent.
    errors: Option<Bucket>,
}

impl Tunnel {
    /// Our datagrams come from this UDP port: those that come back in as packets are seen for what
    /// they are, and do not go round for ever.
    pub fn set_listen_port(&mut self, port: u16) {
        self.outbound.port = port;
    }

    /// Takes packets from the TUN device.
    pub fn handle_packets(&mut self, batch: &mut [PacketIn], now: Now, out: &mut Outbox) {
        for packet in batch {
            self.handshakes.note_data(packet.len);
            self.handle_packet(&packet.header, &mut packet.buffer, packet.len, now, out);
        }
        self.count(out);
    }

    pub(super) fn handle_packet(
        &mut self,
        virtio: &VirtioHeader,
        buffer: &mut [u8],
        len: usize,
        now: Now,
        out: &mut Outbox,
    ) {
        let Some(header) = ip::Header::parse(&buffer[..len]) else {
            self.drops.tun_malformed += 1;
            return;
        };
        let Some(slot) = self.allowed_ips.lookup(header.destination) else {
            self.drops.no_peer += 1;
            self.tell_unreachable(&header, &buffer[..len], now, &mut out.packets);
            return;
        };
        if let Some(owner) = self.elsewhere(slot) {
            self.hand_over(owner, Kind::Packet(*virtio), &buffer[..len], out);
            return;
        }
        let endpoint = self.peers[slot].as_ref().and_then(|peer| peer.endpoint);
        let Some(endpoint) = endpoint else {
            self.drops.no_endpoint += 1;
            self.tell_unreachable(&header, &buffer[..len], now, &mut out.packets);
            return;
        };
        if self.goes_round(&header, &buffer[..len], &endpoint, now) {
            self.drops.looped += 1;
            return;
        }
        let is_mute = |peer: &crate::peer::Peer| peer.public_key.is_low_order();
        if self.identity.is_none() || self.peers[slot].as_ref().is_none_or(is_mute) {
            self.drops.no_endpoint += 1;
            return;
        }
        self.refresh(slot, now, &mut out.datagrams);
        self.wake(slot, now);
        let Some(peer) = &mut self.peers[slot] else {
            return;
        };
        let has_session = peer.has_session();
        let (mtu, staged_bytes, drops) = (self.mtu, &mut self.staged_bytes, &mut self.drops);
        let split = offload::split(virtio, buffer, len, |buffer, segment| {
            if has_session {
                peer.seal(
                    buffer,
                    segment.start,
                    segment.len(),
                    mtu,
                    &mut out.datagrams,
                );
            } else {
                peer.stage(&buffer[segment], staged_bytes, drops);
            }
        });
        if split.is_err() {
            self.drops.tun_malformed += 1;
        } else if has_session {
            peer.note_sent(now);
        } else {
            peer.initiate(now, &mut out.datagrams);
        }
    }

    /// Tells the sender of a packet that there is no way to its destination, as the kernel's
    /// WireGuard does (`wg_xmit`, `device.c`).
    fn tell_unreachable(
        &mut self,
        header: &ip::Header,
        packet: &[u8],
        now: Now,
        out: &mut PacketsOut,
    ) {
        let error = icmp::unreachable(header, packet, out.room(icmp::MAX_ERROR));
        let Some(len) = error else { return };
        let (rate, burst, now) = (ERRORS_PER_SECOND, ERRORS_AT_ONCE, now.instant);
        let errors = &mut self.outbound.errors;
        if errors
            .get_or_insert_with(|| Bucket::new(rate, burst, now))
            .take(rate, burst, now)
        {
            out.push(len);
        }
    }

    /// Whether a packet is a datagram of ours that has gone out to the peer that it would go to now.
    fn goes_round(
        &mut self,
        header: &ip::Header,
        packet: &[u8],
        next: &Endpoint,
        now: Now,
    ) -> bool {
        let Some((source, destination)) = udp::ports(header, packet) else {
            return false;
        };
        if source != self.outbound.port
            || source == 0
            || next.local.is_some_and(|local| local.ip != header.source)
        {
            return false;
        }
        let to = SocketAddr::new(header.destination, destination);
        self.outbound
            .reentry
            .goes_round(to, next.address, now.instant)
    }
}
