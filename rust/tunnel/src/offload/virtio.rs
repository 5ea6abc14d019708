//! The header in front of every packet of a TUN device with `IFF_VNET_HDR`
//! (`struct virtio_net_hdr`, kernel `include/uapi/linux/virtio_net.h`).

/// What kind of super-packet follows (`VIRTIO_NET_HDR_GSO_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GsoType {
    /// A single packet.
    #[default]
    None,
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP over either (`UDP_L4`).
    UdpL4,
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
