//! A WireGuard device on Linux: the TUN interface, the UDP sockets, the workers
//! that move packets between them through a [`wgbind_tunnel::Tunnel`], and the
//! control socket that `wg` talks to.
//!
//! All system calls of the project are in this crate, and all of its `unsafe`.

mod device;
mod errands;
mod error;
mod events;
mod exchange;
mod features;
mod foreign;
mod handed;
mod latch;
mod name;
mod porter;
mod remote;
mod routes;
mod steering;
mod sys;
#[cfg(test)]
mod testing;
mod tun;
mod uapi;
mod udp;
mod worker;

pub use device::{Device, DeviceChange, DeviceConfig, Ended, IoDrops, Snapshot};
pub use error::Error;
pub use events::Delivery;
pub use features::Features;
pub use foreign::ForeignChanges;
pub use handed::Handed;

/// The way of the fuzz target `uapi` to the parser of the control socket, which is private.
#[cfg(fuzzing)]
pub fn fuzz_uapi(data: &[u8]) {
    uapi::fuzz::run(data);
}
