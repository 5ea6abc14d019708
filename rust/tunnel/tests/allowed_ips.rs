//! Cryptokey routing, after the kernel's `selftest/allowedips.c`: fixed tables, a slow oracle with
//! random prefixes, peers removed one after the other, and what is read back.
//!
//! The numbers are smaller than the kernel's, whose random part takes half an hour.

#![expect(
    clippy::unwrap_used,
    reason = "clippy.toml lets tests unwrap, but sees no test here"
)]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use proptest::prelude::*;
use wgbind_tunnel::allowed_ips::AllowedIps;
use wgbind_tunnel::{
    AllowedIpChange, Now, Outbox, PeerChange, PrivateKey, PublicKey, Tunnel, TunnelChange,
};

fn prefix(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_longest_prefix_wins_whatever_the_order() {
    let routes = [
        ("10.20.4.0/24", 'a'),
        ("10.20.4.4/32", 'b'),
        ("10.20.0.0/16", 'c'),
        ("198.51.100.64/27", 'd'),
        // Takes the place of the one before, host bits or not.
        ("198.51.100.65/27", 'c'),
        ("2001:db8:6b00::5f05:543/128", 'd'),
        ("2001:db8:6b00::/64", 'c'),
        ("0.0.0.0/0", 'e'),
        ("::/0", 'e'),
        ("::/0", 'f'),
        ("2001:db9::/32", 'g'),
        ("2001:db9:4004:800:dead:beef:dead:beef/64", 'h'),
        ("2001:db9:4004:800:dead:beef:dead:beef/128", 'a'),
        ("2001:dba:40e4:800:dead:beef:def:beef/128", 'c'),
        ("2001:dba:f0e4:800:eeae:beef::/98", 'b'),
        ("203.0.112.0/20", 'g'),
        ("203.0.123.211/25", 'h'),
        ("10.0.0.0/25", 'a'),
        ("10.0.0.128/25", 'b'),
        ("10.1.0.0/30", 'a'),
        ("10.1.0.4/30", 'b'),
        ("10.1.0.8/29", 'c'),
        ("10.1.0.16/29", 'd'),
    ];
    let lookups = [
        ("10.20.4.20", 'a'),
        ("10.20.4.0", 'a'),
        ("10.20.4.4", 'b'),
        ("10.20.200.182", 'c'),
        ("198.51.100.68", 'c'),
        ("198.51.100.96", 'e'),
        ("2001:db8:6b00::5f05:543", 'd'),
        ("2001:db8:6b00::c02e:1ee", 'c'),
        ("2001:db8:6b00:1::", 'f'),
        ("2001:db9:4004:806::1006", 'g'),
        ("2001:db9:4004:806:1234::5678", 'g'),
        ("2001:db8:ffff:806:1234::5678", 'f'),
        ("2001:dbb:4004:806:1234::5678", 'f'),
        ("2001:db9:4004:800:1234::5678", 'h'),
        ("2001:db9:4004:800::", 'h'),
        ("2001:db9:4004:800:1010:1010:1010:1010", 'h'),
        ("2001:db9:4004:800:dead:beef:dead:beef", 'a'),
        ("2001:dba:40e4:800:dead:beef:def:beef", 'c'),
        ("2001:dba:40e4:800:dead:beef:def:beee", 'f'),
        ("2001:dba:f0e4:800:eeae:beef:3fff:1", 'b'),
        ("2001:dba:f0e4:800:eeae:beef:4000:1", 'f'),
        ("203.0.116.26", 'g'),
        ("203.0.127.3", 'g'),
        ("203.0.123.1", 'g'),
        ("203.0.123.128", 'h'),
        ("203.0.123.129", 'h'),
        ("10.0.0.52", 'a'),
        ("10.0.0.220", 'b'),
        ("10.1.0.2", 'a'),
        ("10.1.0.6", 'b'),
        ("10.1.0.10", 'c'),
        ("10.1.0.20", 'd'),
    ];
    let mut table = AllowedIps::default();
    for (route, owner) in routes {
        table.insert(prefix(route), owner);
    }
    for (lookup, owner) in lookups {
        assert_eq!(table.lookup(address(lookup)), Some(owner), "{lookup}");
    }
    // The other way round, but for those that are replaced.
    let mut table = AllowedIps::default();
    for (route, owner) in routes.into_iter().rev() {
        if table.owner(prefix(route)).is_none() {
            table.insert(prefix(route), owner);
        }
    }
    for (lookup, owner) in lookups {
        assert_eq!(table.lookup(address(lookup)), Some(owner), "{lookup}");
    }
}

#[test]
fn what_is_removed_uncovers_what_it_lay_in() {
    let mut table = AllowedIps::default();
    for (route, owner) in [
        ("10.20.0.0/16", 'a'),
        ("10.20.0.0/24", 'b'),
        ("10.20.0.0/32", 'c'),
    ] {
        table.insert(prefix(route), owner);
    }
    for (removed, left) in [("10.20.0.0/24", 'c'), ("10.20.0.0/32", 'a')] {
        assert!(table.remove(prefix(removed)).is_some());
        assert_eq!(table.remove(prefix(removed)), None);
        assert_eq!(table.lookup(address("10.20.0.0")), Some(left));
    }
    assert_eq!(table.lookup(address("10.20.0.1")), Some('a'));
    table.remove(prefix("10.20.7.7/16"));
    assert_eq!(table.lookup(address("10.20.0.0")), None);
}

/// A tunnel, to which changes are applied at one moment.
struct Configured(Tunnel);

impl Configured {
    fn new() -> Self {
        Self(Tunnel::new(1_420))
    }

    fn apply(&mut self, peers: Vec<PeerChange>) {
        let change = TunnelChange {
            peers,
            ..Default::default()
        };
        let now = Now {
            instant: Instant::now(),
            unix: Duration::ZERO,
        };
        self.0.apply(change, now, &mut Outbox::default()).unwrap();
    }

    fn give(&mut self, peer: PublicKey, prefixes: &[IpNet]) {
        self.apply(vec![PeerChange {
            allowed_ips: prefixes.iter().copied().map(AllowedIpChange::add).collect(),
            ..PeerChange::new(peer)
        }]);
    }

    fn allowed_ips(&self, peer: PublicKey) -> Vec<IpNet> {
        self.0.peer(&peer).unwrap().allowed_ips
    }
}

fn peer() -> PublicKey {
    PrivateKey::generate().public_key()
}

#[test]
fn prefixes_are_read_back_masked_and_once() {
    let (mut tunnel, peer) = (Configured::new(), peer());
    let given = [
        "198.51.100.93/27",
        "2001:db8:6b00::5f05:543/128",
        "10.1.0.20/29",
        "2001:db8:6d8a:6bf8:dab1:f1df:c05f:1523/83",
        "2001:db8:6d8a:6bf8:dab1:f1df:c05f:1523/21",
        "198.51.100.64/27",
    ];
    tunnel.give(peer, &given.map(prefix));
    let wanted = [
        "10.1.0.16/29",
        "198.51.100.64/27",
        "2001:800::/21",
        "2001:db8:6b00::5f05:543/128",
        "2001:db8:6d8a:6bf8:dab1:e000::/83",
    ];
    assert_eq!(tunnel.allowed_ips(peer), wanted.map(prefix));
}

/// Somewhere in the 128 levels of the deepest tree there is.
#[test]
fn a_peer_with_a_prefix_on_each_level_goes_without_a_trace() {
    let (mut tunnel, first, second) = (Configured::new(), peer(), peer());
    let all: Vec<IpNet> = (0..128)
        .map(|bit| IpNet::from(IpAddr::from((!(1u128 << bit)).to_be_bytes())))
        .chain((0..=128).map(|len| IpNet::new(address("ffff::1"), len).unwrap()))
        .collect();
    tunnel.give(first, &all);
    let held = tunnel.allowed_ips(first).len();
    assert_eq!(held, 128 + 129);
    let mut remove = PeerChange::new(first);
    remove.remove = true;
    tunnel.apply(vec![remove]);
    assert!(tunnel.0.peer(&first).is_none());
    // Another takes them all, and takes them from nobody.
    tunnel.give(second, &all);
    assert_eq!(tunnel.allowed_ips(second).len(), held);
    // The last one to ask has them.
    tunnel.give(first, &all[..100]);
    assert_eq!(tunnel.allowed_ips(first).len(), 100);
    assert_eq!(tunnel.allowed_ips(second).len(), held - 100);
}

/// Slow and obvious: a list, searched from end to end.
#[derive(Default)]
struct Oracle(Vec<(IpNet, usize)>);

impl Oracle {
    fn insert(&mut self, prefix: IpNet, owner: usize) {
        self.0.retain(|(other, _)| *other != prefix.trunc());
        self.0.push((prefix.trunc(), owner));
    }

    fn lookup(&self, address: IpAddr) -> Option<usize> {
        let holding = self
            .0
            .iter()
            .filter(|(prefix, _)| prefix.contains(&address));
        let longest = holding.max_by_key(|(prefix, _)| prefix.prefix_len());
        longest.map(|(_, owner)| *owner)
    }
}

/// `bits` of the first address, the rest of the second: near relatives of an address.
fn mutated(first: u128, second: u128, bits: u32) -> u128 {
    let low = u128::MAX.checked_shr(bits).unwrap_or(0);
    first & !low | second & low
}

fn any_prefix(v6: bool, bits: u128, len: u8) -> IpNet {
    if v6 {
        IpNet::new(IpAddr::from(bits.to_be_bytes()), 1 + len % 128).unwrap()
    } else {
        let bits = (bits >> 96) as u32;
        IpNet::new(IpAddr::from(bits.to_be_bytes()), 1 + len % 32).unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn random_tables_are_as_the_oracle_says_until_the_last_peer_is_removed(
        v6: bool,
        roots in prop::collection::vec(any::<u128>(), 1..12),
        routes in prop::collection::vec((any::<usize>(), any::<u128>(), 0u32..128, any::<u8>(), 0usize..20), 1..200),
        probes in prop::collection::vec((any::<usize>(), any::<u128>(), 0u32..128), 60),
    ) {
        let (mut table, mut oracle) = (AllowedIps::default(), Oracle::default());
        for (root, bits, kept, len, owner) in routes {
            let bits = mutated(roots[root % roots.len()], bits, kept);
            let prefix = any_prefix(v6, bits, len);
            table.insert(prefix, owner);
            oracle.insert(prefix, owner);
        }
        let probes: Vec<IpAddr> = probes
            .into_iter()
            .map(|(root, bits, kept)| mutated(roots[root % roots.len()], bits, kept))
            .map(|bits| any_prefix(v6, bits, u8::MAX).addr())
            .collect();
        for removed in 0..=20 {
            for probe in &probes {
                prop_assert_eq!(table.lookup(*probe), oracle.lookup(*probe), "{}", probe);
            }
            for (prefix, owner) in oracle.0.extract_if(.., |(_, owner)| *owner == removed) {
                prop_assert_eq!(table.remove(prefix), Some(owner));
            }
        }
        prop_assert!(oracle.0.is_empty());
        prop_assert!(probes.iter().all(|probe| table.lookup(*probe).is_none()));
    }
}
