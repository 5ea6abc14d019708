//! The IP header (RFC 791, RFC 8200).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use crate::packet::checksum;

/// Bytes of an IPv4 header without options.
pub(crate) const HEADER_LEN_4: usize = 20;
/// Bytes of the fixed IPv6 header.
pub(crate) const HEADER_LEN_6: usize = 40;
/// Bytes of the longest packet that either header can tell the length of; IPv6 could 40 more.
pub(crate) const MAX_PACKET: usize = 65_535;

/// Where an IPv4 header has its total length.
const TOTAL_LENGTH_4: usize = 2;
/// Where an IPv4 header has its identification.
const IDENTIFICATION_4: usize = 4;
/// Where an IPv4 header has its flags and fragment offset.
const FRAGMENT_4: usize = 6;
/// The flag DF among them.
const DONT_FRAGMENT: u16 = 0x4000;
/// Where an IPv4 header has its checksum.
const TTL_4: usize = 8;
const CHECKSUM_4: usize = 10;
/// Where an IPv6 header has its payload length.
const PAYLOAD_LENGTH_6: usize = 4;
const HOP_LIMIT_6: usize = 7;

/// What an IP header says, as far as anyone here asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Who sent the packet.
    pub source: IpAddr,
    /// Who is to get it.
    pub destination: IpAddr,
    /// The protocol number of what follows the header; for IPv6 the first next header, since
    /// extension headers are not walked.
    pub protocol: u8,
    /// Bytes of this header: with options for IPv4, without extension headers for IPv6.
    pub header_len: usize,
    /// Bytes of the whole packet as the header tells them; at most what was handed in.
    pub total_len: usize,
}

impl Header {
    /// Reads the header at the start of `packet`, behind which there may be padding.
    /// None unless version and lengths are sound; the IPv4 checksum is not looked at.
    #[inline]
    #[must_use]
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let header = match version(packet) {
            4 => {
                let fixed: &[u8; HEADER_LEN_4] = packet.first_chunk()?;
                Self {
                    source: IpAddr::V4(Ipv4Addr::from(array::<4>(fixed, 12))),
                    destination: IpAddr::V4(Ipv4Addr::from(array::<4>(fixed, 16))),
                    protocol: fixed[9],
                    header_len: header_len_4(packet)?,
                    total_len: usize::from(u16_at(fixed, TOTAL_LENGTH_4)),
                }
            }
            6 => {
                let fixed: &[u8; HEADER_LEN_6] = packet.first_chunk()?;
                Self {
                    source: IpAddr::V6(Ipv6Addr::from(array::<16>(fixed, 8))),
                    destination: IpAddr::V6(Ipv6Addr::from(array::<16>(fixed, 24))),
                    protocol: fixed[6],
                    header_len: HEADER_LEN_6,
                    total_len: HEADER_LEN_6 + usize::from(u16_at(fixed, PAYLOAD_LENGTH_6)),
                }
            }
            _ => return None,
        };
        (header.header_len <= header.total_len && header.total_len <= packet.len())
            .then_some(header)
    }
}

impl Header {
    /// Whether an IPv4 header has options, or hop-by-hop options follow an IPv6 header: every
    /// router on the way has to look at those.
    #[inline]
    #[must_use]
    pub fn has_options(&self) -> bool {
        match self.source {
            IpAddr::V4(_) => self.header_len > HEADER_LEN_4,
            IpAddr::V6(_) => self.protocol == 0,
        }
    }
}

/// The version nibble; zero when there is no byte.
#[inline]
pub(crate) fn version(packet: &[u8]) -> u8 {
    packet.first().map_or(0, |byte| byte >> 4)
}

/// Bytes of an IPv4 header with its options, from the IHL; none when that is below five.
#[inline]
pub(crate) fn header_len_4(packet: &[u8]) -> Option<usize> {
    let len = usize::from(packet.first()? & 0x0f) * 4;
    (len >= HEADER_LEN_4).then_some(len)
}

/// Whether an IPv4 packet is a fragment, or has the reserved flag set, which nobody does.
#[inline]
pub(crate) fn is_fragment_4(packet: &[u8]) -> bool {
    u16_at(packet, FRAGMENT_4) & !DONT_FRAGMENT != 0
}

/// Where in its datagram an IPv4 packet's payload belongs, in units of 8 bytes.
#[inline]
pub(crate) fn fragment_offset_4(packet: &[u8]) -> u16 {
    u16_at(packet, FRAGMENT_4) & 0x1fff
}

/// Whether an IPv4 packet has DF set.
#[inline]
pub(crate) fn dont_fragment_4(packet: &[u8]) -> bool {
    u16_at(packet, FRAGMENT_4) & DONT_FRAGMENT != 0
}

/// The identification of an IPv4 packet.
#[inline]
pub(crate) fn identification_4(packet: &[u8]) -> u16 {
    u16_at(packet, IDENTIFICATION_4)
}

