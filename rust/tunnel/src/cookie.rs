//! Cookies: under load, who wants to be answered proves that it receives what is sent to its
//! address (the paper, section 5.4.7; kernel `cookie.c`).
//!
//! boringtun's own checker leaves the port out, keeps one secret for good and measures load by
//! counting messages of everybody.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use blake2::digest::consts::U16;
use blake2::digest::{FixedOutput, KeyInit, Update};
use blake2::{Blake2s256, Blake2sMac, Digest};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::constants::COOKIE_REPLY_SIZE;
use crate::key::PublicKey;

/// How long a secret makes cookies (`COOKIE_SECRET_MAX_AGE`, kernel `messages.h`).
const SECRET_AGE: Duration = Duration::from_secs(120);

/// Bytes of a MAC, and of a cookie.
const MAC: usize = 16;

const LABEL_MAC1: &[u8] = b"mac1----";
const LABEL_COOKIE: &[u8] = b"cookie--";

/// Checks MAC1 and MAC2 of handshake messages to us, and makes cookies.
pub(crate) struct CookieChecker {
    mac1_key: [u8; 32],
    reply_cipher: XChaCha20Poly1305,
    secret: Zeroizing<[u8; 32]>,
    /// When the secret was made; none before it is needed.
    made: Option<Instant>,
}

impl CookieChecker {
    /// For messages to the owner of this key.
    pub(crate) fn new(public_key: &PublicKey) -> Self {
        let key = |label: &[u8]| -> [u8; 32] {
            Blake2s256::new()
                .chain_update(label)
                .chain_update(public_key.as_bytes())
                .finalize()
                .into()
        };
        Self {
            mac1_key: key(LABEL_MAC1),
            reply_cipher: XChaCha20Poly1305::new(&key(LABEL_COOKIE).into()),
            secret: Zeroizing::default(),
            made: None,
        }
    }

    /// Whether MAC1 is right: the sender knows our public key. The message is of a handshake, all of it.
    pub(crate) fn knows_our_key(&self, message: &[u8]) -> bool {
        let (signed, macs) = message.split_at(message.len() - 2 * MAC);
        mac(&self.mac1_key, &[signed]).ct_eq(&macs[..MAC]).into()
    }

    /// Whether MAC2 is right: the sender has received the cookie that we sent to this address.
    pub(crate) fn is_there(&mut self, message: &[u8], source: SocketAddr, now: Instant) -> bool {
        let (signed, mac2) = message.split_at(message.len() - MAC);
        // Without a cookie it is zeros (the paper, section 5.4.4).
        mac2 != [0; MAC] && mac(&self.cookie(source, now), &[signed]).ct_eq(mac2).into()
    }

    /// The answer to a message whose MAC1 is right.
    pub(crate) fn reply(
        &mut self,
        message: &[u8],
        source: SocketAddr,
        now: Instant,
    ) -> [u8; COOKIE_REPLY_SIZE] {
        let cookie = self.cookie(source, now);
        let mut reply = [0; COOKIE_REPLY_SIZE];
        reply[0] = 3;
        // Both handshake messages have their sender's index there.
        reply[4..8].copy_from_slice(&message[4..8]);
        let (head, sealed) = reply.split_at_mut(32);
        let nonce = &mut head[8..];
        random(nonce);
        let payload = Payload {
            msg: &cookie,
            aad: &message[message.len() - 2 * MAC..message.len() - MAC],
        };
        // It fails only for more bytes than there are.
        if let Ok(bytes) = self
            .reply_cipher
            .encrypt(XNonce::from_slice(nonce), payload)
        {
            sealed.copy_from_slice(&bytes);
        }
        reply
    }

    /// Writes the MAC1 of a message that a test has changed.
    #[cfg(test)]
    pub(crate) fn sign(&self, message: &mut [u8]) {
        let (signed, macs) = message.split_at_mut(message.len() - 2 * MAC);
        macs[..MAC].copy_from_slice(&mac(&self.mac1_key, &[signed]));
    }

