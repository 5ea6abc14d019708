//! Our own key, and what is derived from it: the check of MAC1, cookies, and
//! who an initiation claims to be from.

use std::net::SocketAddr;
use std::sync::Arc;

use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, Tunn, TunnResult};

use crate::constants::{COOKIE_REPLY_SIZE, HANDSHAKES_PER_SECOND};
use crate::key::{PrivateKey, PublicKey};

/// What is to be done with a handshake message.
pub(crate) enum Verdict {
    /// Handle it: MAC1 is right, and MAC2 where one was asked for.
    Accept,
    /// Answer with this cookie reply (the paper, section 5.4.7).
    Cookie([u8; COOKIE_REPLY_SIZE]),
    /// MAC1 is wrong: the sender does not know our public key. Stay silent.
    BadMac1,
}

/// Our key, in the forms that a handshake needs.
pub(crate) struct Identity {
    private_key: PrivateKey,
    public_key: PublicKey,
    /// Asks for cookies when there are too many handshake messages.
    limiter: RateLimiter,
    /// For the tunnels, which check each message a second time: it must not count twice
    /// (boringtun has no way to hand it a message that is verified already).
    unlimited: Arc<RateLimiter>,
}

impl Identity {
    /// `workers` of the same device share what it answers before it asks for cookies.
    pub(crate) fn new(private_key: PrivateKey, workers: usize) -> Self {
        let public_key = private_key.public_key();
        let limiter = |limit| RateLimiter::new(&public_key.to_x25519(), limit);
        Self {
            limiter: limiter(HANDSHAKES_PER_SECOND / workers as u64),
            unlimited: Arc::new(limiter(u64::MAX)),
            private_key,
            public_key,
        }
    }

    pub(crate) fn private_key(&self) -> &PrivateKey {
        &self.private_key
    }

    pub(crate) fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    pub(crate) fn unlimited(&self) -> Arc<RateLimiter> {
        Arc::clone(&self.unlimited)
    }

    /// Checks MAC1, and MAC2 under load, of a handshake message.
    pub(crate) fn verify(&self, source: SocketAddr, message: &[u8]) -> Verdict {
        // Counts once a second at most, by its own clock: forgotten, everybody would get cookies for ever.
        self.limiter.reset_count();
        let mut cookie = [0; COOKIE_REPLY_SIZE];
        match self
            .limiter
            .verify_packet(Some(source.ip()), message, &mut cookie)
        {
            Ok(_) => Verdict::Accept,
            Err(TunnResult::WriteToNetwork(_)) => Verdict::Cookie(cookie),
            Err(_) => Verdict::BadMac1,
        }
    }

    /// Whose initiation this claims to be. It proves only that the sender knows our public key
    /// and the peer's; the peer's tunnel checks the rest.
    pub(crate) fn initiator(&self, message: &[u8]) -> Option<PublicKey> {
        let Ok(Packet::HandshakeInit(initiation)) = Tunn::parse_incoming_packet(message) else {
            return None;
        };
        parse_handshake_anon(
            self.private_key.as_secret(),
            &self.public_key.to_x25519(),
            &initiation,
        )
        .ok()
        .map(|half| PublicKey::from_bytes(half.peer_static_public))
    }
}
