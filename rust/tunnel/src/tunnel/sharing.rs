//! The tunnel of one worker of several, or beside a porter: what it hands over, and what it takes.

use super::{Tunnel, read_u32};
use crate::batch::{Ecn, Endpoint, Now, Outbox};
use crate::handover::{Handover, Kind};
use crate::packet::ip;

impl Tunnel {
    /// Takes what another worker handed over. Packets and messages go no further than here: where
    /// the two tables differ, because a change has reached only one of them, they are dropped.
    pub fn handle_handover(&mut self, handover: &mut Handover, now: Now, out: &mut Outbox) {
        // So there is no going round in circles.
        let others = std::mem::take(&mut out.handovers);
        handover.for_each(|kind, buffer, len| match kind {
            Kind::Packet(virtio) => {
                self.handshakes.note_data(len);
                self.handle_packet(&virtio, buffer, len, now, out);
            }
            Kind::Crossing => {
                self.handshakes.note_data(len);
                self.end_crossing(buffer, len, now, out);
            }
            Kind::Initiation(from, claimed) => {
                let pushed = self
                    .handshakes
                    .push_claimed(&buffer[..len], from, claimed, now);
                self.drops.crowded += u64::from(!pushed);
            }
            Kind::Response(from) => self.take_response(&buffer[..len], from, now, out),
            Kind::Message(from, ecn) => self.handle_datagram(&buffer[..len], from, ecn, now, out),
        });
        out.handovers = others;
        self.count(out);
    }

    /// Sends a packet of another worker's peer to ours, or leaves it to the kernel.
    fn end_crossing(&mut self, buffer: &mut [u8], len: usize, now: Now, out: &mut Outbox) {
        let crosses = ip::Header::parse(&buffer[..len])
            .is_some_and(|header| self.cross(&header, buffer, now, &mut out.datagrams, &mut []));
        if !crosses {
            out.packets.room(len).copy_from_slice(&buffer[..len]);
            out.packets.push(len);
        }
    }

    /// The other worker that owns the peer in this slot; none if it is ours.
    pub(super) fn elsewhere(&self, slot: usize) -> Option<usize> {
        let peer = self.peers[slot].as_ref()?;
        (peer.worker != self.share.worker()).then_some(peer.worker)
    }

    pub(super) fn hand_over(&mut self, owner: usize, kind: Kind, bytes: &[u8], out: &mut Outbox) {
        self.drops.handover += u64::from(!out.hand_over(owner, kind, bytes));
    }

    /// Whether a porter takes in the handshake messages. It has the number behind the last worker's.
    pub fn set_porter(&mut self, is_there: bool) {
        self.porter = is_there.then_some(self.share.workers());
    }

    /// How many initiations wait for their answers here.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.handshakes.len()
    }

    /// Deals with a message whose receiver index is not one of ours.
    pub(super) fn hand_over_by_index(
        &mut self,
        index: &[u8],
        message: &[u8],
        from: Endpoint,
        ecn: Ecn,
        out: &mut Outbox,
    ) {
        let owner = self.share.owner_of_index(read_u32(index));
        if owner == self.share.worker() {
            self.drops.unknown_index += 1;
        } else {
            self.hand_over(owner, Kind::Message(from, ecn), message, out);
        }
    }
}
