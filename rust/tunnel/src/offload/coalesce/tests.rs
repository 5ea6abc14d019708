//! The rules, one by one.

use super::*;
use crate::batch::SLACK;
use crate::offload::split;
use crate::packet::sample::Sample;

pub(super) const BOTH: Offloads = Offloads {
    tcp: true,
    udp: true,
};

const KINDS: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

/// A write as the kernel gets it, and how many ranges it was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) header: VirtioHeader,
    pub(super) bytes: Vec<u8>,
    pub(super) ranges: usize,
}

impl Written {
    /// The packets that the kernel makes of it.
    pub(super) fn split(&self) -> Vec<Vec<u8>> {
        let mut buffer = [self.bytes.as_slice(), &[0; SLACK]].concat();
        let mut packets = Vec::new();
        split(
            &self.header,
            &mut buffer,
            self.bytes.len(),
            |buffer, range| {
                packets.push(buffer[range].to_vec());
            },
        )
        .unwrap();
        packets
    }
}

/// Plans the writes for packets that lie in a buffer with gaps between them.
pub(super) fn coalesce(coalescer: &mut Coalescer, packets: &[Vec<u8>]) -> Vec<Written> {
    let mut buffer = vec![0xee; 7];
    let mut ranges = Vec::new();
    for packet in packets {
        ranges.push(buffer.len()..buffer.len() + packet.len());
        buffer.extend(packet);
        buffer.extend([0xee; 32]);
    }
    let before = buffer.len();
    let plan: Vec<(VirtioHeader, Vec<Range<usize>>)> = coalescer
        .plan(&mut buffer, &ranges)
        .map(|write| (write.header, write.ranges.to_vec()))
        .collect();
    assert_eq!(buffer.len(), before);
    plan.into_iter()
        .map(|(header, ranges)| Written {
            header,
            ranges: ranges.len(),
            bytes: ranges
                .into_iter()
                .flat_map(|range| buffer[range].to_vec())
                .collect(),
        })
        .collect()
}

/// How many packets each write carries; checks by the way that they are the packets handed in,
/// write after write.
fn sizes(packets: &[Vec<u8>]) -> Vec<usize> {
    let writes = coalesce(&mut Coalescer::new(BOTH), packets);
    let split: Vec<Vec<u8>> = writes.iter().flat_map(Written::split).collect();
    assert_eq!(split, packets);
    writes.iter().map(|write| write.ranges).collect()
}

/// `count` packets of one flow in sequence, payloads of 100 bytes, with a change to the one at
/// position `at`, made before it is built and before its followers are derived from it.
fn flow(
    v6: bool,
    tcp: bool,
    count: usize,
    at: usize,
    change: impl Fn(&mut Sample),
) -> Vec<Vec<u8>> {
    let mut sample = Sample::new(v6, tcp);
    let mut packets = Vec::new();
    for n in 0..count {
        let mut this = sample.clone();
        if n == at {
            change(&mut this);
        }
        packets.push(this.build());
        sample = sample.next(vec![n as u8; 100]);
    }
    packets
}

/// The source port, by which tests tell flows apart.
pub(super) fn port(packet: &[u8]) -> [u8; 2] {
    ip::array(packet, if ip::version(packet) == 6 { 40 } else { 20 })
}

#[test]
fn packets_in_sequence_become_one_write() {
    for (v6, tcp) in KINDS {
        let packets = flow(v6, tcp, 5, 5, |_| {});
        assert_eq!(sizes(&packets), [5]);
        let writes = coalesce(&mut Coalescer::new(BOTH), &packets);
        let sample = Sample::new(v6, tcp);
        let wanted = VirtioHeader {
            needs_checksum: true,
            gso_type: match (tcp, v6) {
                (true, false) => GsoType::Tcp4,
                (true, true) => GsoType::Tcp6,
                (false, _) => GsoType::UdpL4,
            },
            header_len: sample.headers_len() as u16,
            gso_size: 100,
            checksum_start: sample.network_len() as u16,
            checksum_offset: sample.checksum_offset() as u16,
        };
        assert_eq!(writes[0].header, wanted);
        // The super-packet as its sender would have begun it.
        let mut whole = sample.clone();
        for n in 0..4 {
            whole.payload.extend([n; 100]);
        }
        assert_eq!(writes[0].bytes, whole.begin());
    }
}

#[test]
fn flows_do_not_mix() {
    let mut other = Sample::new(false, true);
    other.port += 1;
    let packets: Vec<Vec<u8>> = KINDS
        .iter()
        .map(|(v6, tcp)| flow(*v6, *tcp, 1, 1, |_| {}).remove(0))
        .chain([other.build()])
        .collect();
    assert_eq!(sizes(&packets), [1; 5]);
}

