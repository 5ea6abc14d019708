//! The TUN entry: any virtio header in front of anything, sealed by one node and opened by the
//! other. What arrives is what the header asks for, whole and with checksums that are right.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

use wgbind_tunnel::VirtioHeader;
use wgbind_tunnel::offload::{self, GsoType};
use wgbind_tunnel::packet::ip;

use super::flow::Flow;
use super::input::Input;
use crate::world::{LATENCY, MAX_DATAGRAM, MTU, World, allowed, inner};

const STEPS: usize = 8;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    let mut world = World::hub(1);
    for (node, peer, prefix) in [(0, 1, "fd00::2/128"), (1, 0, "fd00::/64")] {
        let mut change = world.change_of(peer);
        change.allowed_ips = vec![allowed(prefix)];
        world.apply_peer(node, change);
    }
    assert!(world.ping(1, 0));
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        let from = usize::from(input.u8() & 1);
        match input.u8() & 1 {
            0 => send_anything(&mut world, from, &mut input),
            _ => send_a_super_packet(&mut world, from, &mut input),
        }
    }
    assert!(world.ping(1, 0) && world.ping(0, 1));
}

fn send_anything(world: &mut World, from: usize, input: &mut Input<'_>) {
    let Some(header) = VirtioHeader::parse(&input.bytes_10()) else {
        return;
    };
    let style = input.u8();
    let len = input.below(3_000);
    let mut bytes = input.take(len).to_vec();
    if style & 1 == 1 {
        // Plausible enough to get past the first checks.
        let mut packet = Flow::new(style >> 1, from_to(from)).begin(bytes.len());
        for (byte, change) in packet.iter_mut().zip(&bytes) {
            *byte ^= change;
        }
        bytes = packet;
    }
    let wanted = wanted(from, &header, &bytes);
    let arrived = exchange(world, from, header, &bytes);
    assert_eq!(arrived, wanted, "{header:?}");
}

/// A packet as the kernel makes it, with the header that fits.
fn send_a_super_packet(world: &mut World, from: usize, input: &mut Input<'_>) {
    let mut flow = Flow::new(input.u8(), from_to(from));
    flow.vary(input);
    let payload_len = usize::from(input.u16()) % (ip_limit() - flow.headers_len());
    let gso_size = 1 + input.below(payload_len.max(1));
    // Not thousands of segments.
    let gso_size = gso_size.max(payload_len / 64);
    let whole = flow.begin(payload_len);
    let single = input.u8().is_multiple_of(8);
    let header = flow.virtio_header(if single { 0 } else { gso_size });
    let arrived = exchange(world, from, header, &whole);

    let size = if single { payload_len.max(1) } else { gso_size };
    let mut payload: Vec<u8> = Vec::new();
    for segment in &arrived {
        flow.check_segment(segment, payload.len());
        payload.extend(&segment[flow.headers_len()..]);
    }
    assert_eq!(arrived.len(), payload_len.div_ceil(size).max(1));
    assert_eq!(payload, whole[flow.headers_len()..]);
}

/// As long as a packet may be whose datagram one send can carry.
fn ip_limit() -> usize {
    MAX_DATAGRAM - 32 - 15
}

fn from_to(from: usize) -> [usize; 2] {
    [from, 1 - from]
}

/// What comes out of the other node.
fn exchange(world: &mut World, from: usize, header: VirtioHeader, packet: &[u8]) -> Vec<Vec<u8>> {
    let to = 1 - from;
    let before = world.nodes[to].received.len();
    world.send_offloaded(from, header, packet);
    world.run(2 * LATENCY);
    world.nodes[to].received[before..].to_vec()
}

/// What should: the segments that the header asks for, where addresses and lengths are right.
fn wanted(from: usize, header: &VirtioHeader, packet: &[u8]) -> Vec<Vec<u8>> {
    let to = 1 - from;
    let whole = ip::Header::parse(packet);
    if !whole.is_some_and(|whole| is_inside(from, to, whole.destination)) {
        return Vec::new();
    }
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + 64, 0);
    let mut segments = Vec::new();
    let mut take = |buffer: &mut [u8], range: Range<usize>| {
        let segment = &buffer[range];
        let padded = segment
            .len()
            .next_multiple_of(16)
            .min(segment.len().max(MTU.into()));
        if padded + 32 > MAX_DATAGRAM {
            return;
        }
        if let Some(header) = ip::Header::parse(segment)
            && is_inside(to, from, header.source)
        {
            segments.push(segment[..header.total_len].to_vec());
        }
    };
    match offload::split(header, &mut buffer, packet.len(), &mut take) {
        Ok(()) => segments,
        Err(_) => Vec::new(),
    }
}

/// Whether `address` is one that `node` knows to be `peer`'s.
fn is_inside(node: usize, peer: usize, address: IpAddr) -> bool {
    match (node, address) {
        (0, IpAddr::V4(address)) => address == inner(peer),
        (0, IpAddr::V6(address)) => address == inner_6(peer),
        (_, IpAddr::V4(address)) => address.octets()[..3] == [10, 0, 0],
        (_, IpAddr::V6(address)) => address.segments()[..4] == [0xfd00, 0, 0, 0],
    }
}

pub(crate) fn inner_6(node: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, node as u16 + 1)
}

/// The type of a super-packet.
pub(crate) fn gso_type(v6: bool, tcp: bool) -> GsoType {
    match (v6, tcp) {
        (false, true) => GsoType::Tcp4,
        (true, true) => GsoType::Tcp6,
        (_, false) => GsoType::UdpL4,
    }
}
