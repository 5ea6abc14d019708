//! Numbers of the protocol, and numbers of ours.

use std::time::Duration;

// --- The paper's (https://www.wireguard.com/papers/wireguard.pdf, section 6.1 and 5.4).

/// Bytes of a handshake initiation.
pub const HANDSHAKE_INITIATION_SIZE: usize = 148;
/// Bytes of a handshake response.
pub const HANDSHAKE_RESPONSE_SIZE: usize = 92;
/// Bytes of a cookie reply.
pub const COOKIE_REPLY_SIZE: usize = 64;
/// Bytes that a data message adds to a padded packet: header and tag.
pub const DATA_OVERHEAD: usize = 32;
/// Packets are padded with zeros to a multiple of this (section 5.4.6).
pub const PADDING: usize = 16;
/// Counters from here on are refused: 2^64 - 2^13 - 1.
pub const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);
/// The initiator of a session that old makes a new one.
pub const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);
/// A session that old is used no more.
pub const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);
/// An initiation without an answer is sent again after this.
pub const REKEY_TIMEOUT: Duration = Duration::from_secs(5);
/// Initiations without an answer are given up after this.
pub const REKEY_ATTEMPT_TIME: Duration = Duration::from_secs(90);
/// Received data that nothing answered for this long is answered with a keepalive.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Unanswered data for this long starts a handshake: Keepalive-Timeout + Rekey-Timeout.
pub const SILENCE: Duration = Duration::from_secs(15);
/// The kernel's limit of accepted initiations: 50 a second for a peer (`INITIATIONS_PER_SECOND`, messages.h).
pub const INITIATION_INTERVAL: Duration = Duration::from_millis(20);
/// DSCP AF41, the traffic class of handshake messages (`HANDSHAKE_DSCP`, kernel `messages.h`).
pub const HANDSHAKE_TRAFFIC_CLASS: u8 = 0x88;

// --- Ours.

/// Packets that wait for a peer's handshake; the oldest goes first (`MAX_STAGED_PACKETS`, kernel `messages.h`).
pub const MAX_STAGED_PACKETS: usize = 128;
/// Bytes that wait for handshakes, all peers together.
pub const MAX_STAGED_BYTES: usize = 16 << 20;
/// How often a peer with a tunnel looks at its timers. Twice in the second that the protocol's
/// obligations allow.
pub const TICK: Duration = Duration::from_millis(500);
/// A peer that goes from endpoint to endpoint is told of no more often than this.
pub const ROAMING_INTERVAL: Duration = Duration::from_secs(1);
/// Peer indices are 24 bits wide: boringtun uses the low 8 bits of a receiver index itself.
pub const MAX_PEERS: usize = 1 << 20;
/// The most datagrams that one `UDP_SEGMENT` send may carry on every kernel that knows it (`UDP_MAX_SEGMENTS`).
pub const MAX_SEGMENTS: usize = 64;
/// The most bytes of UDP payload that one send may carry: 65,535 less IPv4 and UDP headers, less 20 for IPv6's.
pub const MAX_TRANSMIT: usize = 65_487;
