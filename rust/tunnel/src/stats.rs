//! Counters: what was dropped and why, and what a peer did.

use std::net::SocketAddr;
use std::ops::AddAssign;
use std::time::Duration;

use ipnet::IpNet;

use crate::key::{PresharedKey, PublicKey};

macro_rules! counters {
    ($(#[$about:meta])* $counters:ident: $($(#[$doc:meta])* $name:ident,)*) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl $counters {
            /// Every one by name.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }

        impl AddAssign for $counters {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counters! {
    /// Packets and datagrams that were dropped, by reason.
    Drops:
    /// Datagrams that are no WireGuard message: wrong type, reserved bits or size.
    malformed,
    /// Handshake messages whose MAC1 is wrong: the sender does not know our public key.
    mac1,
    /// Handshake messages that got a cookie reply instead of an answer.
    under_load,
    /// Handshake messages under load from an address that sends too many, or when all together ask
    /// for too many cookies.
    rate_limited,
    /// Initiations that came when too many others waited for their answer.
    crowded,
    /// Handshake messages from no peer of ours, or that do not decrypt, or that the peer sent before.
    handshake,
    /// Initiations of a peer that sends more than 50 a second.
    initiations,
    /// Messages with a receiver index that is not ours.
    unknown_index,
    /// Data messages without a session, with a wrong tag, or that were seen before.
    data,
    /// Authenticated packets that are no IP packet.
    not_ip,
    /// Authenticated packets whose source address belongs to another peer or to none.
    source_address,
    /// Packets from the TUN device to an address that no peer has.
    no_peer,
    /// Packets from the TUN device to a peer whose endpoint is not known.
    no_endpoint,
    /// Packets from the TUN device that are no IP packet or that cannot be split.
    tun_malformed,
    /// Datagrams of ours that the host's routes lead back into the tunnel, again and again.
    looped,
    /// Packets that waited for a handshake and were pushed out by newer ones, or given up.
    staged,
    /// Packets dropped at decapsulation because the outer header said congestion (RFC 6040).
    ecn,
    /// Packets and messages for another worker that was too far behind, or whose owner changed on
    /// the way.
    handover,
}

counters! {
    /// Handshakes, and the messages of them.
    HandshakeStats:
    /// Initiations that we sent, those that were sent again included.
    initiated,
    /// Responses that we sent.
    answered,
    /// Handshakes of either side that led to a session which both have proved to hold.
    completed,
    /// Cookie replies that we sent.
    cookies,
    /// Initiations that wait for their answer now.
    queued,
}

/// What is known of one peer.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Who.
    pub public_key: PublicKey,
    /// The preshared key, if there is one: the control socket shows it to root.
    pub preshared_key: Option<PresharedKey>,
    /// Where its last authenticated message came from, or what was configured.
    pub endpoint: Option<SocketAddr>,
    /// Its allowed IPs, IPv4 first, in order.
    pub allowed_ips: Vec<IpNet>,
    /// Unix time of the last completed handshake.
    pub last_handshake: Option<Duration>,
    /// Unix time of the first of our handshake initiations that nothing authenticated has followed;
    /// it stays when they are given up.
    pub initiating_since: Option<Duration>,
    /// UDP payload bytes of authenticated messages from it.
    pub rx_bytes: u64,
    /// UDP payload bytes sent to it.
    pub tx_bytes: u64,
    /// Seconds; 0 is off.
    pub persistent_keepalive: u16,
}