#[test]
fn interleaved_flows_are_joined_each() {
    let flows: Vec<Vec<Vec<u8>>> = KINDS
        .iter()
        .map(|(v6, tcp)| flow(*v6, *tcp, 6, 6, |_| {}))
        .collect();
    let packets: Vec<Vec<u8>> = (0..6)
        .flat_map(|n| flows.iter().map(move |flow| flow[n].clone()))
        .collect();
    let writes = coalesce(&mut Coalescer::new(BOTH), &packets);
    let split: Vec<Vec<Vec<u8>>> = writes.iter().map(Written::split).collect();
    assert_eq!(split, flows);
}

#[test]
fn any_other_difference_stops_tcp() {
    type Change = fn(&mut Sample);
    let changes: [(&str, Change); 11] = [
        ("traffic class", |sample| sample.traffic_class ^= 1),
        ("TTL", |sample| sample.ttl -= 1),
        ("sequence", |sample| sample.sequence += 1),
        ("acknowledgement", |sample| sample.acknowledgement += 1),
        ("window", |sample| sample.window += 1),
        ("options", |sample| sample.options.push(0x0101_0101)),
        ("ECE", |sample| sample.flags |= 0x40),
        ("CWR", |sample| sample.flags |= 0x80),
        ("SYN", |sample| sample.flags |= 0x02),
        ("RST", |sample| sample.flags |= 0x04),
        ("URG", |sample| sample.flags |= 0x20),
    ];
    for v6 in [false, true] {
        for (what, change) in changes {
            assert_eq!(sizes(&flow(v6, true, 5, 2, change)), [2, 1, 2], "{what}");
        }
    }
    assert_eq!(
        sizes(&flow(false, true, 5, 2, |sample| sample.dont_fragment = true)),
        [2, 1, 2]
    );
}

#[test]
fn timestamps_must_be_equal() {
    let stamp = |n: u32| vec![0x0101_080a, 1000 + n, 7];
    let packets: Vec<Vec<u8>> = (0..4u32)
        .scan(Sample::new(false, true), |sample, n| {
            let mut this = sample.clone();
            this.options = stamp(n / 2);
            *sample = sample.next(vec![1; 100]);
            Some(this.build())
        })
        .collect();
    assert_eq!(sizes(&packets), [2, 2]);
}

#[test]
fn push_and_fin_end_a_super_packet() {
    for flags in [0x18, 0x11, 0x19] {
        assert_eq!(
            sizes(&flow(false, true, 5, 2, |sample| sample.flags = flags)),
            [3, 2]
        );
        assert_eq!(
            sizes(&flow(false, true, 3, 0, |sample| sample.flags = flags)),
            [1, 2]
        );
    }
}

#[test]
fn a_shorter_packet_is_the_last_and_a_longer_one_the_first() {
    for (v6, tcp) in KINDS {
        let payloads = [100, 100, 60, 60, 100, 40, 40, 1];
        let mut sample = Sample::new(v6, tcp);
        let mut packets = vec![sample.build()];
        for len in payloads {
            sample = sample.next(vec![9; len]);
            packets.push(sample.build());
        }
        assert_eq!(sizes(&packets), [4, 1, 2, 2]);
    }
}

#[test]
fn what_has_no_payload_passes_alone() {
    assert_eq!(
        sizes(&flow(false, true, 4, 0, |sample| sample.payload.clear())),
        [1, 3]
    );
    assert_eq!(
        sizes(&flow(true, false, 4, 1, |sample| sample.payload.clear())),
        [1, 1, 2]
    );
}

#[test]
fn an_identification_that_does_not_count_on_matters_without_df_only() {
    let packets = |dont_fragment| {
        let mut sample = Sample::new(false, true);
        sample.dont_fragment = dont_fragment;
        let mut second = sample.next(vec![1; 100]);
        second.identification = 4711;
        [sample.build(), second.build()]
    };
    assert_eq!(sizes(&packets(false)), [1, 1]);
    let writes = coalesce(&mut Coalescer::new(BOTH), &packets(true));
    assert_eq!(writes.len(), 1);
}

#[test]
fn a_wrong_checksum_is_never_repaired() {
    for (v6, tcp) in KINDS {
        for at in 0..5 {
            let mut packets = flow(v6, tcp, 5, 5, |_| {});
            *packets[at].last_mut().unwrap() ^= 0x10;
            let writes = coalesce(&mut Coalescer::new(BOTH), &packets);
            let alone = Written {
                header: VirtioHeader::default(),
                bytes: packets[at].clone(),
                ranges: 1,
            };
            assert!(writes.contains(&alone), "packet {at} as it came");
            let joined: usize = writes.iter().map(|write| write.ranges).sum();
            assert_eq!((joined, writes.len()), (5, if at % 4 == 0 { 2 } else { 3 }));
        }
    }
    let mut header = flow(false, true, 3, 3, |_| {});
    header[1][10] ^= 1;
    assert_eq!(sizes(&header), [1, 1, 1]);
}

