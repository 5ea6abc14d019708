//! ICMP errors (RFC 792, RFC 4443).

use std::net::{IpAddr, Ipv4Addr};

use crate::packet::checksum;
use crate::packet::ip::{self, HEADER_LEN_4, HEADER_LEN_6};

/// ICMP's protocol number.
const PROTOCOL_4: u8 = 1;
/// ICMPv6's.
const PROTOCOL_6: u8 = 58;
/// Bytes of an error before the packet that it is about.
const ERROR_HEADER_LEN: usize = 8;
/// An error over IPv4 has no more bytes (RFC 1812, section 4.3.2.3).
const MAX_ERROR_4: usize = 576;
/// Nor has any: IPv6's least MTU (RFC 4443, section 2.4 c).
pub(crate) const MAX_ERROR: usize = 1280;
/// Internetwork control, the precedence of errors (RFC 1812, section 4.3.2.5).
const TRAFFIC_CLASS: u8 = 0xc0;
const TTL: u8 = 64;

/// Writes to `room`, of [`MAX_ERROR`] bytes, that the host that a packet is for cannot be reached:
/// "host unreachable" or "address unreachable", as the kernel's WireGuard says. Returns its length;
/// none if no error may be sent about this packet.
///
/// It comes from the unreachable address: the host would take no packet from outside that comes
/// from one of its own.
pub(crate) fn unreachable(header: &ip::Header, packet: &[u8], room: &mut [u8]) -> Option<usize> {
    let packet = &packet[..header.total_len];
    if !may_be_told(header, packet) {
        return None;
    }
    let (header_len, max, kind, code) = match header.source {
        IpAddr::V4(_) => (HEADER_LEN_4, MAX_ERROR_4, 3, 1),
        IpAddr::V6(_) => (HEADER_LEN_6, MAX_ERROR, 1, 3),
    };
    let quoted = packet.len().min(max - header_len - ERROR_HEADER_LEN);
    let len = header_len + ERROR_HEADER_LEN + quoted;
    let error = room.get_mut(..len)?;
    error[..header_len + ERROR_HEADER_LEN].fill(0);
    error[header_len] = kind;
    error[header_len + 1] = code;
    error[header_len + ERROR_HEADER_LEN..].copy_from_slice(&packet[..quoted]);
    let sum = match (header.destination, header.source) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            error[0] = 0x45;
            error[1] = TRAFFIC_CLASS;
            error[8] = TTL;
            error[9] = PROTOCOL_4;
            error[12..16].copy_from_slice(&from.octets());
            error[16..20].copy_from_slice(&to.octets());
            ip::rewrite(&mut error[..HEADER_LEN_4], len as u16, 0);
            0
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            error[0] = 0x60 | TRAFFIC_CLASS >> 4;
            error[1] = TRAFFIC_CLASS << 4;
            error[6] = PROTOCOL_6;
            error[7] = TTL;
            error[8..24].copy_from_slice(&from.octets());
            error[24..40].copy_from_slice(&to.octets());
            let payload_len = (len - HEADER_LEN_6) as u16;
            ip::rewrite(&mut error[..HEADER_LEN_6], len as u16, 0);
            checksum::pseudo_header(&error[8..40], PROTOCOL_6, payload_len)
        }
        _ => return None,
    };
    let sum = checksum::add(sum, checksum::sum(&error[header_len..]));
    ip::put_u16(error, header_len + 2, checksum::finish(sum));
    Some(len)
}

/// Whether an error may be sent about a packet (RFC 1122, section 3.2.2; RFC 4443, section 2.4 e):
/// not about another error, nor to or about anything but one host.
fn may_be_told(header: &ip::Header, packet: &[u8]) -> bool {
    match (header.source, header.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            is_one_host(source)
                && is_one_host(destination)
                && ip::fragment_offset_4(packet) == 0
                && (header.protocol != PROTOCOL_4
                    || packet
                        .get(header.header_len)
                        .is_some_and(|kind| is_query_4(*kind)))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let is_host =
                |address: std::net::Ipv6Addr| !address.is_unspecified() && !address.is_multicast();
            is_host(source) && is_host(destination) && !may_be_error_6(header, packet)
        }
        _ => false,
    }
}

fn is_one_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first != 0 && first != 127 && first < 224
}

/// Echo, timestamp, information and address mask; whatever else there may be is
/// taken for an error, as the kernel does (`icmp_send`).
fn is_query_4(kind: u8) -> bool {
    matches!(kind, 0 | 8 | 13..=18)
}

