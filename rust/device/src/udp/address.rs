//! Socket addresses as the bytes that the kernel wants (`sockaddr_in`, `sockaddr_in6`).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

const SIZE_V4: usize = size_of::<libc::sockaddr_in>();
const SIZE_V6: usize = size_of::<libc::sockaddr_in6>();

/// A `sockaddr` of either family, or room for one.
#[derive(Clone, Copy, Default)]
#[repr(C, align(8))]
pub(crate) struct Name {
    bytes: [u8; SIZE_V6],
    len: usize,
}

impl Name {
    /// Room for an address that the kernel is to fill in.
    pub(crate) const ROOM: usize = SIZE_V6;

    pub(crate) fn new(address: SocketAddr) -> Self {
        let mut name = Self::default();
        name.bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        match address {
            SocketAddr::V4(address) => {
                name.len = SIZE_V4;
                name.bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                name.bytes[4..8].copy_from_slice(&address.ip().octets());
            }
            SocketAddr::V6(address) => {
                name.len = SIZE_V6;
                name.bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                name.bytes[4..8].copy_from_slice(&address.flowinfo().to_be_bytes());
                name.bytes[8..24].copy_from_slice(&address.ip().octets());
                name.bytes[24..28].copy_from_slice(&address.scope_id().to_ne_bytes());
            }
        }
        name
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(crate) fn as_mut_bytes(&mut self) -> &mut [u8; SIZE_V6] {
        &mut self.bytes
    }

    /// Reads what the kernel filled in; none for a family that is not IP.
    pub(crate) fn parse(&self) -> Option<SocketAddr> {
        let bytes = &self.bytes;
        let port = u16::from_be_bytes([bytes[2], bytes[3]]);
        match i32::from(u16::from_ne_bytes([bytes[0], bytes[1]])) {
            libc::AF_INET => {
                let ip = Ipv4Addr::new(bytes[4], bytes[5], bytes[6], bytes[7]);
                Some(SocketAddrV4::new(ip, port).into())
            }
            libc::AF_INET6 => {
                let ip = Ipv6Addr::from(*bytes[8..].first_chunk::<16>()?);
                let flow = u32::from_be_bytes(*bytes[4..].first_chunk()?);
                let scope = u32::from_ne_bytes(*bytes[24..].first_chunk()?);
                Some(SocketAddrV6::new(ip, port, flow, scope).into())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_way_there_and_back() {
        for text in ["192.0.2.1:51820", "[2001:db8::1]:1", "[fe80::1%7]:65535"] {
            let address: SocketAddr = text.parse().expect(text);
            assert_eq!(Name::new(address).parse(), Some(address));
        }
        assert_eq!(Name::default().parse(), None);
    }
}
