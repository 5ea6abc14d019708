//! Joining: any packets, planned as writes and split again as the kernel does it. They come out
//! the same, each flow in its order.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;

use wgbind_tunnel::VirtioHeader;
use wgbind_tunnel::offload::{Coalescer, Offloads, split};
use wgbind_tunnel::packet::ip;

use super::flow::{Flow, slow_sum};
use super::input::Input;

const STEPS: usize = 60;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    let switches = input.u8();
    let mut coalescer = Coalescer::new(Offloads {
        tcp: switches & 1 == 0,
        udp: switches & 2 == 0,
    });
    let mut flows: BTreeMap<u8, Flow> = BTreeMap::new();
    let mut packets = Vec::new();
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        packets.extend(next(&mut flows, &mut input));
        if input.u8() == 0xff {
            check(&mut coalescer, &packets);
            packets.clear();
        }
    }
    check(&mut coalescer, &packets);
}

/// Some packets: a flow's next ones, one that is changed, or anything.
fn next(flows: &mut BTreeMap<u8, Flow>, input: &mut Input<'_>) -> Vec<Vec<u8>> {
    let kind = input.u8();
    if kind == 0xff {
        let len = input.below(200);
        return vec![input.take(len).to_vec()];
    }
    let flow = flows
        .entry(kind & 0x1f)
        .or_insert_with(|| Flow::new(kind & 0x1f, [1, 0]));
    let len = match input.u8() {
        0 => input.below(1_400),
        len => usize::from(len),
    };
    let mut packets = Vec::new();
    let many = input.u8();
    for _ in 0..1 + many % if many < 0xe0 { 8 } else { 70 } {
        packets.push(flow.build(len));
        flow.advance(len);
    }
    match kind >> 5 {
        1 => flow.advance(input.below(0x1_0000)),
        2 => flow.set_flags(input.u8()),
        3 => flow.vary(input),
        4 => {
            let packet = packets.last_mut().unwrap();
            let at = input.below(packet.len());
            packet[at] ^= input.u8();
        }
        5 => {
            let packet = packets.last_mut().unwrap();
            let len = input.below(packet.len() + 40);
            packet.resize(len, 0);
        }
        _ => {}
    }
    packets
}

fn check(coalescer: &mut Coalescer, packets: &[Vec<u8>]) {
    let mut buffer = vec![0xee; 3];
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for packet in packets {
        ranges.push(buffer.len()..buffer.len() + packet.len());
        buffer.extend(packet);
        buffer.extend([0xee; 5]);
    }
    let plan: Vec<(VirtioHeader, Vec<Range<usize>>)> = coalescer
        .plan(&mut buffer, &ranges)
        .map(|write| (write.header, write.ranges.to_vec()))
        .collect();
    let mut out = Vec::new();
    for (header, ranges) in plan {
        assert_eq!(VirtioHeader::parse(&header.encode()), Some(header));
        let ranged = ranges.iter().map(|range| &buffer[range.clone()]);
        let mut bytes = ranged.collect::<Vec<_>>().concat();
        let len = bytes.len();
        if ranges.len() > 1 {
            assert!(len <= 65_535 && ranges.len() <= 64);
            let start = usize::from(header.checksum_start);
            assert!(start != 20 || slow_sum(&bytes[..20]) == 0xffff);
        }
        bytes.resize(len + 64, 0);
        let mut parts = 0;
        split(&header, &mut bytes, len, |buffer, range| {
            out.push(buffer[range].to_vec());
            parts += 1;
        })
        .expect("the header fits");
        assert_eq!(parts, ranges.len());
    }
    assert_eq!(by_flow(out), by_flow(packets.to_vec()));
}

type Key = Option<(IpAddr, IpAddr, u8, Vec<u8>)>;

/// The packets of each flow in their order; those that have none together.
fn by_flow(packets: Vec<Vec<u8>>) -> BTreeMap<Key, Vec<Vec<u8>>> {
    let mut flows: BTreeMap<Key, Vec<Vec<u8>>> = BTreeMap::new();
    for packet in packets {
        let key = ip::Header::parse(&packet).map(|header| {
            let ports = packet.iter().skip(header.header_len).take(4).copied();
            (
                header.source,
                header.destination,
                header.protocol,
                ports.collect(),
            )
        });
        flows.entry(key).or_default().push(meaning(packet));
    }
    flows
}

/// A packet without what DF makes meaningless, where its checksum is right (RFC 6864, 4.1).
fn meaning(mut packet: Vec<u8>) -> Vec<u8> {
    let v4 = packet.len() >= 20 && packet[0] >> 4 == 4;
    if v4 && packet[6] & 0x40 != 0 && slow_sum(&packet[..20]) == 0xffff {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    packet
}
