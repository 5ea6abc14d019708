//! The shapes between the worker and the tunnel: batches, from the first day.
//!
//! A receive call fills slots that are used again and again; the tunnel writes
//! into two growing buffers that are cleared, not freed, between batches. In a
//! steady state nothing here allocates.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::constants::{MAX_SEGMENTS, MAX_TRANSMIT};
use crate::errand::Errand;
use crate::event::Event;
use crate::handover::{Handover, Kind};
use crate::offload::VirtioHeader;
use crate::stats::HandshakeStats;

/// Room for the largest read from a TUN device with offloads or a UDP socket with GRO.
pub const MAX_TRAIN: usize = 65_536;

/// Bytes that the splitter and the padding may overwrite behind a packet.
pub const SLACK: usize = 64;

/// One moment on both clocks, read once for a batch.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The monotonic clock, for timers.
    pub instant: Instant,
    /// Time since the Unix epoch, for what is shown to people.
    pub unix: Duration,
}

/// The two ECN bits of an IP header (RFC 3168, section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Ecn {
    /// Not ECN-capable.
    #[default]
    NotCapable = 0b00,
    /// ECN-capable, codepoint ECT(1).
    Capable1 = 0b01,
    /// ECN-capable, codepoint ECT(0).
    Capable0 = 0b10,
    /// Congestion experienced.
    Congestion = 0b11,
}

impl Ecn {
    /// The codepoint in the two low bits of a traffic class (or TOS) byte.
    #[must_use]
    pub fn from_traffic_class(byte: u8) -> Self {
        match byte & 0b11 {
            0b00 => Self::NotCapable,
            0b01 => Self::Capable1,
            0b10 => Self::Capable0,
            _ => Self::Congestion,
        }
    }
}

/// The local end of a datagram: what `IP_PKTINFO` and `IPV6_PKTINFO` tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalAddress {
    /// The address of this host that the datagram was sent to.
    pub ip: IpAddr,
    /// The index of the interface that it came in on.
    pub interface: u32,
}

/// A slot for one receive from a UDP socket: one datagram, or a train of
/// datagrams of `segment_size` bytes each (the last may be shorter) joined by
/// UDP GRO.
#[derive(Debug)]
pub struct DatagramIn {
    /// `MAX_TRAIN` bytes of room; the first `len` are filled.
    pub buffer: Box<[u8]>,
    /// Bytes filled.
    pub len: usize,
    /// Bytes of each datagram of the train; equal to `len` for a single one.
    pub segment_size: usize,
    /// Where the datagram came from.
    pub source: SocketAddr,
    /// Which of our addresses it was sent to, where the kernel told.
    pub local: Option<LocalAddress>,
    /// The outer ECN bits.
    pub ecn: Ecn,
}

impl Default for DatagramIn {
    fn default() -> Self {
        Self {
            buffer: vec![0; MAX_TRAIN].into_boxed_slice(),
            len: 0,
            segment_size: 0,
            source: SocketAddr::from(([0, 0, 0, 0], 0)),
            local: None,
            ecn: Ecn::NotCapable,
        }
    }
}

impl DatagramIn {
    /// Where it came from, and which of our addresses it was sent to.
    pub(crate) fn from(&self) -> Endpoint {
        Endpoint {
            address: self.source,
            local: self.local,
        }
    }

    /// The datagrams of the train. One without payload is a train without segments.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        self.buffer[..self.len].chunks(self.segment_size.max(1))
    }
}

/// A slot for one read from a TUN device: an IP packet, or a TCP or UDP
/// super-packet that its virtio header says how to split.
#[derive(Debug)]
pub struct PacketIn {
    /// How to complete or split the packet.
    pub header: VirtioHeader,
    /// `MAX_TRAIN + SLACK` bytes of room; the first `len` are filled.
    pub buffer: Box<[u8]>,
    /// Bytes filled, without the virtio header.
    pub len: usize,
}

impl Default for PacketIn {
    fn default() -> Self {
        Self {
            header: VirtioHeader::default(),
            buffer: vec![0; MAX_TRAIN + SLACK].into_boxed_slice(),
            len: 0,
        }
    }
}

/// A run of datagrams to one destination, contiguous in [`DatagramsOut::buffer`]:
/// all of `segment_size` bytes, only the last may be shorter, so that one
/// `UDP_SEGMENT` send carries them.
#[derive(Clone, Debug)]
pub struct Transmit {
    /// Where in the buffer.
    pub range: Range<usize>,
    /// Bytes of each datagram.
    pub segment_size: usize,
    /// Where to.
    pub destination: SocketAddr,
    /// From which of our addresses; none leaves the choice to the routing table.
    pub local: Option<LocalAddress>,
    /// The outer traffic class: DSCP and ECN.
    pub traffic_class: u8,
}

