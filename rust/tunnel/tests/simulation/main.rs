//! Nodes on a virtual clock, joined by a link that the test controls.
//!
//! Time only moves when a test says so, for the tunnels and for the boringtun
//! inside them (feature `virtual-clock`). The constants here are typed from the
//! paper, not imported: the tests ask for conformance to it, not to ourselves.

#![expect(
    clippy::unwrap_used,
    reason = "clippy.toml lets tests unwrap, but sees no test here"
)]

mod world;

mod chaos;
mod configuration;
mod data;
mod events;
mod handshake;
mod hub;
mod roaming;
mod silence;
mod timers;
