//! What one worker's tunnel, or the porter, hands over to another's, in batches.

use std::ops::Range;

use crate::batch::{Ecn, Endpoint, SLACK};
use crate::key::PublicKey;
use crate::offload::VirtioHeader;

/// Bytes that wait for one worker. More are dropped, as a full queue of an interface would.
const MAX_BYTES: usize = 512 << 10;

/// Items start at multiples of this: small ones count for their bookkeeping, too.
const ALIGNMENT: usize = 64;

/// Packets and datagrams that one worker has for one other, in the order in which they came.
#[derive(Debug, Default)]
pub struct Handover {
    buffer: Vec<u8>,
    items: Vec<Item>,
}

#[derive(Debug)]
struct Item {
    range: Range<usize>,
    kind: Kind,
}

/// What the bytes of an item are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A packet, or a super-packet, from the TUN device.
    Packet(VirtioHeader),
    /// A decrypted packet on its way from peer to peer.
    Crossing,
    /// A handshake initiation that was checked where it arrived, and claims to be this peer's.
    Initiation(Endpoint, PublicKey),
    /// A handshake response that was checked where it arrived.
    Response(Endpoint),
    /// Another message: it is for somebody else, but the kernel did not look at it, because it came
    /// in one train with a message that is not.
    Message(Endpoint, Ecn),
}

impl Handover {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Forgets everything; keeps the memory.
    pub fn clear(&mut self) {
        self.items.clear();
    }

    /// Takes a copy of an item; false if there is no room for it.
    pub(crate) fn push(&mut self, kind: Kind, bytes: &[u8]) -> bool {
        let end = self.items.last().map_or(0, |item| item.range.end);
        let start = end.next_multiple_of(ALIGNMENT);
        let range = start..start + bytes.len();
        if range.end > MAX_BYTES {
            return false;
        }
        if self.buffer.len() < range.end + SLACK {
            self.buffer.resize(range.end + SLACK, 0);
        }
        self.buffer[range.clone()].copy_from_slice(bytes);
        self.items.push(Item { range, kind });
        true
    }

    /// The items in order: kind, bytes and [`SLACK`] behind them, and how many are the item's.
    pub(crate) fn for_each(&mut self, mut each: impl FnMut(Kind, &mut [u8], usize)) {
        for Item { range, kind } in &self.items {
            each(
                *kind,
                &mut self.buffer[range.start..range.end + SLACK],
                range.len(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_out_as_they_went_in_until_it_is_full() {
        let mut handover = Handover::default();
        for round in 0..2 {
            let mut taken = 0;
            while handover.push(Kind::Crossing, &[taken as u8; 60_000]) {
                taken += 1;
            }
            assert_eq!(taken, MAX_BYTES / 60_000, "round {round}");
            let mut seen = 0;
            handover.for_each(|_, buffer, len| {
                assert_eq!(buffer.len(), 60_000 + SLACK);
                assert_eq!(buffer[..len], [seen as u8; 60_000]);
                seen += 1;
            });
            assert_eq!(seen, taken);
            handover.clear();
            assert!(handover.is_empty());
        }
    }
}
