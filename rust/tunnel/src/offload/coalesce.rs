//! Joining decrypted packets of one flow, so that one write to the TUN device and one walk
//! through the kernel's stack carry many.
//!
//! The rules are those of the kernel's receive offload (`inet_gro_receive`, `ipv6_gro_receive`,
//! `tcp_gro_receive`, `udp_gro_receive_segment`): what is joined can be split into the same
//! packets again. Two differences, both on the side of less: CWR is never joined, and UDP without
//! a checksum neither. One on the side of more: see [`Group::network_continues`].

use std::hash::Hasher;
use std::ops::Range;

use rustc_hash::FxHasher;

use crate::offload::{GsoType, VirtioHeader};
use crate::packet::tcp::{self, flag};
use crate::packet::{checksum, ip, udp};

/// Packets in one write. The kernel takes no more for UDP (`UDP_MAX_SEGMENTS` before 6.9), and
/// with usual sizes the 64 KiB are full before.
const MAX_SEGMENTS: usize = 64;

/// Slots of the flow table.
const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 9;

/// 2^64 over the golden ratio; odd, so that its powers are.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A slot without a flow.
const EMPTY: u32 = u32::MAX;

/// What the kernel behind the TUN device splits by itself (`TUNSETOFFLOAD`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads {
    /// TCP over either version (`TUN_F_TSO4`, `TUN_F_TSO6`).
    pub tcp: bool,
    /// UDP over either version (`TUN_F_USO4`, `TUN_F_USO6`; Linux 6.2).
    pub udp: bool,
}

/// One write to the TUN device: the virtio header, then the bytes of all ranges in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write<'a> {
    /// What goes in front.
    pub header: VirtioHeader,
    /// A packet, then the payloads of those that were joined to it.
    pub ranges: &'a [Range<usize>],
}

/// Plans writes, batch by batch; keeps its memory in between.
#[derive(Debug)]
pub struct Coalescer {
    offloads: Offloads,
    /// By hash of the flow: the group that the flow's next packet may join. A flow that collides
    /// with another displaces it, which costs a join and never the order.
    table: Box<[u32; SLOTS]>,
    /// Odd, new for each batch, part of the hash: flows that collide now do not collide for ever.
    multiplier: u64,
    /// One for each write, in the order of their first packets.
    groups: Vec<Group>,
    /// Which group gets which bytes, in the order of arrival.
    parts: Vec<(u32, Range<usize>)>,
    /// The parts in the order of their groups.
    ranges: Vec<Range<usize>>,
}

impl Coalescer {
    /// A coalescer that joins what `offloads` allow.
    #[must_use]
    pub fn new(offloads: Offloads) -> Self {
        Self {
            offloads,
            table: Box::new([EMPTY; SLOTS]),
            multiplier: GOLDEN,
            groups: Vec::new(),
            parts: Vec::new(),
            ranges: Vec::new(),
        }
    }

    /// Plans the writes for `packets`, which lie in `buffer` apart from each other.
    ///
    /// Packets of one flow stay in order. A checksum is verified before its packet is joined; one
    /// that is wrong is passed on alone and as it came, for the kernel to count and drop. The
    /// headers of a packet that others were joined to are rewritten in `buffer`.
    pub fn plan<'a>(
        &'a mut self,
        buffer: &mut [u8],
        packets: &[Range<usize>],
    ) -> impl Iterator<Item = Write<'a>> + use<'a> {
        self.groups.clear();
        self.parts.clear();
        self.table.fill(EMPTY);
        self.multiplier = self.multiplier.wrapping_mul(GOLDEN);
        for range in packets {
            let group = self.place(buffer, range);
            self.parts.push(group);
        }
        self.arrange();
        for group in &mut self.groups {
            if group.segments > 1 {
                group.header = group.write_headers(buffer);
            }
        }
        self.groups.iter().map(|group| Write {
            header: group.header,
            ranges: &self.ranges[group.parts.clone()],
        })
    }

    /// Finds the group for a packet, and the bytes of it that the group needs.
    fn place(&mut self, buffer: &[u8], range: &Range<usize>) -> (u32, Range<usize>) {
        let next = self.groups.len() as u32;
        let packet = buffer.get(range.clone()).unwrap_or_default();
        match Packet::read(packet, range.start, self.offloads) {
            Packet::Segment(segment) => {
                let slot = self.slot(&segment, packet);
                let open = self.table[slot];
                if let Some(group) = self.groups.get_mut(open as usize)
                    && group.join(buffer, packet, &segment)
                {
                    if !group.may_grow(&segment) {
                        self.table[slot] = EMPTY;
                    }
                    return (open, range.start + segment.headers_len..range.end);
                }
                self.table[slot] = if segment.leads { next } else { EMPTY };
                self.groups.push(Group::new(segment));
            }
            Packet::Opaque => {
                self.table.fill(EMPTY);
                self.groups.push(Group::new(Segment::default()));
            }
            Packet::Other => self.groups.push(Group::new(Segment::default())),
        }
        (next, range.clone())
    }

    /// The table's slot for a packet's flow.
    fn slot(&self, segment: &Segment, packet: &[u8]) -> usize {
        let ports = ip::array(packet, segment.transport);
        let mut hasher = FxHasher::default();
        hasher.write_u8(segment.protocol().0);
        hasher.write_u32(u32::from_ne_bytes(ports));
        hasher.write(&packet[ip::addresses(ip::version(packet))]);
        // The upper bits of a product with a random odd factor are a universal hash.
        (hasher.finish().wrapping_mul(self.multiplier) >> (u64::BITS - SLOT_BITS)) as usize
    }

    /// Lays the parts of each group side by side.
    fn arrange(&mut self) {
        let mut start = 0;
        for group in &mut self.groups {
            group.parts = start..start;
            start += group.segments;
        }
        self.ranges.resize(start, 0..0);
        for (group, range) in self.parts.drain(..) {
            let parts = &mut self.groups[group as usize].parts;
            self.ranges[parts.end] = range;
            parts.end += 1;
        }
    }
}

