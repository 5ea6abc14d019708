//! Any packets, joined and split again.

use proptest::prelude::*;

use super::tests::{BOTH, Written, coalesce, port};
use super::*;
use crate::packet::checksum::tests::slow_sum;
use crate::packet::sample::Sample;

/// What may happen to one packet of a flow on its way.
#[derive(Clone, Copy, Debug)]
enum Event {
    Nothing,
    Flags(u8),
    Shorter(usize),
    Longer(usize),
    Lost,
    Flipped(usize),
    Ttl,
    Fragmented,
    Acknowledged,
    Stamped,
}

impl Event {
    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            20 => Just(Self::Nothing),
            2 => any::<u8>().prop_map(Self::Flags),
            2 => (0usize..200).prop_map(Self::Shorter),
            1 => (1usize..50).prop_map(Self::Longer),
            1 => Just(Self::Lost),
            1 => (0usize..1000).prop_map(Self::Flipped),
            1 => Just(Self::Ttl),
            1 => Just(Self::Fragmented),
            1 => Just(Self::Acknowledged),
            1 => Just(Self::Stamped),
        ]
    }

    /// The flow's next packet, if it arrives; `sample` becomes the one after.
    fn apply(self, sample: &mut Sample) -> Option<Vec<u8>> {
        let full = sample.payload.clone();
        let mut this = sample.clone();
        match self {
            Self::Flags(flags) => this.flags = flags,
            Self::Shorter(by) => this.payload.truncate(full.len().saturating_sub(by)),
            Self::Longer(by) => this.payload.resize(full.len() + by, 1),
            Self::Ttl => this.ttl = this.ttl.wrapping_sub(1),
            Self::Acknowledged => this.acknowledgement = this.acknowledgement.wrapping_add(9),
            Self::Stamped => {
                if let Some(word) = this.options.first_mut() {
                    *word = word.wrapping_add(1);
                }
            }
            _ => {}
        }
        let mut packet = this.build();
        match self {
            Self::Flipped(at) => {
                // It stays in its flow: protocol, addresses and ports are spared.
                let spared = if this.v6 {
                    [6..7, 8..44]
                } else {
                    [9..10, 12..24]
                };
                let at = 1 + at % (packet.len() - 1);
                if !spared.iter().any(|range| range.contains(&at)) {
                    packet[at] ^= 0x04;
                }
            }
            Self::Fragmented if !this.v6 => packet[6] |= 0x20,
            _ => {}
        }
        this.flags = sample.flags;
        this.ttl = sample.ttl;
        this.options.clone_from(&sample.options);
        *sample = this.next(full);
        (!matches!(self, Self::Lost)).then_some(packet)
    }
}

/// The packet without what DF makes meaningless: an identification whose checksum is right.
fn meaning(mut packet: Vec<u8>) -> Vec<u8> {
    let sound = ip::version(&packet) == 4 && slow_sum(&packet[..20]) == 0xffff;
    if sound && ip::dont_fragment_4(&packet) {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    packet
}

proptest! {
    #[test]
    fn each_flow_comes_out_as_it_went_in(
        mut flows in prop::collection::vec(Sample::any(300), 1..5),
        events in prop::collection::vec((0usize..5, 1usize..20, Event::any()), 0..60),
    ) {
        for (n, flow) in flows.iter_mut().enumerate() {
            flow.port = n as u16;
        }
        let mut packets = Vec::new();
        for (n, run, event) in events {
            let n = n % flows.len();
            packets.extend(event.apply(&mut flows[n]));
            for _ in 0..run {
                packets.extend(Event::Nothing.apply(&mut flows[n]));
            }
        }
        let mut coalescer = Coalescer::new(BOTH);
        let writes = coalesce(&mut coalescer, &packets);

        for write in &writes {
            if write.header == VirtioHeader::default() {
                prop_assert_eq!(write.ranges, 1);
                continue;
            }
            prop_assert!(write.ranges > 1 && write.bytes.len() <= ip::MAX_PACKET);
            let start = usize::from(write.header.checksum_start);
            if start == 20 {
                prop_assert_eq!(slow_sum(&write.bytes[..20]), 0xffff);
            }
            let header = ip::Header::parse(&write.bytes).unwrap();
            prop_assert_eq!(header.total_len, write.bytes.len());
        }
        let out: Vec<Vec<u8>> = writes.iter().flat_map(Written::split).collect();
        prop_assert_eq!(out.len(), packets.len());
        for n in 0..flows.len() as u16 {
            let of_flow = |packets: &[Vec<u8>]| -> Vec<Vec<u8>> {
                packets.iter().filter(|packet| port(packet) == n.to_be_bytes()).cloned().map(meaning).collect()
            };
            prop_assert_eq!(of_flow(&out), of_flow(&packets));
        }
    }

    #[test]
    fn nothing_panics(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 0..10),
        heads in prop::collection::vec(prop::sample::select(vec![0x45u8, 0x46, 0x60, 0x00]), 10),
        outside in any::<[usize; 2]>(),
        udp: bool,
    ) {
        let packets: Vec<Vec<u8>> = packets
            .into_iter()
            .zip(heads)
            .map(|(mut packet, head)| {
                let len = packet.len();
                if let Some(first) = packet.first_mut() {
                    *first = head;
                }
                // Often plausible enough to get past the first checks.
                if head == 0x45 && len >= 20 {
                    packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
                    packet[6..8].fill(0);
                    packet[9] = if udp { 17 } else { 6 };
                } else if head == 0x60 && len >= 40 {
                    packet[4..6].copy_from_slice(&(len as u16 - 40).to_be_bytes());
                    packet[6] = if udp { 17 } else { 6 };
                }
                packet
            })
            .collect();
        let mut coalescer = Coalescer::new(BOTH);
        let writes = coalesce(&mut coalescer, &packets);
        prop_assert_eq!(writes.iter().map(|write| write.ranges).sum::<usize>(), packets.len());
        let range = outside[0]..outside[1];
        prop_assert_eq!(coalescer.plan(&mut [0; 60], &[range.clone(), range]).count(), 2);
    }
}
