//! Receiver indices: which peer a message is for.
//!
//! The paper (section 5.4.2) wants random 32-bit indices. boringtun keeps the
//! low 8 bits for itself (its sessions), so a peer's tunnel gets a random
//! 24-bit index that no other has. Where several workers share a device, its
//! upper bits tell whose tunnel handed it out.

use rustc_hash::FxHashMap;

use crate::share::Share;

/// The 24 bits that name a peer's tunnel.
const MASK: u32 = 0x00ff_ffff;

/// Indices in use, and the peer slot behind each. The indices are random and
/// ours, so a fast hash that is no defence against chosen keys will do.
#[derive(Debug)]
pub(crate) struct IndexTable {
    share: Share,
    slots: FxHashMap<u32, usize>,
}

impl IndexTable {
    pub(crate) fn new(share: Share) -> Self {
        Self {
            share,
            slots: FxHashMap::default(),
        }
    }

    /// Takes a free random index for the peer in `slot`.
    pub(crate) fn insert(&mut self, slot: usize) -> u32 {
        loop {
            let mut bytes = [0; 4];
            // There is nothing sensible to do without the system's randomness.
            getrandom::getrandom(&mut bytes).expect("the system gives random bytes");
            let index = u32::from_ne_bytes(bytes) & MASK;
            if self.share.owner_of_index(index << 8) != self.share.worker() {
                continue;
            }
            if let std::collections::hash_map::Entry::Vacant(entry) = self.slots.entry(index) {
                entry.insert(slot);
                return index;
            }
        }
    }

    /// Gives an index back.
    pub(crate) fn remove(&mut self, index: u32) {
        self.slots.remove(&index);
    }

    /// The peer slot that a message's receiver index names.
    pub(crate) fn lookup(&self, receiver_index: u32) -> Option<usize> {
        self.slots.get(&(receiver_index >> 8)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_unique_and_found_by_the_upper_bits() {
        let mut table = IndexTable::new(Share::WHOLE);
        let indices: Vec<u32> = (0..1_000).map(|slot| table.insert(slot)).collect();
        for (slot, index) in indices.iter().enumerate() {
            assert!(*index <= MASK);
            assert_eq!(table.lookup(index << 8 | 0x5a), Some(slot));
        }
        table.remove(indices[7]);
        assert_eq!(table.lookup(indices[7] << 8), None);
    }

    #[test]
    fn the_worker_is_in_the_index() {
        for share in Share::split(3) {
            let mut table = IndexTable::new(share);
            for slot in 0..100 {
                let index = table.insert(slot) << 8 | 0x5a;
                assert_eq!(share.owner_of_index(index), share.worker());
            }
        }
    }
}