/// What a packet is to the coalescer.
enum Packet {
    /// A packet of a flow that may be joined.
    Segment(Segment),
    /// Of which flow does not show: a fragment, behind IP options or extension headers, or broken.
    /// No later packet may overtake it, whatever its flow.
    Opaque,
    /// Of no flow that is joined.
    Other,
}

impl Packet {
    fn read(packet: &[u8], start: usize, offloads: Offloads) -> Self {
        let Some(header) = ip::Header::parse(packet) else {
            return Self::Opaque;
        };
        let tcp = match header.protocol {
            tcp::PROTOCOL if offloads.tcp => true,
            udp::PROTOCOL if offloads.udp => false,
            protocol if header.source.is_ipv6() && ip::is_extension_header(protocol) => {
                return Self::Opaque;
            }
            _ => return Self::Other,
        };
        let plain = header.source.is_ipv6()
            || header.header_len == ip::HEADER_LEN_4 && !ip::is_fragment_4(packet);
        if !plain || header.total_len != packet.len() {
            return Self::Opaque;
        }
        match Segment::read(packet, start, header.header_len, tcp) {
            Some(segment) => Self::Segment(segment),
            None => Self::Opaque,
        }
    }
}

/// A TCP segment or UDP datagram with all its headers.
#[derive(Clone, Copy, Debug, Default)]
struct Segment {
    /// Where the packet starts in the buffer.
    start: usize,
    /// TCP, otherwise UDP.
    tcp: bool,
    /// Where in the packet the transport header starts.
    transport: usize,
    /// Bytes of all headers.
    headers_len: usize,
    /// Bytes behind them.
    payload_len: usize,
    /// FIN and PSH, which are the last segment's alone.
    last_flags: u8,
    /// Whether it may be joined to others.
    joins: bool,
    /// Whether others may be joined to it.
    leads: bool,
}

impl Segment {
    /// Reads what follows a sound IP header; none if that is no whole transport header.
    fn read(packet: &[u8], start: usize, network_len: usize, tcp: bool) -> Option<Self> {
        let transport = &packet[network_len..];
        let (transport_len, flags, sound) = if tcp {
            let len = tcp::header_len(transport)?;
            let flags = transport[tcp::FLAGS];
            (len, flags, flags & flag::ALONE == 0)
        } else {
            let fixed: &[u8; udp::HEADER_LEN] = transport.first_chunk()?;
            let sound = usize::from(ip::u16_at(fixed, udp::LENGTH)) == transport.len()
                && ip::u16_at(fixed, udp::CHECKSUM) != 0;
            (udp::HEADER_LEN, 0, sound)
        };
        let payload_len = transport.len() - transport_len;
        let joins = sound && payload_len > 0;
        let last_flags = flags & flag::LAST;
        Some(Self {
            start,
            tcp,
            transport: network_len,
            headers_len: network_len + transport_len,
            payload_len,
            last_flags,
            joins,
            leads: joins && last_flags == 0,
        })
    }

    /// Protocol number and offset of the checksum in the transport header.
    fn protocol(&self) -> (u8, usize) {
        if self.tcp {
            (tcp::PROTOCOL, tcp::CHECKSUM)
        } else {
            (udp::PROTOCOL, udp::CHECKSUM)
        }
    }

    /// The sum over the pseudo-header for a transport header and payload of `len` bytes.
    fn pseudo_header(&self, packet: &[u8], len: usize) -> u16 {
        let addresses = &packet[ip::addresses(ip::version(packet))];
        // At most `ip::MAX_PACKET`.
        checksum::pseudo_header(addresses, self.protocol().0, len as u16)
    }

    /// Whether the checksums are right: the IPv4 header's and the transport's.
    fn verify(&self, packet: &[u8]) -> bool {
        let (network, transport) = packet.split_at(self.transport);
        let pseudo_header = self.pseudo_header(packet, transport.len());
        (ip::version(packet) == 6 || checksum::sum(network) == 0xffff)
            && checksum::add(pseudo_header, checksum::sum(transport)) == 0xffff
    }
}

