//! Splitting what one read from the TUN device brings into IP packets.

use std::ops::Range;

use thiserror::Error;

use crate::offload::{GsoType, VirtioHeader};
use crate::packet::tcp::{self, flag};
use crate::packet::{checksum, ip, udp};

/// The virtio header and the packet behind it do not fit together.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the virtio header does not fit the packet behind it")]
pub struct Malformed;

/// Calls `each` for every IP packet in `buffer[..len]`, in order: once, with its checksum
/// completed, for a single packet; for each segment of a super-packet.
///
/// A segment is made in place: its headers are written in front of its payload, over the tail of
/// the segment before, which `each` has consumed by then. `each` gets the whole buffer and the
/// segment's range. What it writes behind the range it must put back before it returns, and the
/// headers in the range it must leave alone: the next segment's are made of them. Nothing was
/// handed out when the result is [`Malformed`].
///
/// Where the headers end is read from the packet; the virtio header's `header_len` is only a hint
/// (kernel `tun_get_user`), and not looked at.
pub fn split(
    header: &VirtioHeader,
    buffer: &mut [u8],
    len: usize,
    mut each: impl FnMut(&mut [u8], Range<usize>),
) -> Result<(), Malformed> {
    let packet = buffer.get_mut(..len).ok_or(Malformed)?;
    if header.gso_type == GsoType::None {
        if header.needs_checksum {
            let start = usize::from(header.checksum_start);
            let transport = packet.get_mut(start..).ok_or(Malformed)?;
            if !checksum::complete(transport, header.checksum_offset) {
                return Err(Malformed);
            }
        }
        each(buffer, 0..len);
        return Ok(());
    }

    let shape = Shape::read(header, packet).ok_or(Malformed)?;
    let mut start = 0;
    loop {
        let end = len.min(start + shape.headers_len + shape.segment_size);
        shape.write_headers(&mut buffer[start..end], start == 0, end == len);
        each(buffer, start..end);
        if end == len {
            return Ok(());
        }
        let next = start + shape.segment_size;
        buffer.copy_within(start..start + shape.headers_len, next);
        start = next;
    }
}

/// What all segments of a super-packet have in common.
struct Shape {
    /// TCP, otherwise UDP.
    tcp: bool,
    /// Where the transport header starts.
    transport: usize,
    /// Bytes of all headers.
    headers_len: usize,
    /// Payload bytes of each segment but the last.
    segment_size: usize,
    /// The super-packet's TCP flags.
    flags: u8,
    /// The sum over the pseudo-header without its length.
    pseudo_header: u16,
}

impl Shape {
    /// Reads the super-packet's headers. Every offset that [`Shape::write_headers`] uses is
    /// checked here.
    fn read(header: &VirtioHeader, packet: &[u8]) -> Option<Self> {
        let tcp = header.gso_type != GsoType::UdpL4;
        let version = ip::version(packet);
        let start = usize::from(header.checksum_start);
        let sound = match (version, header.gso_type) {
            (4, GsoType::Tcp4 | GsoType::UdpL4) => ip::header_len_4(packet) == Some(start),
            // Behind extension headers only the kernel knows where the transport header is.
            (6, GsoType::Tcp6 | GsoType::UdpL4) => start >= ip::HEADER_LEN_6,
            _ => false,
        };
        let transport = packet.get(start..)?;
        let (transport_len, checksum) = if tcp {
            (tcp::header_len(transport)?, tcp::CHECKSUM)
        } else {
            (udp::HEADER_LEN, udp::CHECKSUM)
        };
        let headers_len = start + transport_len;
        let segment_size = usize::from(header.gso_size);
        if !sound
            || !header.needs_checksum
            || usize::from(header.checksum_offset) != checksum
            || segment_size == 0
            || packet.len() < headers_len
            || packet.len().min(headers_len + segment_size) > ip::MAX_PACKET
        {
            return None;
        }
        let super_len = u16::try_from(transport.len()).ok()?;
        Some(Self {
            tcp,
            transport: start,
            headers_len,
            segment_size,
            flags: if tcp { transport[tcp::FLAGS] } else { 0 },
            // As the kernel does (`tcp_gso_segment`): what it began, less the super-packet's
            // length, is right behind an IPv6 routing header too.
            pseudo_header: checksum::subtract(ip::u16_at(transport, checksum), super_len),
        })
    }

