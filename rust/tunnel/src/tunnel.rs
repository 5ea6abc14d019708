//! The device-wide tunnel: peers, receiver indices and allowed IPs.

use std::time::Instant;

use crate::batch::{DatagramIn, Now, Outbox, PacketIn};
use crate::change::TunnelChange;
use crate::error::Error;
use crate::key::PublicKey;
use crate::stats::{Drops, PeerStatus};

/// All peers of one device and what is between them and us.
#[derive(Default)]
pub struct Tunnel {}

impl Tunnel {
    /// A tunnel without a key and without peers.
    #[must_use]
    pub fn new(_mtu: u16) -> Self {
        Self {}
    }

    /// Applies a change, all of it or nothing.
    pub fn apply(
        &mut self,
        _change: TunnelChange,
        _now: Now,
        _out: &mut Outbox,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// Takes datagrams from UDP.
    pub fn handle_datagrams(&mut self, _batch: &mut [DatagramIn], _now: Now, _out: &mut Outbox) {}

    /// Takes packets from the TUN device.
    pub fn handle_packets(&mut self, _batch: &mut [PacketIn], _now: Now, _out: &mut Outbox) {}

    /// Looks at the timers that are due.
    pub fn handle_timeout(&mut self, _now: Now, _out: &mut Outbox) {}

    /// When `handle_timeout` is to be called next, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }

    /// The private key, for the control socket.
    #[must_use]
    pub fn private_key(&self) -> Option<&crate::key::PrivateKey> {
        None
    }

    /// What is known of one peer.
    #[must_use]
    pub fn peer(&self, _public_key: &PublicKey) -> Option<PeerStatus> {
        None
    }

    /// Up to `limit` peers in the order in which they were added, from position `from` on, and
    /// the position to go on from, if there are more.
    #[must_use]
    pub fn peers(&self, _from: usize, _limit: usize) -> (Vec<PeerStatus>, Option<usize>) {
        (Vec::new(), None)
    }

    /// What was dropped since the start.
    #[must_use]
    pub fn drops(&self) -> Drops {
        Drops::default()
    }
}
