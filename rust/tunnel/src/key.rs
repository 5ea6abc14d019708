//! Keys: Curve25519 private and public keys, and preshared keys.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use boringtun::x25519;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::Error;

/// Bytes of every key.
pub const KEY_SIZE: usize = 32;

/// Parses base64 (44 characters) or hexadecimal (64 digits), as `wg` and the control socket write keys.
fn parse(kind: &'static str, text: &str) -> Result<Zeroizing<[u8; KEY_SIZE]>, Error> {
    let problem = |problem| Error::Key { kind, problem };
    let mut bytes = Zeroizing::new([0; KEY_SIZE]);
    match text.len() {
        44 => {
            // 32 bytes are 43 characters and one `=`; the decoder wants room for a multiple of 3.
            let mut decoded = Zeroizing::new([0; 33]);
            let len = STANDARD
                .decode_slice(text, decoded.as_mut_slice())
                .map_err(|_| problem("not base64"))?;
            if len != KEY_SIZE {
                return Err(problem("not 32 bytes"));
            }
            bytes.copy_from_slice(&decoded[..KEY_SIZE]);
        }
        64 => hex::decode_to_slice(text, bytes.as_mut_slice())
            .map_err(|_| problem("not hexadecimal"))?,
        _ => return Err(problem("wrong length")),
    }
    Ok(bytes)
}

fn random() -> Zeroizing<[u8; KEY_SIZE]> {
    let mut bytes = Zeroizing::new([0; KEY_SIZE]);
    // Without the system's randomness no key may be made; there is nothing to fall back to.
    getrandom::getrandom(bytes.as_mut_slice()).expect("the system gives random bytes");
    bytes
}

/// A Curve25519 private key. Wiped when dropped; its `Debug` shows nothing.
#[derive(Clone)]
pub struct PrivateKey(x25519::StaticSecret);

impl PrivateKey {
    /// A new random key, clamped as RFC 7748, section 5 asks.
    #[must_use]
    pub fn generate() -> Self {
        Self::from_bytes(*random())
    }

    /// A key from its bytes, which are clamped (what `wg` does with a key that is not).
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_SIZE]) -> Self {
        let mut bytes = Zeroizing::new(bytes);
        bytes[0] &= 248;
        bytes[31] = (bytes[31] & 127) | 64;
        Self(x25519::StaticSecret::from(*bytes))
    }

    /// Parses base64 or hexadecimal.
    ///
    /// # Errors
    /// [`Error::Key`] if the text is neither, or not of 32 bytes.
    pub fn parse(text: &str) -> Result<Self, Error> {
        parse("private", text).map(|bytes| Self::from_bytes(*bytes))
    }

    /// The public key that belongs to it.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(*x25519::PublicKey::from(&self.0).as_bytes())
    }

    /// The bytes: handle with care.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<[u8; KEY_SIZE]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The key as base64: handle with care.
    #[must_use]
    pub fn reveal_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.reveal().as_slice()))
    }

    pub(crate) fn as_secret(&self) -> &x25519::StaticSecret {
        &self.0
    }
}

impl PartialEq for PrivateKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for PrivateKey {}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(<redacted>)")
    }
}

/// The points of low order (<https://cr.yp.to/ecdh.html#validate>), little-endian: 0, 1, the two
/// of order 8, p - 1, p and p + 1.
const LOW_ORDER_POINTS: [[u8; KEY_SIZE]; 7] = {
    let mut points = [[0; KEY_SIZE]; 7];
    points[1][0] = 1;
    points[2] = [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ];
    points[3] = [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef,
        0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f,
        0x11, 0x57,
    ];
    let mut near_p = 0;
    while near_p < 3 {
        points[4 + near_p] = [0xff; KEY_SIZE];
        points[4 + near_p][0] = 0xec + near_p as u8;
        points[4 + near_p][31] = 0x7f;
        near_p += 1;
    }
    points
};

/// A Curve25519 public key: who a peer is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; KEY_SIZE]);

impl PublicKey {
    /// A key from its bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_SIZE]) -> Self {
        Self(bytes)
    }

    /// Parses base64 or hexadecimal.
    ///
    /// # Errors
    /// [`Error::Key`] if the text is neither, or not of 32 bytes.
    pub fn parse(text: &str) -> Result<Self, Error> {
        parse("public", text).map(|bytes| Self(*bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_SIZE] {
        &self.0
    }

    /// Whether it is a point of low order: a Diffie-Hellman exchange with it
    /// gives zeros for every private key (RFC 7748, section 6.1), so it can
    /// authenticate nobody.
    #[must_use]
    pub fn is_low_order(&self) -> bool {
        let mut point = self.0;
        point[31] &= 0x7f; // X25519 ignores the top bit
        LOW_ORDER_POINTS.contains(&point)
    }

    pub(crate) fn to_x25519(self) -> x25519::PublicKey {
        x25519::PublicKey::from(self.0)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// A symmetric key that both ends mix into the handshake (the paper, section 5.2).
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PresharedKey([u8; KEY_SIZE]);

impl PresharedKey {
    /// A new random key.
    #[must_use]
    pub fn generate() -> Self {
        Self(*random())
    }

    /// A key from its bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_SIZE]) -> Self {
        Self(bytes)
    }

    /// Parses base64 or hexadecimal.
    ///
    /// # Errors
    /// [`Error::Key`] if the text is neither, or not of 32 bytes.
    pub fn parse(text: &str) -> Result<Self, Error> {
        parse("preshared", text).map(|bytes| Self(*bytes))
    }

    /// The bytes: handle with care.
    #[must_use]
    pub fn reveal(&self) -> &[u8; KEY_SIZE] {
        &self.0
    }

    /// The key as base64: handle with care.
    #[must_use]
    pub fn reveal_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0))
    }
}

impl PartialEq for PresharedKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for PresharedKey {}

impl fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresharedKey(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_are_parsed_alike() {
        let key = PrivateKey::generate();
        let hex = hex::encode(key.reveal().as_slice());
        assert_eq!(
            PrivateKey::parse(&key.reveal_base64()).expect("base64"),
            key
        );
        assert_eq!(PrivateKey::parse(&hex).expect("hex"), key);
    }

    #[test]
    fn bad_texts_are_refused_without_being_repeated() {
        for text in [
            "",
            "abc",
            &"!".repeat(44),
            &"g".repeat(64),
            &format!("{}==", "A".repeat(42)),
        ] {
            let error = PublicKey::parse(text).expect_err("not a key").to_string();
            assert!(error.starts_with("public key: "), "{error}");
            assert!(text.is_empty() || !error.contains(&format!("\"{text}\"")));
        }
    }

    #[test]
    fn secrets_do_not_show() {
        assert_eq!(
            format!("{:?}", PrivateKey::generate()),
            "PrivateKey(<redacted>)"
        );
        assert_eq!(
            format!("{:?}", PresharedKey::generate()),
            "PresharedKey(<redacted>)"
        );
    }

    /// The table against what it stands for: an exchange that gives zeros.
    #[test]
    fn low_order_points_are_those_that_contribute_nothing() {
        let contributes = |key: PublicKey| {
            PrivateKey::generate()
                .as_secret()
                .diffie_hellman(&key.to_x25519())
                .was_contributory()
        };
        for mut point in LOW_ORDER_POINTS {
            for _ in 0..2 {
                let key = PublicKey::from_bytes(point);
                assert!(key.is_low_order() && !contributes(key), "{key}");
                point[31] |= 0x80;
            }
        }
        let key = PrivateKey::generate().public_key();
        assert!(!key.is_low_order() && contributes(key));
    }
}
