//! One client: a boringtun tunnel with a key and an address that its number gives.

use std::net::Ipv4Addr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};

/// Room for any message that a client sends or gets.
pub const ROOM: usize = 2048;

pub struct Client {
    pub tunn: Tunn,
    pub connected: bool,
    /// An inner packet, padded as WireGuard pads; sent again and again.
    pub packet: Vec<u8>,
}

/// What a received message led to.
pub enum Outcome {
    /// The server answered: this is the first message of the session.
    Connected(Vec<u8>),
    /// The server is under load: this initiation carries its cookie.
    Again(Vec<u8>),
    Nothing,
}

impl Client {
    pub fn new(number: u32, server: PublicKey) -> Self {
        // A receiver index has 24 bits for the tunnel; the lowest 8 are boringtun's.
        let tunn = Tunn::new(secret(number), server, None, None, number, None);
        Self {
            tunn,
            connected: false,
            packet: Vec::new(),
        }
    }

    pub fn initiate(&mut self) -> Vec<u8> {
        let mut room = [0; ROOM];
        match self.tunn.format_handshake_initiation(&mut room, true) {
            TunnResult::WriteToNetwork(message) => message.to_vec(),
            _ => Vec::new(),
        }
    }

    pub fn handle(&mut self, message: &[u8]) -> Outcome {
        let mut room = [0; ROOM];
        match (message[0], self.tunn.decapsulate(None, message, &mut room)) {
            (2, TunnResult::WriteToNetwork(answer)) => Outcome::Connected(answer.to_vec()),
            (3, TunnResult::Done) => Outcome::Again(self.initiate()),
            _ => Outcome::Nothing,
        }
    }

    /// Seals the packet into the front of `room`; returns the message's length.
    pub fn seal(&mut self, room: &mut [u8]) -> usize {
        match self.tunn.encapsulate(&self.packet, room) {
            TunnResult::WriteToNetwork(message) => message.len(),
            _ => 0,
        }
    }
}

/// Which client a message from the server is for.
pub fn addressee(message: &[u8]) -> Option<usize> {
    let at = match message.first()? {
        2 => 8,
        3 | 4 => 4,
        _ => return None,
    };
    let index = message.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*index) as usize >> 8)
}

fn secret(number: u32) -> StaticSecret {
    let mut bytes = [0x5a; 32];
    // In the middle: the first and the last byte are clamped.
    bytes[8..12].copy_from_slice(&number.to_le_bytes());
    StaticSecret::from(bytes)
}

pub fn parse_key(text: &str) -> PublicKey {
    let bytes = STANDARD.decode(text).expect("a base64 key");
    PublicKey::from(<[u8; 32]>::try_from(bytes).expect("32 bytes"))
}

/// The client's address in the tunnel: 10.64.0.1 and up.
pub fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a40_0001 + number)
}

/// The client as `wg setconf` wants it.
pub fn configuration(number: u32) -> String {
    let key = STANDARD.encode(PublicKey::from(&secret(number)));
    let address = address(number);
    format!("[Peer]\nPublicKey = {key}\nAllowedIPs = {address}/32\n")
}

/// A UDP datagram with `size` bytes of payload and right checksums, padded to 16 bytes.
pub fn packet(from: Ipv4Addr, to: Ipv4Addr, size: usize) -> Vec<u8> {
    let udp_len = (8 + size) as u16;
    let mut packet = vec![0; 28 + size];
    packet[..2].copy_from_slice(&[0x45, 0]);
    packet[2..4].copy_from_slice(&(20 + udp_len).to_be_bytes());
    packet[6] = 0x40; // do not fragment
    packet[8..10].copy_from_slice(&[64, 17]);
    packet[12..16].copy_from_slice(&from.octets());
    packet[16..20].copy_from_slice(&to.octets());
    let checksum = !sum(&packet[..20], 0);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet[20..24].copy_from_slice(&[0x13, 0x88, 0x13, 0x88]);
    packet[24..26].copy_from_slice(&udp_len.to_be_bytes());
    let pseudo_header = sum(&packet[12..20], 17 + u32::from(udp_len));
    let checksum = match !sum(&packet[20..], u32::from(pseudo_header)) {
        0 => 0xffff,
        checksum => checksum,
    };
    packet[26..28].copy_from_slice(&checksum.to_be_bytes());
    packet.resize(packet.len().next_multiple_of(16), 0);
    packet
}

fn sum(bytes: &[u8], start: u32) -> u16 {
    let mut total = start;
    for word in bytes.chunks(2) {
        total += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}
