//! What happens to peers, told in the moment when it happens.

use std::net::SocketAddr;
use std::time::Duration;

use crate::key::PublicKey;

/// Something that happened to one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Time since the Unix epoch.
    pub at: Duration,
    /// To whom.
    pub public_key: PublicKey,
    /// What.
    pub kind: EventKind,
    /// By what.
    pub cause: Cause,
    /// Where the peer is, or was last; none before its first message, if none was configured.
    pub endpoint: Option<SocketAddr>,
}

/// What happened.
///
/// After each [`EventKind::Connected`] comes one [`EventKind::Silent`], and between them all
/// [`EventKind::Rekeyed`] and [`EventKind::Roamed`] of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// The peer is configured now.
    Added,
    /// Another configuration of it: keys, endpoint, allowed IPs or keepalive.
    Changed {
        /// Whether it was given another endpoint.
        endpoint: bool,
    },
    /// The peer is not configured any more.
    Removed,
    /// A handshake was completed, the first since the peer was added or silent.
    Connected,
    /// Another handshake was completed.
    Rekeyed,
    /// Its authenticated messages come from another endpoint (the paper, section 2.1).
    Roamed {
        /// The endpoint before.
        from: SocketAddr,
    },
    /// Its sessions are over: no authenticated message for Reject-After-Time (the paper, section
    /// 6.2), or another private key of ours.
    Silent,
}

impl EventKind {
    /// One word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed { .. } => "changed",
            Self::Removed => "removed",
            Self::Connected => "connected",
            Self::Rekeyed => "rekeyed",
            Self::Roamed { .. } => "roamed",
            Self::Silent => "silent",
        }
    }
}

/// By what it happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// A change of the configuration by the program that owns the device.
    #[default]
    Configuration,
    /// A change of the configuration by whoever uses the control socket, such as `wg`.
    ControlSocket,
    /// A handshake that the peer began.
    PeerHandshake,
    /// A handshake that we began.
    OwnHandshake,
    /// An authenticated message of the peer.
    Message,
    /// Time that passed.
    Timeout,
}

impl Cause {
    /// One word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::ControlSocket => "control_socket",
            Self::PeerHandshake => "peer_handshake",
            Self::OwnHandshake => "own_handshake",
            Self::Message => "message",
            Self::Timeout => "timeout",
        }
    }
}
