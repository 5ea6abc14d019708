//! Typed configuration changes: what the control socket and the Python API ask of a tunnel.
//!
//! A field that is `None` is left as it is, so that changing one thing about a
//! peer never touches its session. The names follow the cross-platform
//! interface (<https://www.wireguard.com/xplatform/>).

use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::event::Cause;
use crate::hub::Hub;
use crate::key::{PresharedKey, PrivateKey, PublicKey};

/// A change of the whole tunnel, applied at once or not at all.
#[derive(Clone, Debug, Default)]
pub struct TunnelChange {
    /// A new private key; `Some(None)` removes it.
    pub private_key: Option<Option<PrivateKey>>,
    /// Which peers reach each other without a detour through the kernel, which alone knows rules,
    /// other routes and connections; all of it anew. It is shared, for each worker looks into it.
    pub hub: Option<Arc<Hub>>,
    /// Remove the peers that `peers` does not name.
    pub replace_peers: bool,
    /// Changes of single peers, applied in order.
    pub peers: Vec<PeerChange>,
    /// By whom it is: the cause of the events that come of it.
    pub cause: Cause,
}

/// A change of one peer.
#[derive(Clone, Debug)]
pub struct PeerChange {
    /// Which peer.
    pub public_key: PublicKey,
    /// Remove it; the rest is ignored.
    pub remove: bool,
    /// Change it only if it exists.
    pub update_only: bool,
    /// A new preshared key; `Some(None)` removes it.
    pub preshared_key: Option<Option<PresharedKey>>,
    /// A new endpoint.
    pub endpoint: Option<SocketAddr>,
    /// A new persistent keepalive interval in seconds; 0 switches it off.
    pub persistent_keepalive: Option<u16>,
    /// Forget all allowed IPs before `allowed_ips` is applied.
    pub replace_allowed_ips: bool,
    /// Allowed IPs to add or remove, in order.
    pub allowed_ips: Vec<AllowedIpChange>,
}

impl PeerChange {
    /// A change that adds the peer, or leaves it as it is.
    #[must_use]
    pub fn new(public_key: PublicKey) -> Self {
        Self {
            public_key,
            remove: false,
            update_only: false,
            preshared_key: None,
            endpoint: None,
            persistent_keepalive: None,
            replace_allowed_ips: false,
            allowed_ips: Vec::new(),
        }
    }
}

/// An allowed IP to give to a peer (and to take from whoever has it), or to take from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowedIpChange {
    /// The prefix; host bits are ignored.
    pub prefix: IpNet,
    /// Take it from the peer instead.
    pub remove: bool,
}

impl AllowedIpChange {
    /// Gives `prefix` to the peer.
    #[must_use]
    pub fn add(prefix: IpNet) -> Self {
        Self {
            prefix,
            remove: false,
        }
    }
}
