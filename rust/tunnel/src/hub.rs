//! Which packets may cross from peer to peer inside the tunnel.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::allowed_ips::AllowedIps;

/// Addresses whose traffic with each other goes straight.
#[derive(Debug, Default)]
pub(crate) struct Hub(Option<AllowedIps<bool>>);

impl Hub {
    /// From our interface's networks, each written with our own address in it: what is for us is
    /// for the kernel, and so is the broadcast address.
    pub(crate) fn new(networks: &[IpNet]) -> Self {
        if networks.is_empty() {
            return Self(None);
        }
        let mut table = AllowedIps::default();
        for network in networks {
            table.insert(*network, true);
        }
        for network in networks {
            table.insert(network.addr().into(), false);
            table.insert(network.network().into(), false);
            table.insert(network.broadcast().into(), false);
        }
        Self(Some(table))
    }

    /// Whether a packet between the two goes straight.
    pub(crate) fn joins(&self, source: IpAddr, destination: IpAddr) -> bool {
        self.0.as_ref().is_some_and(|table| {
            table.lookup(source) == Some(true) && table.lookup(destination) == Some(true)
        })
    }
}
