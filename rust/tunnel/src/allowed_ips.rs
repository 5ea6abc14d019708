//! Cryptokey routing: one longest-prefix table for the whole device (the
//! paper, section 2), used both ways: which peer a packet goes to, and whether
//! the peer that sent one may use its source address.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

/// Prefixes and the peer that owns each. A prefix has one owner.
#[derive(Debug)]
pub struct AllowedIps<T> {
    v4: PrefixMap<Ipv4Net, T>,
    v6: PrefixMap<Ipv6Net, T>,
}

impl<T> Default for AllowedIps<T> {
    fn default() -> Self {
        Self {
            v4: PrefixMap::new(),
            v6: PrefixMap::new(),
        }
    }
}

impl<T: Copy> AllowedIps<T> {
    /// Gives `prefix` (host bits are ignored) to `owner`; returns who had it.
    pub fn insert(&mut self, prefix: IpNet, owner: T) -> Option<T> {
        match prefix.trunc() {
            IpNet::V4(prefix) => self.v4.insert(prefix, owner),
            IpNet::V6(prefix) => self.v6.insert(prefix, owner),
        }
    }

    /// Takes `prefix` from whoever has it; returns who had it.
    pub fn remove(&mut self, prefix: IpNet) -> Option<T> {
        match prefix.trunc() {
            IpNet::V4(prefix) => self.v4.remove(&prefix),
            IpNet::V6(prefix) => self.v6.remove(&prefix),
        }
    }

    /// Who has exactly `prefix`.
    #[must_use]
    pub fn owner(&self, prefix: IpNet) -> Option<T> {
        match prefix.trunc() {
            IpNet::V4(prefix) => self.v4.get(&prefix).copied(),
            IpNet::V6(prefix) => self.v6.get(&prefix).copied(),
        }
    }

    /// Who has the longest prefix that contains `address`.
    #[must_use]
    pub fn lookup(&self, address: IpAddr) -> Option<T> {
        match address {
            IpAddr::V4(address) => self.v4.get_lpm(&address.into()).map(|(_, owner)| *owner),
            IpAddr::V6(address) => self.v6.get_lpm(&address.into()).map(|(_, owner)| *owner),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Slow and obvious: a list, searched from end to end.
    #[derive(Default)]
    struct Oracle(Vec<(IpNet, u8)>);

    impl Oracle {
        fn insert(&mut self, prefix: IpNet, owner: u8) {
            self.remove(prefix);
            self.0.push((prefix.trunc(), owner));
        }

        fn remove(&mut self, prefix: IpNet) {
            self.0.retain(|(other, _)| *other != prefix.trunc());
        }

        fn lookup(&self, address: IpAddr) -> Option<u8> {
            self.0
                .iter()
                .filter(|(prefix, _)| prefix.contains(&address))
                .max_by_key(|(prefix, _)| prefix.prefix_len())
                .map(|(_, owner)| *owner)
        }
    }

    /// Addresses from a small world, so that prefixes meet and nest.
    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<[bool; 32]>().prop_map(|bits| {
                let low = bits.iter().fold(0u32, |n, bit| n << 1 | u32::from(*bit));
                IpAddr::from((0x0a00_0000 | (low & 0x8000_0f0f)).to_be_bytes())
            }),
            any::<u16>().prop_map(|low| {
                let bits = 0xfd00u128 << 112 | u128::from(low & 0x0f0f) << 60;
                IpAddr::from(bits.to_be_bytes())
            }),
        ]
    }

    fn prefix() -> impl Strategy<Value = IpNet> {
        (address(), any::<u8>()).prop_map(|(address, len)| {
            let bits = if address.is_ipv4() { 33 } else { 129 };
            IpNet::new(address, len % bits).expect("length in range")
        })
    }

    proptest! {
        #[test]
        fn lookups_equal_the_oracle(
            changes in prop::collection::vec((prefix(), 0u8..8, any::<bool>()), 0..200),
            probes in prop::collection::vec(address(), 200),
        ) {
            let mut table = AllowedIps::default();
            let mut oracle = Oracle::default();
            for (prefix, owner, remove) in changes {
                if remove {
                    table.remove(prefix);
                    oracle.remove(prefix);
                } else {
                    table.insert(prefix, owner);
                    oracle.insert(prefix, owner);
                }
            }
            for probe in probes {
                prop_assert_eq!(table.lookup(probe), oracle.lookup(probe));
            }
        }
    }

    /// Every one-bit neighbour of an address is another route (kernel `selftest/allowedips.c`).
    #[test]
    fn one_bit_off_is_another_route() {
        let base = u128::from_be_bytes([0xfd; 16]);
        let mut table = AllowedIps::default();
        for bit in 0..128u8 {
            let address = IpAddr::from((base ^ 1 << bit).to_be_bytes());
            table.insert(IpNet::from(address), bit);
        }
        for bit in 0..128u8 {
            let address = IpAddr::from((base ^ 1 << bit).to_be_bytes());
            assert_eq!(table.lookup(address), Some(bit));
        }
        assert_eq!(table.lookup(IpAddr::from(base.to_be_bytes())), None);
    }
}