/// The packets of one write.
#[derive(Debug)]
struct Group {
    /// The first packet.
    lead: Segment,
    /// Whether the first packet's checksums are known to be right.
    verified: bool,
    /// Packets.
    segments: usize,
    /// Payload bytes of all packets.
    payload_len: usize,
    /// FIN and PSH of the last packet.
    last_flags: u8,
    /// What goes in front.
    header: VirtioHeader,
    /// Where its parts are in [`Coalescer::ranges`].
    parts: Range<usize>,
}

impl Group {
    fn new(lead: Segment) -> Self {
        Self {
            lead,
            verified: false,
            segments: 1,
            payload_len: lead.payload_len,
            last_flags: lead.last_flags,
            header: VirtioHeader::default(),
            parts: 0..0,
        }
    }

    /// Joins a packet if it goes on where the group ends. The first packet of a group that is
    /// asked must be one that leads.
    fn join(&mut self, buffer: &[u8], packet: &[u8], segment: &Segment) -> bool {
        let lead = &self.lead;
        let first = &buffer[lead.start..][..lead.headers_len + lead.payload_len];
        let fits = segment.joins
            && segment.tcp == lead.tcp
            && segment.transport == lead.transport
            && segment.headers_len == lead.headers_len
            && segment.payload_len <= lead.payload_len
            && lead.headers_len + self.payload_len + segment.payload_len <= ip::MAX_PACKET
            && self.network_continues(first, packet)
            && self.transport_continues(&first[lead.transport..], &packet[lead.transport..]);
        if !fits {
            return false;
        }
        self.verified = self.verified || lead.verify(first);
        if !self.verified || !segment.verify(packet) {
            return false;
        }
        self.segments += 1;
        self.payload_len += segment.payload_len;
        self.last_flags = segment.last_flags;
        true
    }

    /// Whether a packet may follow the one that was joined last.
    fn may_grow(&self, last: &Segment) -> bool {
        last.last_flags == 0
            && last.payload_len == self.lead.payload_len
            && self.segments < MAX_SEGMENTS
    }

    /// Whether an IP header is the first packet's but for the length and, over IPv4, an
    /// identification that counts on. With DF set the identification means nothing and is not
    /// looked at (RFC 6864, section 4.1): some systems leave it zero, some draw it at random.
    fn network_continues(&self, first: &[u8], packet: &[u8]) -> bool {
        if ip::version(first) == 6 {
            return first[..4] == packet[..4] && first[6..40] == packet[6..40];
        }
        first[..2] == packet[..2]
            && first[6..10] == packet[6..10]
            && first[12..20] == packet[12..20]
            && (ip::dont_fragment_4(packet)
                || ip::identification_4(packet)
                    == ip::identification_4(first).wrapping_add(self.segments as u16))
    }

    /// Whether a transport header goes on where the group ends: the same ports; for TCP also the
    /// next sequence number, and all else alike but for FIN and PSH.
    fn transport_continues(&self, first: &[u8], transport: &[u8]) -> bool {
        if first[..4] != transport[..4] {
            return false;
        }
        if !self.lead.tcp {
            return true;
        }
        let options = tcp::HEADER_LEN..self.lead.headers_len - self.lead.transport;
        let flags = first[tcp::FLAGS] ^ transport[tcp::FLAGS];
        tcp::sequence(transport) == tcp::sequence(first).wrapping_add(self.payload_len as u32)
            && flags & !flag::LAST == 0
            && first[8..tcp::FLAGS] == transport[8..tcp::FLAGS]
            && first[tcp::FLAGS + 1..tcp::CHECKSUM] == transport[tcp::FLAGS + 1..tcp::CHECKSUM]
            && first[tcp::CHECKSUM + 2..tcp::HEADER_LEN]
                == transport[tcp::CHECKSUM + 2..tcp::HEADER_LEN]
            && first[options.clone()] == transport[options]
    }

    /// Makes the first packet's headers those of the super-packet, its checksum begun.
    fn write_headers(&self, buffer: &mut [u8]) -> VirtioHeader {
        let lead = &self.lead;
        let headers = &mut buffer[lead.start..][..lead.headers_len];
        let transport_len = lead.headers_len - lead.transport + self.payload_len;
        let pseudo_header = lead.pseudo_header(headers, transport_len);
        let (network, transport) = headers.split_at_mut(lead.transport);
        // `join` keeps both lengths to `ip::MAX_PACKET`.
        ip::rewrite(network, (lead.transport + transport_len) as u16, 0);
        if lead.tcp {
            transport[tcp::FLAGS] |= self.last_flags;
        } else {
            ip::put_u16(transport, udp::LENGTH, transport_len as u16);
        }
        let (_, checksum_offset) = lead.protocol();
        ip::put_u16(transport, checksum_offset, pseudo_header);
        VirtioHeader {
            needs_checksum: true,
            gso_type: match (lead.tcp, ip::version(network)) {
                (true, 4) => GsoType::Tcp4,
                (true, _) => GsoType::Tcp6,
                (false, _) => GsoType::UdpL4,
            },
            header_len: lead.headers_len as u16,
            gso_size: lead.payload_len as u16,
            checksum_start: lead.transport as u16,
            checksum_offset: checksum_offset as u16,
        }
    }
}

#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod tests;
