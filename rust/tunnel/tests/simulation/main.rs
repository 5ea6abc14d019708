//! Nodes on a virtual clock, joined by a link that the test controls.
//!
//! Time only moves when a test says so, for the tunnels and for the boringtun
//! inside them (feature `virtual-clock`). The constants here are typed from the
//! paper, not imported: the tests ask for conformance to it, not to ourselves.

#![expect(
    clippy::unwrap_used,
    reason = "clippy.toml lets tests unwrap, but sees no test here"
)]

mod initiator;
mod world;

mod chaos;
mod clock;
mod configuration;
mod cookies;
mod data;
mod eavesdropper;
mod events;
mod flood;
mod fuzz;
mod handshake;
mod hub;
mod keepalive;
mod late;
mod preshared_key;
mod renewal;
mod replay;
mod roaming;
mod silence;
mod tampering;
mod timers;