/// Datagrams on their way to UDP sockets.
#[derive(Debug, Default)]
pub struct DatagramsOut {
    /// The bytes of all runs; only ranges named by `runs` mean anything.
    pub buffer: Vec<u8>,
    /// The runs, in the order in which they are to be sent.
    pub runs: Vec<Transmit>,
    /// What the peers have noted of handshakes; the tunnel adds it up.
    pub handshakes: HandshakeStats,
}

impl DatagramsOut {
    /// Where the next datagram starts.
    fn end(&self) -> usize {
        self.runs.last().map_or(0, |run| run.range.end)
    }

    /// Room for a datagram of up to `len` bytes, behind all others.
    pub(crate) fn room(&mut self, len: usize) -> &mut [u8] {
        let start = self.end();
        room(&mut self.buffer, start, len)
    }

    /// Takes the first `len` bytes of the room as a datagram, which joins the last run if one send
    /// can carry both.
    pub(crate) fn push(&mut self, len: usize, to: &Endpoint, traffic_class: u8) {
        let start = self.end();
        if let Some(run) = self.runs.last_mut()
            && run.destination == to.address
            && run.local == to.local
            && run.traffic_class == traffic_class
            && len <= run.segment_size
            && run.range.len() % run.segment_size == 0
            && run.range.len() / run.segment_size < MAX_SEGMENTS
            && run.range.len() + len <= MAX_TRANSMIT
        {
            run.range.end += len;
            return;
        }
        self.runs.push(Transmit {
            range: start..start + len,
            segment_size: len,
            destination: to.address,
            local: to.local,
            traffic_class,
        });
    }
}

/// The other end of a peer's datagrams, and which of our addresses it knows us by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) local: Option<LocalAddress>,
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self {
            address,
            local: None,
        }
    }
}

/// `len` bytes of `buffer` from `start` on; it grows where it has to and never shrinks.
fn room(buffer: &mut Vec<u8>, start: usize, len: usize) -> &mut [u8] {
    if buffer.len() < start + len {
        buffer.resize(start + len, 0);
    }
    &mut buffer[start..start + len]
}

/// Decrypted IP packets on their way to the TUN device.
#[derive(Debug, Default)]
pub struct PacketsOut {
    /// The bytes of all packets; only `packets` ranges mean anything.
    pub buffer: Vec<u8>,
    /// The packets, in the order in which they were decrypted. There are gaps between them.
    pub packets: Vec<Range<usize>>,
}

impl PacketsOut {
    /// Where the next packet starts: aligned, as the AEAD likes it.
    fn end(&self) -> usize {
        self.packets
            .last()
            .map_or(0, |packet| packet.end.next_multiple_of(64))
    }

    /// Room for a packet of up to `len` bytes, behind all others.
    pub(crate) fn room(&mut self, len: usize) -> &mut [u8] {
        let start = self.end();
        room(&mut self.buffer, start, len)
    }

    /// Takes the first `len` bytes of the room as a packet.
    pub(crate) fn push(&mut self, len: usize) {
        let start = self.end();
        self.packets.push(start..start + len);
    }
}

/// What the tunnel wants done.
#[derive(Default)]
pub struct Outbox {
    /// To send over UDP.
    pub datagrams: DatagramsOut,
    /// To write to the TUN device.
    pub packets: PacketsOut,
    /// For the other workers, by their numbers, and for the porter; none where there are no others.
    /// Whoever carries them takes them out: what has no way yet stays.
    pub handovers: Vec<Handover>,
    /// What happened to peers, in the order in which it did.
    pub events: Vec<Event>,
    /// Arithmetic for somebody else, if the tunnel was told that there is somebody. Whoever runs them
    /// takes them out.
    pub errands: Vec<Errand>,
}

impl Outbox {
    /// Forgets everything but the handovers and the errands; keeps the memory.
    pub fn clear(&mut self) {
        self.datagrams.runs.clear();
        self.packets.packets.clear();
        self.events.clear();
    }

    /// Takes a copy of something for another worker; false if there is no room, or no such worker.
    pub(crate) fn hand_over(&mut self, to: usize, kind: Kind, bytes: &[u8]) -> bool {
        self.handovers
            .get_mut(to)
            .is_some_and(|handover| handover.push(kind, bytes))
    }

    /// Whether there is nothing to send and nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.datagrams.runs.is_empty() && self.packets.packets.is_empty()
    }
}
