//! The UDP header (RFC 768).

use crate::packet::ip;

/// UDP's protocol number.
pub(crate) const PROTOCOL: u8 = 17;
/// Bytes of the header.
pub(crate) const HEADER_LEN: usize = 8;
/// Where the length of header and payload is.
pub(crate) const LENGTH: usize = 4;
/// Where the checksum is.
pub(crate) const CHECKSUM: usize = 6;

/// Source and destination port, if the packet is UDP and has them: no fragment but the first does.
#[inline]
pub(crate) fn ports(header: &ip::Header, packet: &[u8]) -> Option<(u16, u16)> {
    if header.protocol != PROTOCOL
        || header.total_len < header.header_len + HEADER_LEN
        || header.source.is_ipv4() && ip::fragment_offset_4(packet) != 0
    {
        return None;
    }
    let at = header.header_len;
    Some((ip::u16_at(packet, at), ip::u16_at(packet, at + 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_where_udp_has_them() {
        let mut packet = vec![0; 28];
        packet[0] = 0x45;
        packet[3] = 28;
        packet[9] = PROTOCOL;
        packet[20..24].copy_from_slice(&[0xca, 0x6c, 0, 53]);
        let ports = |packet: &[u8]| {
            let header = ip::Header::parse(packet).expect("sound");
            ports(&header, packet)
        };
        assert_eq!(ports(&packet), Some((51820, 53)));
        packet[6] = 0x20;
        assert_eq!(ports(&packet), Some((51820, 53)), "the first fragment");
        packet[7] = 1;
        assert_eq!(ports(&packet), None, "a later one");
        packet[6..8].fill(0);
        packet[9] = 6;
        assert_eq!(ports(&packet), None, "TCP");
        packet[9] = PROTOCOL;
        packet[3] = 27;
        assert_eq!(ports(&packet), None, "cut off");
    }
}