    /// Makes the headers of one segment of those of the segment before (or, for the first, of
    /// the super-packet).
    fn write_headers(&self, segment: &mut [u8], first: bool, last: bool) {
        // At most `MAX_PACKET`, see `read`.
        let total_len = segment.len() as u16;
        let (network, transport) = segment.split_at_mut(self.transport);
        ip::rewrite(network, total_len, u16::from(!first));

        let transport_len = transport.len() as u16;
        let checksum = if self.tcp {
            if !first {
                let sequence = tcp::sequence(transport).wrapping_add(self.segment_size as u32);
                transport[tcp::SEQUENCE..][..4].copy_from_slice(&sequence.to_be_bytes());
            }
            // RFC 3168, section 6.1.2: one CWR is enough, on the first segment.
            let not_first = if first { 0 } else { flag::CWR };
            let not_last = if last { 0 } else { flag::LAST };
            transport[tcp::FLAGS] = self.flags & !not_first & !not_last;
            tcp::CHECKSUM
        } else {
            ip::put_u16(transport, udp::LENGTH, transport_len);
            udp::CHECKSUM
        };
        ip::put_u16(
            transport,
            checksum,
            checksum::add(self.pseudo_header, transport_len),
        );
        let sum = checksum::sum(transport);
        ip::put_u16(transport, checksum, checksum::finish(sum));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::batch::SLACK;
    use crate::packet::checksum::tests::slow_sum;
    use crate::packet::sample::Sample;

    /// What comes out, from a callee that pads as the tunnel does.
    fn collect(header: &VirtioHeader, packet: &[u8]) -> Result<Vec<Vec<u8>>, Malformed> {
        let mut buffer = [packet, &[0xee; SLACK]].concat();
        let mut packets = Vec::new();
        split(header, &mut buffer, packet.len(), |buffer, range| {
            packets.push(buffer[range.clone()].to_vec());
            let padding = range.end..range.end + 15;
            let saved = buffer[padding.clone()].to_vec();
            buffer[padding.clone()].fill(0);
            buffer[padding].copy_from_slice(&saved);
        })?;
        assert_eq!(buffer[packet.len()..], [0xee; SLACK]);
        Ok(packets)
    }

    fn header_of(sample: &Sample, gso_size: u16) -> VirtioHeader {
        VirtioHeader {
            needs_checksum: true,
            gso_type: match (sample.tcp, sample.v6) {
                (true, false) => GsoType::Tcp4,
                (true, true) => GsoType::Tcp6,
                (false, _) => GsoType::UdpL4,
            },
            header_len: 0,
            gso_size,
            checksum_start: sample.network_len() as u16,
            checksum_offset: sample.checksum_offset() as u16,
        }
    }

    /// Every segment built from scratch.
    fn segments(whole: &Sample, gso_size: usize) -> Vec<Vec<u8>> {
        let count = whole.payload.chunks(gso_size).count();
        let mut segments = Vec::new();
        let mut start = 0u32;
        for (n, payload) in whole.payload.chunks(gso_size).enumerate() {
            let mut segment = whole.clone();
            segment.payload = payload.to_vec();
            segment.sequence = whole.sequence.wrapping_add(start);
            segment.identification = whole.identification.wrapping_add(n as u16);
            if n > 0 {
                segment.flags &= !flag::CWR;
            }
            if n + 1 < count {
                segment.flags &= !flag::LAST;
            }
            segments.push(segment.build());
            start += payload.len() as u32;
        }
        segments
    }

    #[test]
    fn a_single_packet_passes_as_it_is() {
        let bytes = [1, 2, 3];
        assert_eq!(
            collect(&VirtioHeader::default(), &bytes),
            Ok(vec![bytes.to_vec()])
        );
    }

    #[test]
    fn a_begun_checksum_is_completed() {
        for (v6, tcp) in [(false, false), (false, true), (true, false), (true, true)] {
            let sample = Sample::new(v6, tcp);
            let header = VirtioHeader {
                gso_type: GsoType::None,
                ..header_of(&sample, 0)
            };
            assert_eq!(collect(&header, &sample.begin()), Ok(vec![sample.build()]));
        }
    }

    #[test]
    fn a_checksum_that_comes_out_zero_is_written_as_ones() {
        let mut sample = Sample::new(false, false);
        sample.payload = vec![0, 0];
        let checksum = u16::from_be_bytes([sample.build()[26], sample.build()[27]]);
        sample.payload = checksum.to_be_bytes().to_vec();
        let header = VirtioHeader {
            gso_type: GsoType::None,
            ..header_of(&sample, 0)
        };
        let packets = collect(&header, &sample.begin()).unwrap();
        assert_eq!(packets[0][26..28], [0xff, 0xff]);
    }

    #[test]
    fn a_super_packet_of_one_segment_is_that_segment() {
        let mut sample = Sample::new(false, true);
        sample.flags |= flag::CWR | flag::PSH;
        for gso_size in [100, 101, u16::MAX] {
            let packets = collect(&header_of(&sample, gso_size), &sample.begin());
            assert_eq!(packets, Ok(vec![sample.build()]));
        }
        sample.payload.clear();
        let packets = collect(&header_of(&sample, 100), &sample.begin());
        assert_eq!(packets, Ok(vec![sample.build()]));
    }

    #[test]
    fn extension_headers_are_carried_along() {
        let sample = Sample::new(true, true);
        let mut packet = sample.begin();
        // Destination options: next header TCP, eight bytes, one PadN of six.
        packet.splice(40..40, [6, 0, 1, 4, 0, 0, 0, 0]);
        packet[6] = 60;
        let header = VirtioHeader {
            checksum_start: 48,
            ..header_of(&sample, 60)
        };
        let packets = collect(&header, &packet).unwrap();
        let lens: Vec<usize> = packets.iter().map(Vec::len).collect();
        assert_eq!(lens, [48 + 20 + 60, 48 + 20 + 40]);
        for segment in packets {
            assert_eq!(segment[40..48], packet[40..48]);
            assert_eq!(usize::from(segment[5]), segment.len() - 40);
            let mut summed = segment[8..40].to_vec();
            summed.extend([0, 6, 0, (segment.len() - 48) as u8]);
            summed.extend(&segment[48..]);
            assert_eq!(slow_sum(&summed), 0xffff);
        }
    }

    #[test]
    fn what_does_not_fit_together_is_malformed() {
        let sample = Sample::new(false, true);
        let good = header_of(&sample, 60);
        let packet = sample.begin();
        assert!(collect(&good, &packet).is_ok());
        for (why, header) in [
            (
                "no size",
                VirtioHeader {
                    gso_size: 0,
                    ..good
                },
            ),
            (
                "no checksum begun",
                VirtioHeader {
                    needs_checksum: false,
                    ..good
                },
            ),
            (
                "other version",
                VirtioHeader {
                    gso_type: GsoType::Tcp6,
                    ..good
                },
            ),
            (
                "other protocol",
                VirtioHeader {
                    gso_type: GsoType::UdpL4,
                    ..good
                },
            ),
            (
                "inside the IP header",
                VirtioHeader {
                    checksum_start: 16,
                    ..good
                },
            ),
            (
                "behind the IP header",
                VirtioHeader {
                    checksum_start: 24,
                    ..good
                },
            ),
            (
                "behind the packet",
                VirtioHeader {
                    checksum_start: u16::MAX,
                    ..good
                },
            ),
            (
                "other field",
                VirtioHeader {
                    checksum_offset: 6,
                    ..good
                },
            ),
            (
                "single, field behind the packet",
                VirtioHeader {
                    gso_type: GsoType::None,
                    checksum_offset: 119,
                    ..good
                },
            ),
        ] {
            assert_eq!(collect(&header, &packet), Err(Malformed), "{why}");
        }
        assert_eq!(collect(&good, &packet[..39]), Err(Malformed), "cut off");
        assert_eq!(collect(&good, &[]), Err(Malformed), "empty");
        let datagram = Sample::new(false, false);
        assert_eq!(
            collect(&header_of(&datagram, 60), &datagram.begin()[..27]),
            Err(Malformed)
        );
        let over_6 = Sample::new(true, true);
        let inside = VirtioHeader {
            checksum_start: 36,
            ..header_of(&over_6, 60)
        };
        assert_eq!(collect(&inside, &[0x66; 200]), Err(Malformed));
        let mut short_offset = packet.clone();
        short_offset[32] = 0x40;
        assert_eq!(collect(&good, &short_offset), Err(Malformed));
        let mut long_offset = packet[..44].to_vec();
        long_offset[32] = 0xf0;
        assert_eq!(collect(&good, &long_offset), Err(Malformed));
        let mut buffer = packet.clone();
        assert_eq!(
            split(&good, &mut buffer, packet.len() + 1, |_, _| {}),
            Err(Malformed),
            "longer than its buffer"
        );
    }

    proptest! {
        #[test]
        fn segments_are_as_if_built_one_by_one(
            mut whole in Sample::any(9000),
            flags in any::<u8>(),
            gso_size in 1usize..2000,
        ) {
            whole.flags = flags;
            let header = header_of(&whole, gso_size as u16);
            prop_assert_eq!(collect(&header, &whole.begin()), Ok(segments(&whole, gso_size)));
        }

        #[test]
        fn nothing_panics(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            version in prop::option::of(prop::sample::select(vec![0x45u8, 0x46, 0x60])),
            needs_checksum: bool,
            gso_type in prop::sample::select(
                vec![GsoType::None, GsoType::Tcp4, GsoType::Tcp6, GsoType::UdpL4]),
            numbers: [u16; 4],
            small: [bool; 4],
        ) {
            let mut bytes = bytes;
            if let (Some(version), Some(first)) = (version, bytes.first_mut()) {
                *first = version;
            }
            let number = |n: usize| if small[n] { numbers[n] % 64 } else { numbers[n] };
            let header = VirtioHeader {
                needs_checksum,
                gso_type,
                header_len: number(0),
                gso_size: number(1),
                checksum_start: if number(2) % 3 == 0 { number(2) } else { 20 + number(2) % 2 * 20 },
                checksum_offset: if number(3) % 3 == 0 { number(3) } else { 6 + number(3) % 2 * 10 },
            };
            if let Ok(packets) = collect(&header, &bytes) {
                let payload: usize = packets.iter().map(Vec::len).sum();
                prop_assert!(payload >= bytes.len());
            }
        }
    }
}