    fn cookie(&mut self, source: SocketAddr, now: Instant) -> [u8; MAC] {
        if self
            .made
            .is_none_or(|made| now.saturating_duration_since(made) >= SECRET_AGE)
        {
            random(self.secret.as_mut_slice());
            self.made = Some(now);
        }
        let port = source.port().to_be_bytes();
        match source {
            SocketAddr::V4(source) => mac(&self.secret[..], &[&source.ip().octets(), &port]),
            SocketAddr::V6(source) => mac(&self.secret[..], &[&source.ip().octets(), &port]),
        }
    }
}

/// Keyed BLAKE2s of 16 bytes.
fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; MAC] {
    let mut mac = Blake2sMac::<U16>::new_from_slice(key).expect("a key of at most 32 bytes");
    for part in parts {
        mac.update(part);
    }
    mac.finalize_fixed().into()
}

fn random(bytes: &mut [u8]) {
    // There is nothing sensible to do without the system's randomness.
    getrandom::getrandom(bytes).expect("the system gives random bytes");
}

#[cfg(test)]
mod tests {
    use boringtun::noise::{Tunn, TunnResult};

    use super::*;
    use crate::constants::HANDSHAKE_INITIATION_SIZE;
    use crate::key::PrivateKey;

    /// A client as others write it.
    struct Client(Tunn);

    impl Client {
        fn new(server: &PublicKey) -> Self {
            let key = PrivateKey::generate();
            Self(Tunn::new(
                key.as_secret().clone(),
                server.to_x25519(),
                None,
                None,
                1,
                None,
            ))
        }

        fn initiation(&mut self) -> Vec<u8> {
            let mut room = [0; HANDSHAKE_INITIATION_SIZE];
            match self.0.format_handshake_initiation(&mut room, true) {
                TunnResult::WriteToNetwork(message) => message.to_vec(),
                other => panic!("{other:?}"),
            }
        }

        fn takes(&mut self, reply: &[u8]) -> bool {
            let mut room = [0; HANDSHAKE_INITIATION_SIZE];
            let taken = self.0.decapsulate(None, reply, &mut room);
            matches!(taken, TunnResult::Done)
        }
    }

    fn sources() -> [SocketAddr; 4] {
        [
            "192.0.2.1:7",
            "192.0.2.1:8",
            "192.0.2.2:7",
            "[2001:db8::1]:7",
        ]
        .map(|source| source.parse().expect(source))
    }

    #[test]
    fn mac1_shows_who_knows_our_key() {
        let key = PrivateKey::generate().public_key();
        let other = PrivateKey::generate().public_key();
        let mut message = Client::new(&key).initiation();
        assert!(CookieChecker::new(&key).knows_our_key(&message));
        assert!(!CookieChecker::new(&other).knows_our_key(&message));
        for at in [0, 60, 115, 116, 131] {
            message[at] ^= 1;
            assert!(
                !CookieChecker::new(&key).knows_our_key(&message),
                "byte {at}"
            );
            message[at] ^= 1;
        }
    }

    #[test]
    fn a_cookie_is_good_for_one_address_and_port_and_two_minutes() {
        let key = PrivateKey::generate().public_key();
        let start = Instant::now();
        for source in sources() {
            let mut checker = CookieChecker::new(&key);
            let mut client = Client::new(&key);
            let message = client.initiation();
            assert!(!checker.is_there(&message, source, start));
            let reply = checker.reply(&message, source, start);
            assert!(client.takes(&reply));
            let message = client.initiation();
            assert!(checker.knows_our_key(&message));
            let almost = start + SECRET_AGE - Duration::from_nanos(1);
            assert!(checker.is_there(&message, source, almost));
            for other in sources().into_iter().filter(|other| *other != source) {
                assert!(!checker.is_there(&message, other, almost), "{other}");
            }
            assert!(!checker.is_there(&message, source, start + SECRET_AGE));
        }
    }

    #[test]
    fn a_reply_is_for_one_message_only() {
        let key = PrivateKey::generate().public_key();
        let mut checker = CookieChecker::new(&key);
        let mut client = Client::new(&key);
        let (now, source) = (Instant::now(), sources()[0]);
        let old = client.initiation();
        client.initiation();
        let reply = checker.reply(&old, source, now);
        assert!(!client.takes(&reply), "MAC1 of another message");
        assert_eq!(reply[..8], [&[3, 0, 0, 0], &old[4..8]].concat());
        assert_ne!(reply, checker.reply(&old, source, now), "another nonce");
    }
}
