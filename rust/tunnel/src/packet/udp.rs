//! The UDP header (RFC 768).

/// UDP's protocol number.
pub(crate) const PROTOCOL: u8 = 17;
/// Bytes of the header.
pub(crate) const HEADER_LEN: usize = 8;
/// Where the length of header and payload is.
pub(crate) const LENGTH: usize = 4;
/// Where the checksum is.
pub(crate) const CHECKSUM: usize = 6;
