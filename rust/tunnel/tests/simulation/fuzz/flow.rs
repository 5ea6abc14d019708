//! TCP and UDP packets for the targets, summed by the definition.

use wgbind_tunnel::VirtioHeader;
use wgbind_tunnel::offload::GsoType;

use super::input::Input;
use super::packets::{gso_type, inner_6};
use crate::world::inner;

const TCP: u8 = 6;
const UDP: u8 = 17;
const FIN_PSH: u8 = 0x09;
const CWR: u8 = 0x80;

/// The packets of one flow.
#[derive(Clone)]
pub(crate) struct Flow {
    v6: bool,
    tcp: bool,
    addresses: Vec<u8>,
    port: u8,
    traffic_class: u8,
    dont_fragment: bool,
    identification: u16,
    sequence: u32,
    flags: u8,
    options: usize,
}

impl Flow {
    /// A flow between two nodes; the low bits of `kind` are version and protocol.
    pub(crate) fn new(kind: u8, [from, to]: [usize; 2]) -> Self {
        let v6 = kind & 1 == 1;
        let addresses = match v6 {
            true => [inner_6(from).octets(), inner_6(to).octets()].concat(),
            false => [inner(from).octets(), inner(to).octets()].concat(),
        };
        Self {
            v6,
            tcp: kind & 2 == 2,
            addresses,
            port: kind >> 2 & 3,
            traffic_class: 0,
            dont_fragment: kind & 0x10 == 0x10,
            identification: 0xfffe,
            sequence: 0xffff_fe00,
            flags: 0x10,
            options: 0,
        }
    }

    /// Draws the fields that do not say which flow it is.
    pub(crate) fn vary(&mut self, input: &mut Input<'_>) {
        // Without ECN: outer headers are not looked at here.
        self.traffic_class = input.u8() & !3;
        self.identification = input.u16();
        self.sequence = u32::from(input.u16()) << 16 | 0xfff0;
        self.flags = input.u8();
        self.options = if self.tcp { input.below(11) * 4 } else { 0 };
    }

    fn network_len(&self) -> usize {
        if self.v6 { 40 } else { 20 }
    }

    pub(crate) fn headers_len(&self) -> usize {
        let transport = if self.tcp { 20 + self.options } else { 8 };
        self.network_len() + transport
    }

    fn checksum_offset(&self) -> usize {
        if self.tcp { 16 } else { 6 }
    }

    /// The header of a super-packet, or, with size 0, of a single packet.
    pub(crate) fn virtio_header(&self, gso_size: usize) -> VirtioHeader {
        VirtioHeader {
            needs_checksum: true,
            gso_type: match gso_size {
                0 => GsoType::None,
                _ => gso_type(self.v6, self.tcp),
            },
            header_len: self.headers_len() as u16,
            gso_size: gso_size as u16,
            checksum_start: self.network_len() as u16,
            checksum_offset: self.checksum_offset() as u16,
        }
    }

    /// The sum of the pseudo-header.
    fn pseudo_header(&self, transport_len: usize) -> Vec<u8> {
        let mut bytes = self.addresses.clone();
        bytes.extend((transport_len as u32).to_be_bytes());
        bytes.extend([0, 0, 0, if self.tcp { TCP } else { UDP }]);
        bytes
    }

    /// The flow's next packet, whole.
    pub(crate) fn build(&self, payload_len: usize) -> Vec<u8> {
        let mut packet = self.begin(payload_len);
        let network = self.network_len();
        let at = network + self.checksum_offset();
        packet[at..at + 2].fill(0);
        let summed = [
            self.pseudo_header(packet.len() - network).as_slice(),
            &packet[network..],
        ]
        .concat();
        let checksum = match !slow_sum(&summed) {
            0 => 0xffff,
            checksum => checksum,
        };
        packet[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        packet
    }

    /// The same with its transport checksum begun only.
    pub(crate) fn begin(&self, payload_len: usize) -> Vec<u8> {
        let network = self.network_len();
        let transport_len = self.headers_len() - network + payload_len;
        let mut packet = Vec::new();
        if self.v6 {
            packet.extend([
                0x60 | self.traffic_class >> 4,
                self.traffic_class << 4,
                0,
                7,
            ]);
            packet.extend((transport_len as u16).to_be_bytes());
            packet.extend([if self.tcp { TCP } else { UDP }, 64]);
            packet.extend(&self.addresses);
        } else {
            packet.extend([0x45, self.traffic_class]);
            packet.extend(((20 + transport_len) as u16).to_be_bytes());
            packet.extend(self.identification.to_be_bytes());
            packet.extend([u8::from(self.dont_fragment) << 6, 0]);
            packet.extend([64, if self.tcp { TCP } else { UDP }, 0, 0]);
            packet.extend(&self.addresses);
            let checksum = !slow_sum(&packet);
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        packet.extend([0x10, self.port, 0x20, 0]);
        if self.tcp {
            packet.extend(self.sequence.to_be_bytes());
            packet.extend([0, 0, 0, 9]);
            packet.extend([
                ((5 + self.options / 4) << 4) as u8,
                self.flags,
                1,
                0,
                0,
                0,
                0,
                0,
            ]);
            packet.resize(packet.len() + self.options, 1);
        } else {
            packet.extend((transport_len as u16).to_be_bytes());
            packet.extend([0, 0]);
        }
        let begun = slow_sum(&self.pseudo_header(transport_len));
        let at = network + self.checksum_offset();
        packet[at..at + 2].copy_from_slice(&begun.to_be_bytes());
        packet.extend((0..payload_len).map(|n| (n * 7 + n / 256) as u8));
        packet
    }

    /// Makes this the flow's next packet.
    pub(crate) fn advance(&mut self, payload_len: usize) {
        self.identification = self.identification.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(payload_len as u32);
    }

    pub(crate) fn set_flags(&mut self, flags: u8) {
        self.flags = flags;
    }

    /// Holds a segment of a super-packet, `offset` bytes into its payload, to what it must be.
    pub(crate) fn check_segment(&self, segment: &[u8], offset: usize) {
        let network = self.network_len();
        let transport = &segment[network..];
        if !self.v6 {
            assert_eq!(slow_sum(&segment[..20]), 0xffff, "header checksum");
        }
        let pseudo_header = self.pseudo_header(transport.len());
        let sum = slow_sum(&[pseudo_header.as_slice(), transport].concat());
        assert_eq!(sum, 0xffff, "transport checksum");
        if self.tcp {
            let sequence = u32::from_be_bytes(transport[4..8].try_into().unwrap());
            assert_eq!(sequence, self.sequence.wrapping_add(offset as u32));
            // Congestion is told of once, on the first segment (RFC 3168, section 6.1.2).
            let cleared = if offset == 0 { 0 } else { CWR };
            let wanted = self.flags & !FIN_PSH & !cleared;
            assert_eq!(transport[13] & !FIN_PSH, wanted, "flags");
        } else {
            let len = u16::from_be_bytes([transport[4], transport[5]]);
            assert_eq!(usize::from(len), transport.len());
        }
    }
}

/// RFC 1071's sum, word by word.
pub(crate) fn slow_sum(bytes: &[u8]) -> u16 {
    let mut total = 0;
    for word in bytes.chunks(2) {
        total += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}
