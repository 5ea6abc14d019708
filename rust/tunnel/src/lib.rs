//! WireGuard's tunnel without I/O.
//!
//! [`Tunnel`] decides about packets; it opens no socket, starts no thread and
//! reads no clock of its own (the `boringtun` crate inside reads
//! `CLOCK_BOOTTIME`; tests replace it, see the feature `virtual-clock`).
//!
//! The contract: hand in what arrived ([`Tunnel::handle_datagrams`] from UDP,
//! [`Tunnel::handle_packets`] from the TUN device, [`Tunnel::handle_timeout`]
//! when [`Tunnel::poll_timeout`] says so), then send what the [`Outbox`] holds
//! and clear it.
#![forbid(unsafe_code)]

pub mod allowed_ips;
pub mod batch;
pub mod change;
pub mod constants;
mod cookie;
mod cookie_budget;
mod errand;
pub mod error;
pub mod event;
pub mod handover;
mod handshakes;
pub mod hub;
mod identity;
mod index;
pub mod key;
pub mod offload;
pub mod packet;
mod peer;
mod porter;
mod rate_limit;
mod reentry;
pub mod share;
pub mod stats;
mod timers;
mod tunnel;

pub use batch::{
    DatagramIn, DatagramsOut, Ecn, LocalAddress, Now, Outbox, PacketIn, PacketsOut, Transmit,
};
pub use change::{AllowedIpChange, PeerChange, TunnelChange};
pub use errand::Errand;
pub use error::Error;
pub use event::{Cause, Event, EventKind};
pub use handover::Handover;
pub use hub::Hub;
pub use key::{PresharedKey, PrivateKey, PublicKey};
pub use offload::VirtioHeader;
pub use porter::Porter;
pub use share::Share;
pub use stats::{Drops, HandshakeStats, PeerStatus};
pub use tunnel::Tunnel;
