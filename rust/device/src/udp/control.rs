//! Control messages: what travels beside a datagram (cmsg(3), in the kernel's layout: length,
//! level, type, data, and padding to the size of a word).

use std::ffi::c_int;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wgbind_tunnel::{Ecn, LocalAddress};

const WORD: usize = size_of::<usize>();
const HEADER: usize = WORD + 2 * size_of::<c_int>();

/// The control messages of one datagram. The most that we ask for at once are a packet info of
/// 20 bytes and two integers: 88 bytes.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Control {
    bytes: [u8; Self::ROOM],
    len: usize,
}

/// What the kernel told about a received datagram.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) local: Option<LocalAddress>,
    pub(crate) ecn: Ecn,
    /// Bytes of each datagram, if UDP GRO joined several.
    pub(crate) segment_size: Option<usize>,
}

impl Control {
    pub(crate) const ROOM: usize = 128;
    pub(crate) const EMPTY: Self = Self {
        bytes: [0; Self::ROOM],
        len: 0,
    };

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(crate) fn as_mut_bytes(&mut self) -> &mut [u8; Self::ROOM] {
        &mut self.bytes
    }

    fn push(&mut self, level: c_int, kind: c_int, data: &[u8]) {
        let message = &mut self.bytes[self.len..][..HEADER + data.len()];
        message[..WORD].copy_from_slice(&(HEADER + data.len()).to_ne_bytes());
        message[WORD..WORD + 4].copy_from_slice(&level.to_ne_bytes());
        message[WORD + 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
        message[HEADER..].copy_from_slice(data);
        self.len += (HEADER + data.len()).next_multiple_of(WORD);
    }

    /// Send from this address and interface.
    pub(crate) fn push_local(&mut self, local: LocalAddress) {
        match local.ip {
            IpAddr::V4(ip) => {
                // struct in_pktinfo: interface, the address to send from, one that is ignored.
                let mut info = [0; 12];
                info[..4].copy_from_slice(&local.interface.to_ne_bytes());
                info[4..8].copy_from_slice(&ip.octets());
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            IpAddr::V6(ip) => {
                // struct in6_pktinfo: address, interface.
                let mut info = [0; 20];
                info[..16].copy_from_slice(&ip.octets());
                info[16..].copy_from_slice(&local.interface.to_ne_bytes());
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
        }
    }

    /// Send with this DSCP and ECN.
    pub(crate) fn push_traffic_class(&mut self, ipv6: bool, class: u8) {
        let (level, kind) = if ipv6 {
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS)
        } else {
            (libc::IPPROTO_IP, libc::IP_TOS)
        };
        self.push(level, kind, &c_int::from(class).to_ne_bytes());
    }

    /// Cut the bytes into datagrams of this size (UDP GSO).
    pub(crate) fn push_segment_size(&mut self, size: u16) {
        self.push(libc::SOL_UDP, libc::UDP_SEGMENT, &size.to_ne_bytes());
    }

    /// Reads the first `len` bytes, which the kernel filled in.
    pub(crate) fn parse(&self, len: usize) -> Received {
        let mut received = Received::default();
        let mut rest = &self.bytes[..len.min(Self::ROOM)];
        while let Some((level, kind, data, next)) = split_message(rest) {
            rest = next;
            match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => received.local = packet_info_v4(data),
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => received.local = packet_info_v6(data),
                // One byte, not an integer, unlike its IPv6 sister (kernel ip_cmsg_recv_tos).
                (libc::IPPROTO_IP, libc::IP_TOS) => {
                    received.ecn = data
                        .first()
                        .copied()
                        .map_or_else(Ecn::default, Ecn::from_traffic_class);
                }
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    received.ecn = Ecn::from_traffic_class(integer(data).unwrap_or(0) as u8);
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    received.segment_size = integer(data)
                        .and_then(|size| usize::try_from(size).ok())
                        .filter(|size| *size > 0);
                }
                _ => {}
            }
        }
        received
    }
}

/// Splits the first message off: level, type, data, and what follows.
fn split_message(bytes: &[u8]) -> Option<(c_int, c_int, &[u8], &[u8])> {
    let len = usize::from_ne_bytes(*bytes.first_chunk()?);
    let level = integer(bytes.get(WORD..)?)?;
    let kind = integer(bytes.get(WORD + 4..)?)?;
    let data = bytes.get(HEADER..len)?;
    let next = bytes.get(len.next_multiple_of(WORD)..).unwrap_or(&[]);
    Some((level, kind, data, next))
}

fn integer(bytes: &[u8]) -> Option<c_int> {
    bytes.first_chunk().copied().map(c_int::from_ne_bytes)
}

fn packet_info_v4(data: &[u8]) -> Option<LocalAddress> {
    // The second member is the address of ours to answer from; the third, the one in the
    // datagram's header, may be a broadcast.
    Some(LocalAddress {
        interface: u32::from_ne_bytes(*data.first_chunk()?),
        ip: Ipv4Addr::from(*data.get(4..)?.first_chunk::<4>()?).into(),
    })
}

fn packet_info_v6(data: &[u8]) -> Option<LocalAddress> {
    Some(LocalAddress {
        ip: Ipv6Addr::from(*data.first_chunk::<16>()?).into(),
        interface: u32::from_ne_bytes(*data.get(16..)?.first_chunk()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for ip in ["192.0.2.7", "2001:db8::7"] {
            let local = LocalAddress {
                ip: ip.parse().expect(ip),
                interface: 3,
            };
            let mut control = Control::EMPTY;
            control.push_segment_size(1452);
            control.push_local(local);
            control.push_traffic_class(local.ip.is_ipv6(), 0x89);
            let received = control.parse(control.as_bytes().len());
            assert_eq!(received.local, Some(local));
            assert_eq!(received.ecn, Ecn::Capable1);
        }
    }

    #[test]
    fn the_layout_is_that_of_the_c_library() {
        let mut control = Control::EMPTY;
        control.push_segment_size(9);
        // SAFETY: these functions only compute.
        let (length, space) = unsafe { (libc::CMSG_LEN(2), libc::CMSG_SPACE(2)) };
        assert_eq!(HEADER + 2, length as usize);
        assert_eq!(control.as_bytes().len(), space as usize);
    }

    #[test]
    fn mangled_messages_are_skipped() {
        let mut control = Control::EMPTY;
        control.push(libc::SOL_UDP, libc::UDP_GRO, &[0; 4]);
        control.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &[1; 3]);
        assert_eq!(control.parse(control.as_bytes().len()), Received::default());
        for len in [0_usize, 1, HEADER - 1, usize::MAX, usize::MAX - WORD] {
            control.bytes[..WORD].copy_from_slice(&len.to_ne_bytes());
            assert_eq!(
                control.parse(Control::ROOM),
                Received::default(),
                "length {len}"
            );
        }
    }
}
