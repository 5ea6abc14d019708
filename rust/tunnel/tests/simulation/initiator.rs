//! A client made from the paper alone (sections 5.4.2 to 5.4.7), which says what no honest one
//! would: any time stamp, any counter, any content.

use std::net::{Ipv4Addr, SocketAddr};

use blake2::digest::consts::U16;
use blake2::digest::{Digest, FixedOutput, KeyInit, Mac};
use blake2::{Blake2s256, Blake2sMac};
use boringtun::x25519;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hmac::SimpleHmac;
use wgbind_tunnel::{PeerChange, PublicKey};

use crate::world::{Kind, LATENCY, World, allowed};

/// Bytes of a handshake message behind what MAC1 covers: MAC1 and MAC2.
const MACS: usize = 32;

pub(crate) struct Initiator {
    private_key: x25519::StaticSecret,
    ephemeral: x25519::StaticSecret,
    responder: PublicKey,
    /// Zeros are none.
    pub(crate) preshared_key: [u8; 32],
    chaining_key: [u8; 32],
    hash: [u8; 32],
}

/// The keys of one session, on the initiator's side.
pub(crate) struct Session {
    receiver: u32,
    sending: ChaCha20Poly1305,
    receiving: ChaCha20Poly1305,
}

impl Initiator {
    pub(crate) fn new(private_key: [u8; 32], responder: PublicKey) -> Self {
        Self {
            private_key: x25519::StaticSecret::from(private_key),
            ephemeral: x25519::StaticSecret::from([1; 32]),
            responder,
            preshared_key: [0; 32],
            chaining_key: [0; 32],
            hash: [0; 32],
        }
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        PublicKey::from_bytes(x25519::PublicKey::from(&self.private_key).to_bytes())
    }

    /// A client with an inner address that node 0 knows as a peer.
    pub(crate) fn acquainted(world: &mut World, inner: Ipv4Addr) -> Self {
        let [.., number] = inner.octets();
        let initiator = Self::new([number; 32], world.nodes[0].public_key);
        let mut change = PeerChange::new(initiator.public_key());
        change.allowed_ips = vec![allowed(&format!("{inner}/32"))];
        world.apply_peer(0, change);
        initiator
    }

    /// Starts a session with node 0 at `time`, in seconds, and uses it once; none if it does not
    /// answer.
    pub(crate) fn dial(
        &mut self,
        world: &mut World,
        source: SocketAddr,
        time: u64,
    ) -> Option<Session> {
        let before = world.seen.len();
        let initiation = self.initiation(time as u32, time);
        world.deliver(0, source, &initiation);
        world.run(LATENCY);
        let response = world.seen[before..]
            .iter()
            .find(|seen| seen.kind == Kind::Response && seen.destination == source)?;
        let session = self.session(&response.bytes)?;
        world.deliver(0, source, &session.seal(0, &[]));
        Some(session)
    }

