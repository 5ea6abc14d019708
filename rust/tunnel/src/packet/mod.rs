//! IP, TCP and UDP headers, read and written in place.

pub mod checksum;
pub mod ecn;
pub(crate) mod icmp;
pub mod ip;
pub(crate) mod tcp;
pub(crate) mod udp;

#[cfg(test)]
pub(crate) mod sample;