#[test]
fn udp_without_checksum_or_with_a_wrong_length_passes_alone() {
    let mut packets = flow(false, false, 7, 7, |_| {});
    packets[1][26..28].fill(0);
    packets[4][25] -= 1;
    assert_eq!(sizes(&packets), [1, 1, 2, 1, 2]);
}

#[test]
fn nothing_overtakes_what_may_be_of_its_flow() {
    let tcp = flow(false, true, 4, 4, |_| {});
    let fragment = |word: u16| {
        let mut packet = flow(false, false, 1, 1, |_| {}).remove(0);
        packet[6..8].copy_from_slice(&word.to_be_bytes());
        packet
    };
    let mut with_options = tcp[2].clone();
    with_options[0] = 0x46;
    let mut behind_extension = flow(true, true, 1, 1, |_| {}).remove(0);
    behind_extension[6] = 44;
    let mut cut = tcp[2].clone();
    cut[32] = 0xf0;
    cut.truncate(50);
    cut[3] = 50;
    for opaque in [
        fragment(0x2000),
        fragment(0x00b9),
        with_options,
        behind_extension,
        cut,
    ] {
        let packets = [&tcp[..2], &[opaque], &tcp[2..]].concat();
        assert_eq!(sizes(&packets), [2, 1, 2]);
    }
}

#[test]
fn other_protocols_stand_in_nobodys_way() {
    let tcp = flow(true, true, 4, 4, |_| {});
    let mut ping = flow(true, false, 1, 1, |_| {}).remove(0);
    ping[6] = 58;
    let packets = [&tcp[..2], std::slice::from_ref(&ping), &tcp[2..]].concat();
    let writes = coalesce(&mut Coalescer::new(BOTH), &packets);
    let ranges: Vec<usize> = writes.iter().map(|write| write.ranges).collect();
    assert_eq!(ranges, [4, 1]);
    assert_eq!(
        (writes[1].header, &writes[1].bytes),
        (VirtioHeader::default(), &ping)
    );
}

#[test]
fn only_what_the_kernel_offers_is_joined() {
    for offloads in [(false, false), (true, false), (false, true)] {
        let (tcp, udp) = offloads;
        let mut coalescer = Coalescer::new(Offloads { tcp, udp });
        for (v6, is_tcp) in KINDS {
            let writes = coalesce(&mut coalescer, &flow(v6, is_tcp, 3, 3, |_| {}));
            let joined = if is_tcp { tcp } else { udp };
            assert_eq!(writes.len(), if joined { 1 } else { 3 });
        }
    }
}

#[test]
fn a_write_has_its_limits() {
    assert_eq!(sizes(&flow(false, false, 130, 130, |_| {})), [64, 64, 2]);
    for (v6, tcp) in KINDS {
        let mut sample = Sample::new(v6, tcp);
        sample.payload = vec![3; 1400];
        let mut packets = Vec::new();
        for _ in 0..50 {
            packets.push(sample.build());
            sample = sample.next(vec![4; 1400]);
        }
        assert_eq!(sizes(&packets), [46, 4]);
    }
}

#[test]
fn batches_do_not_know_each_other() {
    let mut coalescer = Coalescer::new(BOTH);
    let packets = flow(true, true, 6, 6, |_| {});
    let first = coalesce(&mut coalescer, &packets[..3]);
    assert_eq!(coalesce(&mut coalescer, &packets[3..]).len(), 1);
    assert!(coalesce(&mut coalescer, &[]).is_empty());
    assert_eq!(coalesce(&mut coalescer, &packets[..3]), first);
}

#[test]
fn flows_that_collide_do_so_for_a_batch_only() {
    // Over IPv6 a datagram may follow itself.
    let once: Vec<Vec<u8>> = (0..64u16)
        .map(|n| n * n * 11 + n)
        .flat_map(|port| flow(true, false, 1, 0, |sample| sample.port = port))
        .collect();
    let twice = [once.as_slice(), &once].concat();
    let mut never_joined = once;
    let mut coalescer = Coalescer::new(BOTH);
    for _ in 0..20 {
        for write in coalesce(&mut coalescer, &twice) {
            if write.ranges == 2 {
                never_joined.retain(|packet| port(packet) != port(&write.bytes));
            }
        }
    }
    assert!(never_joined.is_empty(), "{} flows", never_joined.len());
}
