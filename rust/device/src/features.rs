//! What a device uses of the kernel where the kernel has it. Each can be switched off, and each is
//! gone without where the kernel refuses it.

use std::iter;
use std::ops::BitAnd;

use crate::error::Error;

/// Each is named as the kernel names it, or as `ethtool` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// UDP sockets for IPv6.
    pub(crate) udp_ipv6: bool,
    /// Trains of datagrams to the kernel, which cuts them (`UDP_SEGMENT`; Linux 4.18).
    pub(crate) udp_gso: bool,
    /// Trains of datagrams from the kernel, which joins them (`UDP_GRO`; Linux 5.0).
    pub(crate) udp_gro: bool,
    /// A virtio header in front of every packet of the TUN device (`IFF_VNET_HDR`), without which
    /// there is none of the following.
    pub(crate) tun_vnet_hdr: bool,
    /// TCP super-packets from the kernel (`TUN_F_TSO4`, `TUN_F_TSO6`).
    pub(crate) tun_tso: bool,
    /// UDP super-packets from the kernel (`TUN_F_USO4`, `TUN_F_USO6`; Linux 6.2).
    pub(crate) tun_uso: bool,
    /// Super-packets to the kernel, which we join.
    pub(crate) tun_gro: bool,
}

impl Default for Features {
    /// All of them.
    fn default() -> Self {
        Self {
            udp_ipv6: true,
            udp_gso: true,
            udp_gro: true,
            tun_vnet_hdr: true,
            tun_tso: true,
            tun_uso: true,
            tun_gro: true,
        }
    }
}

impl Features {
    /// All but those of these names, and but what those carry.
    ///
    /// # Errors
    /// [`Error::Feature`] for a name that none has.
    pub fn without(names: &[impl AsRef<str>]) -> Result<Self, Error> {
        let mut features = Self::default();
        for name in names {
            let unwanted = features
                .switches()
                .into_iter()
                .find(|(known, _)| *known == name.as_ref());
            let Some((_, on)) = unwanted else {
                return Err(Error::Feature(name.as_ref().to_owned()));
            };
            *on = false;
        }
        if !features.tun_vnet_hdr {
            features.clear_offloads();
        }
        Ok(features)
    }

    /// Each by its name, with whether it is among these.
    pub fn iter(mut self) -> impl Iterator<Item = (&'static str, bool)> {
        self.switches().map(|(name, on)| (name, *on)).into_iter()
    }

    /// Takes out what only a virtio header carries.
    pub(crate) fn clear_offloads(&mut self) {
        self.tun_tso = false;
        self.tun_uso = false;
        self.tun_gro = false;
    }

    fn switches(&mut self) -> [(&'static str, &mut bool); 7] {
        [
            ("udp_ipv6", &mut self.udp_ipv6),
            ("udp_gso", &mut self.udp_gso),
            ("udp_gro", &mut self.udp_gro),
            ("tun_vnet_hdr", &mut self.tun_vnet_hdr),
            ("tun_tso", &mut self.tun_tso),
            ("tun_uso", &mut self.tun_uso),
            ("tun_gro", &mut self.tun_gro),
        ]
    }
}

impl BitAnd for Features {
    type Output = Self;

    /// What is among both.
    fn bitand(mut self, other: Self) -> Self {
        for ((_, on), (_, too)) in iter::zip(self.switches(), other.iter()) {
            *on &= too;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(features: Features) -> Vec<&'static str> {
        let on = features.iter().filter(|(_, on)| *on);
        on.map(|(name, _)| name).collect()
    }

    #[test]
    fn each_has_a_switch() {
        let all = names(Features::default());
        for name in &all {
            let rest = names(Features::without(&[name]).expect("known"));
            let gone: Vec<_> = all.iter().filter(|name| !rest.contains(name)).collect();
            match *name {
                "tun_vnet_hdr" => {
                    assert_eq!(gone, [&"tun_vnet_hdr", &"tun_tso", &"tun_uso", &"tun_gro"]);
                }
                name => assert_eq!(gone, [&name]),
            }
        }
        assert!(names(Features::without(&all).expect("known")).is_empty());
    }

    #[test]
    fn an_unknown_name_is_refused() {
        let refused = Features::without(&["tun_tso", "tso"]).expect_err("unknown");
        assert_eq!(
            refused.to_string(),
            "feature \"tso\": there is none of that name; there are udp_ipv6, udp_gso, udp_gro, \
             tun_vnet_hdr, tun_tso, tun_uso, tun_gro"
        );
    }

    #[test]
    fn what_is_among_both() {
        let one = Features::without(&["udp_gso"]).expect("known");
        let other = Features::without(&["udp_gro"]).expect("known");
        let both = Features::without(&["udp_gso", "udp_gro"]).expect("known");
        assert_eq!(one & other, both);
        assert_eq!(one & Features::default(), one);
    }
}
