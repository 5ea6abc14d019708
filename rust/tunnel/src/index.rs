//! Receiver indices: which peer a message is for.
//!
//! The paper (section 5.4.2) wants random 32-bit indices. boringtun keeps the
//! low 8 bits for itself (its sessions), so a peer's tunnel gets a random
//! 24-bit index that no other has.

use rustc_hash::FxHashMap;

/// The 24 bits that name a peer's tunnel.
const MASK: u32 = 0x00ff_ffff;

/// Indices in use, and the peer slot behind each. The indices are random and
/// ours, so a fast hash that is no defence against chosen keys will do.
#[derive(Debug, Default)]
pub(crate) struct IndexTable(FxHashMap<u32, usize>);

impl IndexTable {
    /// Takes a free random index for the peer in `slot`.
    pub(crate) fn insert(&mut self, slot: usize) -> u32 {
        loop {
            let mut bytes = [0; 4];
            // There is nothing sensible to do without the system's randomness.
            getrandom::getrandom(&mut bytes).expect("the system gives random bytes");
            let index = u32::from_ne_bytes(bytes) & MASK;
            if let std::collections::hash_map::Entry::Vacant(entry) = self.0.entry(index) {
                entry.insert(slot);
                return index;
            }
        }
    }

    /// Gives an index back.
    pub(crate) fn remove(&mut self, index: u32) {
        self.0.remove(&index);
    }

    /// The peer slot that a message's receiver index names.
    pub(crate) fn lookup(&self, receiver_index: u32) -> Option<usize> {
        self.0.get(&(receiver_index >> 8)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_are_unique_and_found_by_the_upper_bits() {
        let mut table = IndexTable::default();
        let indices: Vec<u32> = (0..1_000).map(|slot| table.insert(slot)).collect();
        for (slot, index) in indices.iter().enumerate() {
            assert!(*index <= MASK);
            assert_eq!(table.lookup(index << 8 | 0x5a), Some(slot));
        }
        table.remove(indices[7]);
        assert_eq!(table.lookup(indices[7] << 8), None);
    }
}