/// Whether an IPv6 packet is an ICMPv6 error or a redirect, or hides what it is.
fn may_be_error_6(header: &ip::Header, packet: &[u8]) -> bool {
    let mut protocol = header.protocol;
    let mut at = header.header_len;
    while ip::is_extension_header(protocol) {
        let Some([next, len, offset, flags]) = packet.get(at..).and_then(<[u8]>::first_chunk)
        else {
            return true;
        };
        let is_fragment = protocol == 44;
        if is_fragment && (*offset, flags & 0xf8) != (0, 0) {
            return true;
        }
        at += if is_fragment {
            8
        } else {
            8 + usize::from(*len) * 8
        };
        protocol = *next;
    }
    protocol == PROTOCOL_6
        && packet
            .get(at)
            .is_none_or(|kind| *kind < 128 || *kind == 137)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::checksum::tests::slow_sum;
    use crate::packet::sample::Sample;

    fn tell(packet: &[u8]) -> Option<Vec<u8>> {
        let mut room = vec![0xee; MAX_ERROR];
        let header = ip::Header::parse(packet).expect("sound");
        let len = unreachable(&header, packet, &mut room)?;
        room.truncate(len);
        Some(room)
    }

    fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let len = 20 + payload.len() as u16;
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
        packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend(payload);
        ip::rewrite(&mut packet[..20], len, 0);
        packet
    }

    fn v6(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, payload.len() as u8, protocol, 64];
        for last in [1, 2] {
            packet.extend([0xfd; 15]);
            packet.push(last);
        }
        packet.extend(payload);
        packet
    }

    proptest! {
        /// Against the definitions: addresses change places, both checksums are right, and as much
        /// of the packet is quoted as may be.
        #[test]
        fn errors_are_sound(sample in Sample::any(3000)) {
            let packet = sample.build();
            let before = ip::Header::parse(&packet).unwrap();
            let error = tell(&packet).unwrap();
            let header = ip::Header::parse(&error).unwrap();
            prop_assert_eq!(header.source, before.destination);
            prop_assert_eq!(header.destination, before.source);
            prop_assert_eq!(header.total_len, error.len());
            let message = &error[header.header_len..];
            let quoted = &message[8..];
            prop_assert_eq!(quoted, &packet[..quoted.len()]);
            let max = if sample.v6 { MAX_ERROR } else { MAX_ERROR_4 };
            let wanted = (header.header_len + 8 + packet.len()).min(max);
            prop_assert_eq!(error.len(), wanted);
            if sample.v6 {
                prop_assert_eq!((header.protocol, &message[..2]), (58, &[1, 3][..]));
                let mut summed = error[8..40].to_vec();
                summed.extend((message.len() as u32).to_be_bytes());
                summed.extend([0, 0, 0, 58]);
                summed.extend(message);
                prop_assert_eq!(slow_sum(&summed), 0xffff);
            } else {
                prop_assert_eq!((header.protocol, &message[..2]), (1, &[3, 1][..]));
                prop_assert_eq!(slow_sum(&error[..20]), 0xffff);
                prop_assert_eq!(slow_sum(message), 0xffff);
            }
        }

        #[test]
        fn anything_sound_is_told_of_or_not(packet in prop::collection::vec(any::<u8>(), 20..120)) {
            if ip::Header::parse(&packet).is_some() {
                tell(&packet);
            }
        }
    }

    #[test]
    fn errors_are_not_told_of() {
        for kind in 0..=255 {
            let is_query = [0, 8, 13, 14, 15, 16, 17, 18].contains(&kind);
            assert_eq!(tell(&v4(1, &[kind; 8])).is_some(), is_query, "ICMP {kind}");
            let is_query = kind >= 128 && kind != 137;
            assert_eq!(
                tell(&v6(58, &[kind; 8])).is_some(),
                is_query,
                "ICMPv6 {kind}"
            );
            let mut behind_options = vec![58, 0, 0, 0, 0, 0, 0, 0];
            behind_options.push(kind);
            let told = tell(&v6(60, &behind_options)).is_some();
            assert_eq!(told, is_query, "ICMPv6 {kind} behind options");
        }
        assert_eq!(tell(&v4(1, &[])), None, "which kind is not there");
        assert_eq!(tell(&v6(58, &[])), None, "which kind is not there");
        assert_eq!(tell(&v6(60, &[58, 7])), None, "options are cut off");
        assert_eq!(
            tell(&v6(44, &[17, 0, 0, 8, 0, 0, 0, 0])),
            None,
            "a later fragment"
        );
        assert!(
            tell(&v6(44, &[17, 0, 0, 1, 0, 0, 0, 0])).is_some(),
            "the first"
        );
    }

    #[test]
    fn only_single_hosts_are_told_of_each_other() {
        for address in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4]] {
            for at in [12, 16] {
                let mut packet = v4(17, &[0; 8]);
                packet[at..at + 4].copy_from_slice(&address);
                assert_eq!(tell(&packet), None, "{address:?} at {at}");
            }
        }
        for at in [8, 24] {
            let mut packet = v6(17, &[0; 8]);
            packet[at] = 0xff;
            assert_eq!(tell(&packet), None, "multicast at {at}");
            packet[at..at + 16].fill(0);
            assert_eq!(tell(&packet), None, "unspecified at {at}");
        }
        let mut fragment = v4(17, &[0; 8]);
        fragment[7] = 1;
        assert_eq!(tell(&fragment), None);
    }
}
