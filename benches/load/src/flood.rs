//! Initiations of nobody: all that is right in them is MAC1, which takes the server's public key.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use blake2::digest::consts::U16;
use blake2::digest::{FixedOutput as _, KeyInit as _, Update as _};
use blake2::{Blake2s256, Blake2sMac, Digest as _};
use boringtun::x25519::PublicKey;
use socket2::{Domain, Protocol, Socket, Type};

const INITIATION: usize = 148;
/// Where MAC1 begins; MAC2 behind it stays zero (the paper, section 5.4.4).
const MAC1: usize = 116;
const HEADERS: usize = 28;

/// The sources: 10.128.0.0/9, which the server has to have a route to.
const SOURCES: u32 = 0x0a80_0000;
const SOURCE_BITS: u32 = 0x007f_ffff;

/// How often a burst is sent.
const BEAT: Duration = Duration::from_micros(200);

/// The largest burst: a machine that does not keep up shall not do it later.
const BURST: u64 = 1_000;

/// Sends initiations from random sources at an even pace; returns how many.
pub fn flood(
    server: SocketAddrV4,
    key: &PublicKey,
    rate: f64,
    duration: Duration,
) -> Result<u64, Box<dyn Error>> {
    // IPPROTO_RAW: the header is ours, and the kernel fills in its checksum.
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255)))?;
    socket.connect(&SocketAddr::from(server).into())?;
    let mac1_key = Blake2s256::new()
        .chain_update(b"mac1----")
        .chain_update(key.as_bytes())
        .finalize();
    let mac = Blake2sMac::<U16>::new_from_slice(&mac1_key)?;
    let mut packet = [0; HEADERS + INITIATION];
    packet[..2].copy_from_slice(&[0x45, 0]);
    packet[8..10].copy_from_slice(&[64, 17]);
    packet[16..20].copy_from_slice(&server.ip().octets());
    packet[22..24].copy_from_slice(&server.port().to_be_bytes());
    packet[24..26].copy_from_slice(&((8 + INITIATION) as u16).to_be_bytes());
    packet[HEADERS] = 1;
    let (start, mut sent) = (Instant::now(), 0u64);
    while start.elapsed() < duration {
        let due = (start.elapsed().as_secs_f64() * rate) as u64;
        let due = due.min(sent + BURST);
        while sent < due {
            // Any numbers do that are not the same each time (Knuth's multiplier).
            let drawn = (sent + 1).wrapping_mul(6_364_136_223_846_793_005);
            let source = Ipv4Addr::from_bits(SOURCES | (drawn >> 32) as u32 & SOURCE_BITS);
            packet[12..16].copy_from_slice(&source.octets());
            packet[20..22].copy_from_slice(&(1024 | drawn as u16).to_be_bytes());
            packet[HEADERS + 8..HEADERS + 16].copy_from_slice(&drawn.to_be_bytes());
            let mac1 = mac
                .clone()
                .chain(&packet[HEADERS..HEADERS + MAC1])
                .finalize_fixed();
            packet[HEADERS + MAC1..HEADERS + MAC1 + 16].copy_from_slice(&mac1);
            // A full queue is a loss like any other.
            let _ = socket.send(&packet);
            sent += 1;
        }
        thread::sleep(BEAT);
    }
    Ok(sent)
}