/// Whether an IPv6 next header is one of the extension headers that TCP or UDP may stand behind:
/// hop-by-hop options, routing, fragment, destination options (RFC 8200, section 4).
#[inline]
pub(crate) fn is_extension_header(next_header: u8) -> bool {
    matches!(next_header, 0 | 43 | 44 | 60)
}

/// Where source and destination stand in a header of that version, 4 or 6.
#[inline]
pub(crate) fn addresses(version: u8) -> Range<usize> {
    if version == 4 { 12..20 } else { 8..40 }
}

/// Gives a sound IP header (all of its bytes, nothing else) a new total length, moves the IPv4
/// identification on by `step` and computes the IPv4 checksum anew.
pub(crate) fn rewrite(header: &mut [u8], total_len: u16, step: u16) {
    if version(header) == 6 {
        put_u16(header, PAYLOAD_LENGTH_6, total_len - HEADER_LEN_6 as u16);
        return;
    }
    put_u16(header, TOTAL_LENGTH_4, total_len);
    let identification = identification_4(header).wrapping_add(step);
    put_u16(header, IDENTIFICATION_4, identification);
    put_u16(header, CHECKSUM_4, 0);
    let checksum = !checksum::sum(header);
    put_u16(header, CHECKSUM_4, checksum);
}

/// Counts one hop on the way of a packet with a sound header; false, and nothing changed, where it
/// was the last one (RFC 1812, 5.3.1; RFC 8200, section 3).
pub(crate) fn decrement_ttl(packet: &mut [u8]) -> bool {
    let v4 = version(packet) == 4;
    let ttl = if v4 { TTL_4 } else { HOP_LIMIT_6 };
    if packet[ttl] <= 1 {
        return false;
    }
    let old = u16_at(packet, TTL_4);
    packet[ttl] -= 1;
    if v4 {
        update_checksum_4(packet, old, u16_at(packet, TTL_4));
    }
    true
}

/// The IPv4 checksum after the header's 16-bit word at an even offset has changed
/// (RFC 1624, equation 3).
pub(crate) fn update_checksum_4(packet: &mut [u8], old: u16, new: u16) {
    let sum = checksum::subtract(!u16_at(packet, CHECKSUM_4), old);
    put_u16(packet, CHECKSUM_4, !checksum::add(sum, new));
}

/// The big-endian number at `at`.
#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array(bytes, at))
}

/// Writes a big-endian number at `at`.
#[inline]
pub(crate) fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// The `N` bytes at `at`.
#[inline]
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V4: [u8; 20] = [
        0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];

    fn v6(payload: u8) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, payload, 58, 64];
        packet.extend(Ipv6Addr::LOCALHOST.octets());
        packet.extend("fd00::2".parse::<Ipv6Addr>().unwrap().octets());
        packet.resize(40 + usize::from(payload), 0);
        packet
    }

    #[test]
    fn reads_version_4() {
        let header = Header::parse(&V4).unwrap();
        assert_eq!(header.source, "10.0.0.1".parse::<IpAddr>().unwrap());
        assert_eq!(header.destination, "10.0.0.2".parse::<IpAddr>().unwrap());
        assert_eq!(
            (header.protocol, header.header_len, header.total_len),
            (17, 20, 20)
        );
    }

    #[test]
    fn reads_version_6() {
        let header = Header::parse(&v6(3)).unwrap();
        assert_eq!(header.source, "::1".parse::<IpAddr>().unwrap());
        assert_eq!(header.destination, "fd00::2".parse::<IpAddr>().unwrap());
        assert_eq!(
            (header.protocol, header.header_len, header.total_len),
            (58, 40, 43)
        );
    }

    #[test]
    fn leaves_padding_out() {
        assert_eq!(
            Header::parse(&[V4.as_slice(), &[0; 12]].concat())
                .unwrap()
                .total_len,
            20
        );
    }

    #[test]
    fn refuses_unsound_headers() {
        let changed = |at: usize, byte: u8| {
            let mut packet = V4;
            packet[at] = byte;
            Header::parse(&packet)
        };
        assert_eq!(Header::parse(&[]), None);
        assert_eq!(Header::parse(&V4[..19]), None);
        assert_eq!(Header::parse(&v6(0)[..39]), None);
        assert_eq!(Header::parse(&v6(3)[..42]), None, "shorter than it says");
        assert_eq!(changed(0, 0x44), None, "IHL 4");
        assert_eq!(changed(0, 0x46), None, "header longer than the packet");
        assert_eq!(changed(0, 0x55), None, "version 5");
        assert_eq!(changed(3, 21), None, "longer than what is there");
        assert_eq!(changed(3, 19), None, "shorter than its header");
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(packet in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(header) = Header::parse(&packet) {
                prop_assert!(header.header_len <= header.total_len);
                prop_assert!(header.total_len <= packet.len());
            }
        }
    }
}