    /// An initiation from `sender`, our index, made at `time`, in seconds.
    pub(crate) fn initiation(&mut self, sender: u32, time: u64) -> Vec<u8> {
        let responder = self.responder;
        let responder = responder.as_bytes();
        self.chaining_key = hash(&[b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"]);
        let identifier = b"WireGuard v1 zx2c4 Jason@zx2c4.com";
        self.hash = hash(&[
            &hash(&[&self.chaining_key, identifier.as_slice()]),
            responder,
        ]);
        // Another one each time, and the same in each run.
        let ephemeral = hash(&[&time.to_le_bytes(), &sender.to_le_bytes()]);
        self.ephemeral = x25519::StaticSecret::from(ephemeral);
        let ephemeral = x25519::PublicKey::from(&self.ephemeral).to_bytes();

        let mut message = vec![1, 0, 0, 0];
        message.extend(sender.to_le_bytes());
        message.extend(ephemeral);
        [self.chaining_key] = kdf(&self.chaining_key, &ephemeral);
        self.mix(&ephemeral);
        let shared = exchange(&self.ephemeral, responder);
        let sealed = self.seal_next(&shared, self.public_key().as_bytes());
        message.extend(sealed);
        let shared = exchange(&self.private_key, responder);
        let mut stamp = (time | 1 << 62).to_be_bytes().to_vec();
        stamp.extend([0; 4]);
        let sealed = self.seal_next(&shared, &stamp);
        message.extend(sealed);
        message.extend([0; MACS]);
        sign(&mut message, &self.responder);
        message
    }

    /// The session that a response makes of our last initiation; none if it does not open.
    pub(crate) fn session(&self, response: &[u8]) -> Option<Session> {
        let ephemeral: [u8; 32] = response.get(12..44)?.try_into().ok()?;
        let [chaining_key] = kdf(&self.chaining_key, &ephemeral);
        let [chaining_key] = kdf(&chaining_key, &exchange(&self.ephemeral, &ephemeral));
        let [chaining_key] = kdf(&chaining_key, &exchange(&self.private_key, &ephemeral));
        let [chaining_key, mixed, key] = kdf(&chaining_key, &self.preshared_key);
        let transcript = hash(&[&hash(&[&self.hash, &ephemeral]), &mixed]);
        open(&cipher(&key), 0, response.get(44..60)?, &transcript)?;
        let [sending, receiving] = kdf(&chaining_key, &[]);
        Some(Session {
            receiver: u32::from_le_bytes(response[4..8].try_into().ok()?),
            sending: cipher(&sending),
            receiving: cipher(&receiving),
        })
    }

    fn mix(&mut self, bytes: &[u8]) {
        self.hash = hash(&[&self.hash, bytes]);
    }

    /// Mixes `shared` into the chaining key, and seals `plain` with what comes out.
    fn seal_next(&mut self, shared: &[u8; 32], plain: &[u8]) -> Vec<u8> {
        let [chaining_key, key] = kdf(&self.chaining_key, shared);
        self.chaining_key = chaining_key;
        let sealed = seal(&cipher(&key), 0, plain, &self.hash);
        self.mix(&sealed);
        sealed
    }
}

impl Session {
    /// A data message with any counter and content; it is not padded.
    pub(crate) fn seal(&self, counter: u64, plain: &[u8]) -> Vec<u8> {
        let mut message = vec![4, 0, 0, 0];
        message.extend(self.receiver.to_le_bytes());
        message.extend(counter.to_le_bytes());
        message.extend(seal(&self.sending, counter, plain, &[]));
        message
    }

    /// What a data message holds, with its padding.
    pub(crate) fn open(&self, message: &[u8]) -> Option<Vec<u8>> {
        let counter = u64::from_le_bytes(message.get(8..16)?.try_into().ok()?);
        open(&self.receiving, counter, &message[16..], &[])
    }
}

/// Writes the MAC1 that a handshake message to `receiver` must have.
pub(crate) fn sign(message: &mut [u8], receiver: &PublicKey) {
    let Some(covered) = message.len().checked_sub(MACS) else {
        return;
    };
    let key = hash(&[b"mac1----", receiver.as_bytes()]);
    let (covered, macs) = message.split_at_mut(covered);
    let mac = <Blake2sMac<U16> as KeyInit>::new_from_slice(&key)
        .unwrap()
        .chain_update(covered);
    macs[..16].copy_from_slice(&mac.finalize_fixed());
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut state = Blake2s256::new();
    for part in parts {
        Digest::update(&mut state, part);
    }
    state.finalize().into()
}

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut state = <SimpleHmac<Blake2s256> as KeyInit>::new_from_slice(key).unwrap();
    for part in parts {
        Mac::update(&mut state, part);
    }
    state.finalize_fixed().into()
}

/// KDF1 to KDF3 (the paper, section 5.4): HKDF.
fn kdf<const N: usize>(key: &[u8; 32], input: &[u8]) -> [[u8; 32]; N] {
    let secret = hmac(key, &[input]);
    let mut outputs = [[0; 32]; N];
    for n in 0..N {
        let before: &[u8] = if n == 0 { &[] } else { &outputs[n - 1] };
        outputs[n] = hmac(&secret, &[before, &[n as u8 + 1]]);
    }
    outputs
}

fn exchange(private_key: &x25519::StaticSecret, public_key: &[u8; 32]) -> [u8; 32] {
    let public_key = x25519::PublicKey::from(*public_key);
    private_key.diffie_hellman(&public_key).to_bytes()
}

fn cipher(key: &[u8; 32]) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(Key::from_slice(key))
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce.into()
}

fn seal(cipher: &ChaCha20Poly1305, counter: u64, msg: &[u8], aad: &[u8]) -> Vec<u8> {
    let payload = Payload { msg, aad };
    cipher.encrypt(&nonce(counter), payload).unwrap()
}

fn open(cipher: &ChaCha20Poly1305, counter: u64, msg: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
    let payload = Payload { msg, aad };
    cipher.decrypt(&nonce(counter), payload).ok()
}
