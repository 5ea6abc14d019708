//! The header in front of every packet of a TUN device with `IFF_VNET_HDR`
//! (`struct virtio_net_hdr`, kernel `include/uapi/linux/virtio_net.h`).

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`.
const NEEDS_CSUM: u8 = 1;
/// `VIRTIO_NET_HDR_F_DATA_VALID`: the checksum was verified, or never left this host.
const DATA_VALID: u8 = 2;
/// `VIRTIO_NET_HDR_GSO_ECN`, beside the type of a TCP super-packet whose CWR flag is set. The flag
/// itself says so too, and splitting leaves it on the first segment either way.
const GSO_ECN: u8 = 0x80;

/// What kind of super-packet follows (`VIRTIO_NET_HDR_GSO_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum GsoType {
    /// A single packet.
    #[default]
    None = 0,
    /// TCP over IPv4.
    Tcp4 = 1,
    /// TCP over IPv6.
    Tcp6 = 4,
    /// UDP over either (`UDP_L4`).
    UdpL4 = 5,
}

/// The header of one packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VirtioHeader {
    /// The transport checksum is only begun: whoever takes the packet completes it (`F_NEEDS_CSUM`).
    pub needs_checksum: bool,
    /// How the packet is to be split.
    pub gso_type: GsoType,
    /// Bytes of all headers of a super-packet.
    pub header_len: u16,
    /// Payload bytes of each packet that comes out of a super-packet.
    pub gso_size: u16,
    /// Where the transport header starts.
    pub checksum_start: u16,
    /// Where the checksum is, counted from `checksum_start`.
    pub checksum_offset: u16,
}

impl VirtioHeader {
    /// Bytes of the header on the descriptor (`TUNSETVNETHDRSZ`'s default).
    pub const SIZE: usize = 10;

    /// Reads the header in front of a packet from the kernel. None when it asks for something
    /// that we never offered (`TUNSETOFFLOAD`), such as UFO.
    #[inline]
    #[must_use]
    pub fn parse(bytes: &[u8; Self::SIZE]) -> Option<Self> {
        let [flags, gso_type, ..] = *bytes;
        if flags & !(NEEDS_CSUM | DATA_VALID) != 0 {
            return None;
        }
        const TCP4: u8 = GsoType::Tcp4 as u8;
        const TCP6: u8 = GsoType::Tcp6 as u8;
        const TCP4_ECN: u8 = TCP4 | GSO_ECN;
        const TCP6_ECN: u8 = TCP6 | GSO_ECN;
        const UDP_L4: u8 = GsoType::UdpL4 as u8;
        let gso_type = match gso_type {
            0 => GsoType::None,
            TCP4 | TCP4_ECN => GsoType::Tcp4,
            TCP6 | TCP6_ECN => GsoType::Tcp6,
            UDP_L4 => GsoType::UdpL4,
            _ => return None,
        };
        // Without VIRTIO_F_VERSION_1 the numbers have the host's byte order.
        let number = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        Some(Self {
            needs_checksum: flags & NEEDS_CSUM != 0,
            gso_type,
            header_len: number(2),
            gso_size: number(4),
            checksum_start: number(6),
            checksum_offset: number(8),
        })
    }

    /// The header as the kernel wants it in front of a packet.
    #[inline]
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[0] = if self.needs_checksum { NEEDS_CSUM } else { 0 };
        bytes[1] = self.gso_type as u8;
        bytes[2..4].copy_from_slice(&self.header_len.to_ne_bytes());
        bytes[4..6].copy_from_slice(&self.gso_size.to_ne_bytes());
        bytes[6..8].copy_from_slice(&self.checksum_start.to_ne_bytes());
        bytes[8..10].copy_from_slice(&self.checksum_offset.to_ne_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_single_packet_has_an_empty_header() {
        assert_eq!(VirtioHeader::default().encode(), [0; 10]);
        assert_eq!(VirtioHeader::parse(&[0; 10]), Some(VirtioHeader::default()));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn reads_what_the_kernel_writes() {
        let wanted = VirtioHeader {
            needs_checksum: true,
            gso_type: GsoType::Tcp6,
            header_len: 72,
            gso_size: 1348,
            checksum_start: 40,
            checksum_offset: 16,
        };
        let bytes = [1, 4, 72, 0, 0x44, 0x05, 40, 0, 16, 0];
        assert_eq!(VirtioHeader::parse(&bytes), Some(wanted));
        assert_eq!(wanted.encode(), bytes);
    }

    #[test]
    fn tcp_may_carry_the_congestion_bit() {
        let parse = |flags, gso_type| {
            VirtioHeader::parse(&[flags, gso_type, 0, 0, 0, 0, 0, 0, 0, 0])
                .map(|header| header.gso_type)
        };
        assert_eq!(parse(1, 0x81), Some(GsoType::Tcp4));
        assert_eq!(parse(1, 0x84), Some(GsoType::Tcp6));
        assert_eq!(parse(1, 0x85), None);
        assert_eq!(parse(1, 0x80), None);
    }

    #[test]
    fn refuses_what_was_never_offered() {
        let parse =
            |flags, gso_type| VirtioHeader::parse(&[flags, gso_type, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(parse(0, 3), None, "UFO");
        assert_eq!(parse(0, 2), None);
        assert_eq!(parse(4, 0), None, "RSC_INFO");
        assert_eq!(parse(2, 0), Some(VirtioHeader::default()), "DATA_VALID");
    }

    proptest! {
        #[test]
        fn what_is_read_encodes_to_the_same(bytes: [u8; 10]) {
            if let Some(header) = VirtioHeader::parse(&bytes) {
                prop_assert_eq!(VirtioHeader::parse(&header.encode()), Some(header));
                prop_assert_eq!(&header.encode()[2..], &bytes[2..]);
            }
        }
    }
}
