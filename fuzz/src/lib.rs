//! The bodies of the fuzz targets. They live with the simulation, whose nodes, link and clock they
//! use, and which replays their corpora with a stable compiler.

#![allow(dead_code, reason = "the simulation uses the rest")]

#[path = "../../rust/tunnel/tests/simulation/fuzz/mod.rs"]
mod fuzz;
#[path = "../../rust/tunnel/tests/simulation/initiator.rs"]
mod initiator;
#[path = "../../rust/tunnel/tests/simulation/world.rs"]
mod world;

/// The datagram entry.
pub fn datagrams(data: &[u8]) {
    fuzz::datagrams::run(data);
}

/// The TUN entry.
pub fn packets(data: &[u8]) {
    fuzz::packets::run(data);
}

/// What is written to the TUN device.
pub fn coalesce(data: &[u8]) {
    fuzz::coalesce::run(data);
}
