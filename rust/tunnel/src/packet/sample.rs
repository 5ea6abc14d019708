//! Packets for tests, built field by field and summed by the definition.

use proptest::prelude::*;

use crate::packet::checksum::tests::slow_sum;
use crate::packet::{tcp, udp};

/// A TCP or UDP packet over either version, in plain fields.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) v6: bool,
    pub(crate) tcp: bool,
    pub(crate) traffic_class: u8,
    pub(crate) ttl: u8,
    pub(crate) identification: u16,
    pub(crate) dont_fragment: bool,
    pub(crate) port: u16,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    /// TCP options in 32-bit words.
    pub(crate) options: Vec<u32>,
    pub(crate) payload: Vec<u8>,
}

impl Sample {
    pub(crate) fn new(v6: bool, tcp: bool) -> Self {
        Self {
            v6,
            tcp,
            traffic_class: 0,
            ttl: 64,
            identification: 0xfffe,
            dont_fragment: false,
            port: 4242,
            sequence: 0xffff_fc00,
            acknowledgement: 77,
            flags: 0x10,
            window: 501,
            options: Vec::new(),
            payload: vec![0xa5; 100],
        }
    }

    /// Any flow, with a payload of up to `max` bytes.
    pub(crate) fn any(max: usize) -> impl Strategy<Value = Self> {
        (
            any::<[bool; 3]>(),
            any::<[u8; 2]>(),
            any::<[u16; 2]>(),
            any::<[u32; 2]>(),
            any::<u16>(),
            prop::collection::vec(any::<u32>(), 0..=10),
            prop::collection::vec(any::<u8>(), 1..=max),
        )
            .prop_map(
                |(bools, bytes, shorts, words, window, options, payload)| Self {
                    v6: bools[0],
                    tcp: bools[1],
                    dont_fragment: bools[2],
                    traffic_class: bytes[0],
                    ttl: bytes[1],
                    identification: shorts[0],
                    port: shorts[1],
                    sequence: words[0],
                    acknowledgement: words[1],
                    flags: 0x10,
                    window,
                    options,
                    payload,
                },
            )
    }

    /// The packet that follows this one in its flow, with another payload.
    pub(crate) fn next(&self, payload: Vec<u8>) -> Self {
        Self {
            identification: self.identification.wrapping_add(1),
            sequence: self.sequence.wrapping_add(self.payload.len() as u32),
            payload,
            ..self.clone()
        }
    }

    pub(crate) fn network_len(&self) -> usize {
        if self.v6 { 40 } else { 20 }
    }

    pub(crate) fn headers_len(&self) -> usize {
        let transport = if self.tcp {
            20 + 4 * self.options.len()
        } else {
            8
        };
        self.network_len() + transport
    }

    /// Where the transport checksum is, counted from the transport header.
    pub(crate) fn checksum_offset(&self) -> usize {
        if self.tcp {
            tcp::CHECKSUM
        } else {
            udp::CHECKSUM
        }
    }

    /// The packet with its checksum.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut packet = self.begin();
        let start = self.network_len();
        let checksum = match !slow_sum(&packet[start..]) {
            0 => 0xffff,
            checksum => checksum,
        };
        self.put_checksum(&mut packet, checksum);
        packet
    }

    /// The packet with the pseudo-header's sum in the checksum field.
    pub(crate) fn begin(&self) -> Vec<u8> {
        let transport = self.transport();
        let mut packet = self.network(transport.len());
        let protocol = if self.tcp {
            tcp::PROTOCOL
        } else {
            udp::PROTOCOL
        };
        let addresses = if self.v6 { 8..40 } else { 12..20 };
        let mut pseudo_header = packet[addresses].to_vec();
        pseudo_header.extend([0, protocol]);
        pseudo_header.extend((transport.len() as u16).to_be_bytes());
        packet.extend(transport);
        self.put_checksum(&mut packet, slow_sum(&pseudo_header));
        packet
    }

    fn put_checksum(&self, packet: &mut [u8], checksum: u16) {
        let at = self.network_len() + self.checksum_offset();
        packet[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }

    fn network(&self, transport_len: usize) -> Vec<u8> {
        let protocol = if self.tcp {
            tcp::PROTOCOL
        } else {
            udp::PROTOCOL
        };
        if self.v6 {
            let mut header = vec![
                0x60 | self.traffic_class >> 4,
                self.traffic_class << 4,
                0x12,
                0x34,
            ];
            header.extend((transport_len as u16).to_be_bytes());
            header.extend([protocol, self.ttl]);
            header.extend([0xfd, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
            header.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            return header;
        }
        let mut header = vec![0x45, self.traffic_class];
        header.extend((20 + transport_len as u16).to_be_bytes());
        header.extend(self.identification.to_be_bytes());
        header.extend([if self.dont_fragment { 0x40 } else { 0 }, 0]);
        header.extend([self.ttl, protocol, 0, 0]);
        header.extend([10, 6, 0, 2, 10, 6, 0, 1]);
        let checksum = !slow_sum(&header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header
    }

    fn transport(&self) -> Vec<u8> {
        let mut transport = self.port.to_be_bytes().to_vec();
        transport.extend([0x14, 0x51]);
        if self.tcp {
            transport.extend(self.sequence.to_be_bytes());
            transport.extend(self.acknowledgement.to_be_bytes());
            transport.extend([((5 + self.options.len()) as u8) << 4, self.flags]);
            transport.extend(self.window.to_be_bytes());
            transport.extend([0; 4]);
            transport.extend(self.options.iter().flat_map(|word| word.to_be_bytes()));
        } else {
            transport.extend((8 + self.payload.len() as u16).to_be_bytes());
            transport.extend([0; 2]);
        }
        transport.extend(&self.payload);
        transport
    }
}
