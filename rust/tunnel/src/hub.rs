//! Which packets may cross from peer to peer inside the tunnel.

use std::net::IpAddr;

use rustc_hash::FxHashMap;

/// A bit for each class.
type Classes = [u64; 256 / 64];

/// Addresses in classes, and the pairs of classes whose traffic with each other goes straight.
///
/// It goes by addresses, as rules of a firewall do, and not by peers: an address that a peer gets
/// by other means than a whole new `Hub` crosses to nobody that the rules would not let it reach.
#[derive(Debug, Default)]
pub struct Hub {
    classes: FxHashMap<IpAddr, u8>,
    /// By class, up to the highest one with a link: whom it is linked with.
    links: Vec<Classes>,
}

impl Hub {
    /// From each address's class and the pairs of classes that are linked, in both directions. A
    /// class is linked with itself only if it is named so. Our own addresses are in no class: what
    /// is for us is for the kernel.
    pub fn new(
        classes: impl IntoIterator<Item = (IpAddr, u8)>,
        links: impl IntoIterator<Item = (u8, u8)>,
    ) -> Self {
        let mut hub = Self {
            classes: classes.into_iter().collect(),
            links: Vec::new(),
        };
        for (one, other) in links {
            hub.link(one, other);
            hub.link(other, one);
        }
        hub
    }

    fn link(&mut self, from: u8, to: u8) {
        let from = usize::from(from);
        if self.links.len() <= from {
            self.links.resize(from + 1, Classes::default());
        }
        self.links[from][usize::from(to / 64)] |= 1 << (to % 64);
    }

    /// Whether a packet between the two goes straight.
    pub(crate) fn joins(&self, source: IpAddr, destination: IpAddr) -> bool {
        let (Some(to), Some(from)) = (
            // In this order: of what a gateway's peers send, most goes elsewhere.
            self.classes.get(&destination),
            self.classes.get(&source),
        ) else {
            return false;
        };
        self.links
            .get(usize::from(*from))
            .is_some_and(|linked| linked[usize::from(to / 64)] >> (to % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Few addresses, of both families and with equal low bits.
    fn address() -> impl Strategy<Value = IpAddr> {
        (any::<bool>(), 0..32u8).prop_map(|(ipv6, host)| match ipv6 {
            false => [10, 0, 0, host].into(),
            true => IpAddr::from((0xffff_0a00_0000u128 + u128::from(host)).to_be_bytes()),
        })
    }

    /// Every class there can be, but often the same one.
    fn class() -> impl Strategy<Value = u8> {
        prop_oneof![0..4u8, any::<u8>(), Just(u8::MAX)]
    }

    proptest! {
        #[test]
        fn joins_equals_a_list_of_pairs(
            classes in prop::collection::hash_map(address(), class(), 0..40),
            links in prop::collection::vec((class(), class()), 0..12),
            probes in prop::collection::vec((address(), address()), 200),
        ) {
            let hub = Hub::new(classes.clone(), links.clone());
            for (source, destination) in probes {
                let expected = links.iter().any(|(one, other)| {
                    let has = |address, class| classes.get(&address) == Some(class);
                    (has(source, one) && has(destination, other))
                        || (has(source, other) && has(destination, one))
                });
                prop_assert_eq!(hub.joins(source, destination), expected);
                prop_assert_eq!(hub.joins(destination, source), expected);
            }
        }
    }

    #[test]
    fn without_links_nothing_goes_straight() {
        let one = IpAddr::from([10, 0, 0, 2]);
        let other = IpAddr::from([10, 0, 0, 3]);
        assert!(!Hub::default().joins(one, other));
        let unlinked = Hub::new([(one, 0), (other, 0)], []);
        assert!(!unlinked.joins(one, other) && !unlinked.joins(one, one));
    }
}
