//! Which worker owns what, where several share a device.
//!
//! Each worker has a tunnel that knows all peers and all allowed IPs of the device, but talks only
//! to its own peers. All of them compute the owners for themselves, and so does the kernel, which
//! steers by the same numbers: datagrams by their receiver index, packets by the low 32 bits of
//! their destination address. What it cannot steer is handed over.

use std::net::IpAddr;

use crate::change::PeerChange;

/// The most workers of a device: each has then as many receiver indices as a device has peers.
pub const MAX_WORKERS: usize = 16;

/// Spreads addresses that follow each other evenly: 2^32 divided by the golden ratio, made odd
/// (Knuth, The Art of Computer Programming, volume 3, section 6.4).
pub const SPREAD: u32 = 0x9e37_79b1;

/// The bits of a product with [`SPREAD`] that count are from here on.
pub const SPREAD_SHIFT: u32 = 16;

/// One worker's part of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    worker: usize,
    workers: usize,
}

impl Share {
    /// The part of a worker that has the device to itself.
    pub const WHOLE: Self = Self {
        worker: 0,
        workers: 1,
    };

    /// The parts of `workers` workers, 1 to [`MAX_WORKERS`] of them.
    pub fn split(workers: usize) -> impl Iterator<Item = Self> {
        (0..workers).map(move |worker| Self { worker, workers })
    }

    /// The part of who is no worker, and owns nothing: the porter.
    pub(crate) fn none(workers: usize) -> Self {
        Self {
            worker: workers,
            workers,
        }
    }

    /// The worker's number, from 0 on.
    #[must_use]
    pub fn worker(self) -> usize {
        self.worker
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(self) -> usize {
        self.workers
    }

    /// Whose tunnel has handed out a receiver index. Its top byte tells: the last one of the four
    /// on the wire.
    #[must_use]
    pub fn owner_of_index(self, receiver_index: u32) -> usize {
        let [.., top] = receiver_index.to_le_bytes();
        usize::from(top) % self.workers
    }

    /// Whose queue the kernel puts packets to an address in.
    #[must_use]
    pub fn owner_of_address(self, address: IpAddr) -> usize {
        let low = match address {
            IpAddr::V4(address) => address.to_bits(),
            IpAddr::V6(address) => address.to_bits() as u32,
        };
        self.spread(low)
    }

    /// Who is to own the peer that this change adds: the worker that its packets are steered to,
    /// if the change says which those are.
    #[must_use]
    pub fn owner_of_peer(self, change: &PeerChange) -> usize {
        match change.allowed_ips.first() {
            Some(first) => self.owner_of_address(first.prefix.addr()),
            None => {
                let key = change.public_key.as_bytes();
                self.spread(
                    key.iter()
                        .fold(0, |hash: u32, byte| hash.rotate_left(8) ^ u32::from(*byte)),
                )
            }
        }
    }

    fn spread(self, number: u32) -> usize {
        (number.wrapping_mul(SPREAD) >> SPREAD_SHIFT) as usize % self.workers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::AllowedIpChange;
    use crate::key::PublicKey;

    #[test]
    fn neighbours_spread_evenly_and_both_families_agree() {
        for workers in [1, 2, 3, 7, MAX_WORKERS] {
            let share = Share::split(workers).next().unwrap();
            // Single addresses, and the first of four (a /30 each), which have even numbers only.
            for step in [1_u32, 4] {
                let mut counts = vec![0; workers];
                for host in 0..1_000 {
                    let v4 = IpAddr::from((0x0a00_0000 + host * step).to_be_bytes());
                    let v6 = 0xfd00_u128 << 112 | u128::from(0x0a00_0000 + host * step);
                    let owner = share.owner_of_address(v4);
                    assert_eq!(
                        share.owner_of_address(IpAddr::from(v6.to_be_bytes())),
                        owner
                    );
                    counts[owner] += 1;
                }
                let fair = 1_000 / workers;
                let close = |count: &usize| count.abs_diff(fair) <= fair / 4 + 1;
                assert!(
                    counts.iter().all(close),
                    "{workers} workers, step {step}: {counts:?}"
                );
            }
        }
    }

    #[test]
    fn a_peer_belongs_to_the_worker_of_its_first_address() {
        let share = Share::split(3).next().unwrap();
        let mut change = PeerChange::new(PublicKey::from_bytes([7; 32]));
        assert!(share.owner_of_peer(&change) < 3);
        for host in 1..=9 {
            let prefix = format!("10.0.0.{host}/32").parse().unwrap();
            change.allowed_ips = vec![AllowedIpChange::add(prefix)];
            assert_eq!(
                share.owner_of_peer(&change),
                share.owner_of_address(prefix.addr())
            );
        }
    }
}
