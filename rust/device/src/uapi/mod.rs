//! The standard control socket, where `wg` and its kin configure a device
//! (<https://www.wireguard.com/xplatform/>, wireguard-go `device/uapi.go`).
//!
//! Whoever may write here owns the VPN, and whoever may read here has its private key: the socket
//! is for root and for the user that runs the device.

mod apply;
mod client;
mod format;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod listener;
mod parse;
mod seats;

pub(crate) use listener::ControlSocket;

#[cfg(test)]
mod tests;
