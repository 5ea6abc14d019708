//! Our own key, and what only its owner can tell: who an initiation claims to be from.

use std::sync::Arc;

use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, Tunn};

use crate::key::{PrivateKey, PublicKey};

/// Our key, in the forms that a handshake needs.
pub(crate) struct Identity {
    private_key: PrivateKey,
    public_key: PublicKey,
    /// For the tunnels, which check each message a second time (boringtun has no way to hand it a
    /// message that is verified already) and must not ask for cookies of their own.
    unlimited: Arc<RateLimiter>,
}

impl Identity {
    pub(crate) fn new(private_key: PrivateKey) -> Self {
        let public_key = private_key.public_key();
        Self {
            unlimited: Arc::new(RateLimiter::new(&public_key.to_x25519(), u64::MAX)),
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

    /// Whose initiation this claims to be. It proves only that the sender knows our public key
    /// and the peer's; the peer's tunnel checks the rest.
    ///
    /// The paper (section 5.4.2) and the kernel refuse an exchange with a point that contributes
    /// nothing, boringtun does not look: such an ephemeral key is nobody's, and nobody owns such a
    /// static one, for everybody can compute what it shares with ours.
    pub(crate) fn initiator(&self, message: &[u8]) -> Option<PublicKey> {
        if has_low_order_ephemeral(&message[8..40]) {
            return None;
        }
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
        .filter(|public_key| !public_key.is_low_order())
    }
}

/// Whether the ephemeral key of a handshake message is a point of low order.
pub(crate) fn has_low_order_ephemeral(bytes: &[u8]) -> bool {
    bytes
        .try_into()
        .is_ok_and(|bytes| PublicKey::from_bytes(bytes).is_low_order())
}

#[cfg(test)]
mod tests {
    use blake2::digest::{FixedOutput, KeyInit, Update};
    use blake2::{Blake2s256, Digest};
    use chacha20poly1305::ChaCha20Poly1305;
    use chacha20poly1305::aead::{Aead, Payload};

    use super::*;

    const CONSTRUCTION: &[u8] = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
    const IDENTIFIER: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";

    fn hash(parts: [&[u8]; 2]) -> [u8; 32] {
        let hash = Blake2s256::new().chain_update(parts[0]);
        hash.chain_update(parts[1]).finalize().into()
    }

    fn hmac(key: &[u8], parts: [&[u8]; 2]) -> [u8; 32] {
        let mut mac = hmac::SimpleHmac::<Blake2s256>::new_from_slice(key).expect("any length");
        Update::update(&mut mac, parts[0]);
        Update::update(&mut mac, parts[1]);
        mac.finalize_fixed().into()
    }

    /// An initiation as the paper writes it (section 5.4.2) as far as the static key that it claims,
    /// and zeros.
    fn initiation(to: &PublicKey, claimed: &PublicKey) -> [u8; 148] {
        let ephemeral = PrivateKey::generate();
        let ephemeral_public = ephemeral.public_key();
        let chaining_key = hash([CONSTRUCTION, b""]);
        let h = hash([&hash([&chaining_key, IDENTIFIER]), to.as_bytes()]);
        let chaining_key = hmac(
            &hmac(&chaining_key, [ephemeral_public.as_bytes(), b""]),
            [&[1], b""],
        );
        let h = hash([&h, ephemeral_public.as_bytes()]);
        let shared = ephemeral.as_secret().diffie_hellman(&to.to_x25519());
        let secret = hmac(&chaining_key, [shared.as_bytes(), b""]);
        let key = hmac(&secret, [&hmac(&secret, [&[1], b""]), &[2]]);
        let sealed = ChaCha20Poly1305::new(&key.into()).encrypt(
            &Default::default(),
            Payload {
                msg: claimed.as_bytes(),
                aad: &h,
            },
        );
        let mut message = [0; 148];
        message[0] = 1;
        message[8..40].copy_from_slice(ephemeral_public.as_bytes());
        message[40..88].copy_from_slice(&sealed.expect("32 bytes"));
        message
    }

    #[test]
    fn nobody_claims_a_key_that_is_everybodys() {
        let identity = Identity::new(PrivateKey::generate());
        let honest = PrivateKey::generate().public_key();
        let mut message = initiation(identity.public_key(), &honest);
        assert_eq!(identity.initiator(&message), Some(honest));
        message[8..40].fill(0);
        assert_eq!(identity.initiator(&message), None, "ephemeral key");
        let nobody = PublicKey::from_bytes([0; 32]);
        let message = initiation(identity.public_key(), &nobody);
        assert_eq!(identity.initiator(&message), None, "static key");
    }
}
