//! The TCP header (RFC 9293, section 3.1), as far as splitting and joining touch it.

use crate::packet::ip;

/// TCP's protocol number.
pub(crate) const PROTOCOL: u8 = 6;
/// Bytes of the header without options.
pub(crate) const HEADER_LEN: usize = 20;
/// Where the sequence number is.
pub(crate) const SEQUENCE: usize = 4;
/// Where the checksum is.
pub(crate) const CHECKSUM: usize = 16;
/// Where the flags are.
pub(crate) const FLAGS: usize = 13;

/// The flags in the byte at [`FLAGS`].
pub(crate) mod flag {
    pub(crate) const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    pub(crate) const PSH: u8 = 0x08;
    const URG: u8 = 0x20;
    pub(crate) const CWR: u8 = 0x80;

    /// Flags that only the last segment of a super-packet has.
    pub(crate) const LAST: u8 = FIN | PSH;
    /// Flags of segments that are never joined.
    pub(crate) const ALONE: u8 = SYN | RST | URG | CWR;
}

/// Bytes of the header with its options, all of which are there.
#[inline]
pub(crate) fn header_len(transport: &[u8]) -> Option<usize> {
    let len = usize::from(transport.get(12)? >> 4) * 4;
    (HEADER_LEN..=transport.len()).contains(&len).then_some(len)
}

/// The sequence number of a header that is there.
#[inline]
pub(crate) fn sequence(transport: &[u8]) -> u32 {
    u32::from_be_bytes(ip::array(transport, SEQUENCE))
}
