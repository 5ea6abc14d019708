//! The datagram entry: two honest nodes with a session, and everything that others may send.
//!
//! Whatever it is, nothing comes out that an honest node or the peer itself did not put in, no
//! stranger is answered with more than it sent, and the honest two talk to each other afterwards.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use wgbind_tunnel::packet::ip;
use wgbind_tunnel::{Ecn, Hub, TunnelChange};

use super::input::Input;
use crate::initiator::{Initiator, Session, sign};
use crate::world::{Kind, World, address, inner, packet};

const STEPS: usize = 64;
const MAX_LEN: usize = 1_600;

/// The number of the peer that keeps to no rule: its inner address and its outer one.
const MALLORY: usize = 200;

pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    let mut scene = Scene::new();
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        scene.step(&mut input);
        scene.check();
    }
    scene.finish();
}

struct Scene {
    world: World,
    mallory: Initiator,
    /// Her sessions, the newest last.
    sessions: Vec<Session>,
    counter: u64,
    time: u64,
    /// Packets that honest nodes sent and that have not come out.
    under_way: HashSet<Vec<u8>>,
    packets: u32,
    /// How many packets of each node were looked at.
    checked: [usize; 2],
}

impl Scene {
    fn new() -> Self {
        let mut world = World::hub(1);
        assert!(world.ping(1, 0));
        let mut mallory = Initiator::acquainted(&mut world, inner(MALLORY));
        let session = mallory.dial(&mut world, mallory_at(0), 1);
        // She reaches the client without a detour through the server's kernel.
        let classes = [(inner(1).into(), 1), (inner(MALLORY).into(), 2)];
        world.apply(
            0,
            TunnelChange {
                hub: Some(Arc::new(Hub::new(classes, [(1, 2), (2, 1)]))),
                ..Default::default()
            },
        );
        let checked = [0, 1].map(|node: usize| world.nodes[node].received.len());
        Self {
            world,
            mallory,
            sessions: session.into_iter().collect(),
            counter: 1,
            time: 1,
            under_way: HashSet::new(),
            packets: 0,
            checked,
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.u8() % 9 {
            0 => self.say_anything(input),
            1 => self.change_a_message(input),
            2 => self.change_a_handshake(input),
            3 => self.send_a_train(input),
            4 => self.abuse_a_session(input),
            5 => self.dial(input),
            6 => self.talk(input),
            7 => self.talk_to_mallory(input),
            _ => self.wait(input),
        }
    }

    /// A stranger's bytes.
    fn say_anything(&mut self, input: &mut Input<'_>) {
        let node = usize::from(input.u8() & 1);
        let len = input.below(MAX_LEN);
        let segment_size = input.below(MAX_LEN);
        let ecn = Ecn::from_traffic_class(input.u8());
        let bytes = input.take(len);
        let before = self.world.seen.len();
        self.world
            .deliver_train(node, stranger(), bytes, segment_size, ecn);
        assert_eq!(self.world.seen.len(), before, "a stranger was answered");
    }

    /// A message that went over the link, changed.
    fn change_a_message(&mut self, input: &mut Input<'_>) {
        let Some((node, source, mut bytes)) = self.recorded(input) else {
            return;
        };
        let original = bytes.clone();
        edit(&mut bytes, input);
        if bytes != original {
            self.deliver(node, source, &bytes);
        }
    }

    /// A handshake message, changed, with a MAC1 that fits.
    fn change_a_handshake(&mut self, input: &mut Input<'_>) {
        let Some((node, source, mut bytes)) = self.recorded(input) else {
            return;
        };
        edit(&mut bytes, input);
        sign(&mut bytes, &self.world.nodes[node].public_key);
        self.deliver(node, source, &bytes);
    }

    /// Some recorded messages, whole or changed, cut into datagrams somehow.
    fn send_a_train(&mut self, input: &mut Input<'_>) {
        let Some((node, source, mut bytes)) = self.recorded(input) else {
            return;
        };
        for _ in 0..input.u8() % 8 {
            if let Some((_, _, mut more)) = self.recorded(input) {
                if input.u8() & 1 == 1 {
                    edit(&mut more, input);
                }
                bytes.extend(more);
            }
        }
        let segment_size = match input.u8() & 1 {
            0 => input.below(MAX_LEN),
            _ => [148, 92, 64, 32, 48][input.below(5)],
        };
        self.world
            .deliver_train(node, source, &bytes, segment_size, Ecn::NotCapable);
    }

    /// What only a peer can say: sealed as it should be, with any counter and content.
    fn abuse_a_session(&mut self, input: &mut Input<'_>) {
        let newest = self.sessions.len().wrapping_sub(1 + input.below(3));
        let counter = match input.u8() % 4 {
            0 => input.u64(),
            1 => self.counter.saturating_sub(input.u16().into()),
            2 => self.counter.saturating_add(input.u16().into()),
            _ => self.counter,
        };
        self.counter = self.counter.max(counter).saturating_add(1);
        let style = input.u8();
        let source = mallory_at(input.u8());
        let ecn = Ecn::from_traffic_class(input.u8());
        let len = input.below(MAX_LEN);
        let bytes = input.take(len);
        let plain = match style % 4 {
            0 => bytes.to_vec(),
            // In the name of the client.
            3 => packet(inner(1), inner(0), bytes),
            // The header is right but for what the first bytes say.
            1 => packet(inner(MALLORY), inner(usize::from(style >> 7)), bytes),
            _ => {
                let mut plain = packet(inner(MALLORY), inner(0), &[0; 100]);
                for (byte, change) in plain.iter_mut().zip(bytes) {
                    *byte ^= change;
                }
                plain
            }
        };
        let Some(session) = self.sessions.get(newest) else {
            return;
        };
        let message = session.seal(counter, &plain);
        self.world
            .deliver_train(0, source, &message, message.len(), ecn);
    }

    fn dial(&mut self, input: &mut Input<'_>) {
        let time = self.time.wrapping_add(input.u8().into()).wrapping_sub(8);
        let source = mallory_at(input.u8());
        if let Some(session) = self.mallory.dial(&mut self.world, source, time) {
            assert!(time > self.time, "an old initiation was answered");
            self.sessions.push(session);
            (self.counter, self.time) = (1, time);
        }
    }

    /// An honest packet, unlike all others.
    fn talk(&mut self, input: &mut Input<'_>) {
        let from = usize::from(input.u8() & 1);
        self.packets += 1;
        let mut payload = self.packets.to_be_bytes().to_vec();
        payload.resize(4 + input.below(MAX_LEN), 0x5a);
        let packet = packet(inner(from), inner(1 - from), &payload);
        self.under_way.insert(packet.clone());
        self.world.send(from, &packet);
    }

    fn talk_to_mallory(&mut self, input: &mut Input<'_>) {
        let payload = vec![0x5a; input.below(MAX_LEN)];
        let packet = packet(inner(0), inner(MALLORY), &payload);
        let before = self.world.seen.len();
        self.world.send(0, &packet);
        for seen in &self.world.seen[before..] {
            if seen.kind == Kind::Data && seen.destination.ip() == mallory_at(0).ip() {
                let mut sessions = self.sessions.iter().rev();
                let plain = sessions.find_map(|session| session.open(&seen.bytes));
                let plain = plain.expect("sealed for her");
                assert_eq!(plain[..packet.len()], packet);
                assert!(plain[packet.len()..].iter().all(|byte| *byte == 0));
            }
        }
    }

    fn wait(&mut self, input: &mut Input<'_>) {
        let wait = match input.u8() % 4 {
            0 => Duration::from_secs(input.u8().into()),
            _ => Duration::from_millis(input.u8().into()),
        };
        self.world.run(wait);
    }

    /// A message that went over the link: which node it was for, and where it came from.
    fn recorded(&self, input: &mut Input<'_>) -> Option<(usize, SocketAddr, Vec<u8>)> {
        let seen = &self.world.seen[input.below(self.world.seen.len())];
        let nodes = &self.world.nodes;
        let node = nodes
            .iter()
            .position(|node| node.address == seen.destination)?;
        Some((node, seen.source, seen.bytes.clone()))
    }

    /// Delivers a changed message. Who is on the way may answer in the name of the one who was
    /// asked, and be believed, where MAC1 and MAC2 are all that is changed: from there it comes.
    fn deliver(&mut self, node: usize, source: SocketAddr, bytes: &[u8]) {
        let source = match bytes.first() {
            Some(2 | 3) => source,
            _ => stranger(),
        };
        let before = self.world.seen.len();
        self.world.deliver(node, source, bytes);
        let answers = &self.world.seen[before..];
        let answers = answers.iter().filter(|seen| seen.destination == stranger());
        let len: usize = answers.map(|seen| seen.bytes.len()).sum();
        assert!(len <= bytes.len(), "{len} bytes for {}", bytes.len());
    }

    /// What came out is what was put in, once; what is Mallory's has her address.
    fn check(&mut self) {
        for node in [0, 1] {
            for packet in &self.world.nodes[node].received[self.checked[node]..] {
                let header = ip::Header::parse(packet).expect("an IP packet");
                assert_eq!(header.total_len, packet.len());
                if node == 1 {
                    assert_eq!(header.destination, IpAddr::from(inner(1)));
                }
                if header.source != IpAddr::from(inner(MALLORY)) {
                    assert!(self.under_way.remove(packet), "from nowhere, or again");
                }
            }
            self.checked[node] = self.world.nodes[node].received.len();
        }
    }

    fn finish(mut self) {
        self.world.run(Duration::from_secs(400));
        self.check();
        // A handshake may have to begin anew: nine minutes after a session all keys are forgotten.
        let reaches = self.world.ping(1, 0) || self.world.ping(1, 0);
        assert!(reaches, "the client is cut off");
        assert!(self.world.ping(0, 1), "the client is not reached");
    }
}

fn mallory_at(port: u8) -> SocketAddr {
    address([203, 0, 113, 200], 1_000 + u16::from(port % 4))
}

fn stranger() -> SocketAddr {
    address([198, 51, 100, 66], 666)
}

/// Flips some bits, and makes it shorter or longer.
fn edit(bytes: &mut Vec<u8>, input: &mut Input<'_>) {
    for _ in 0..input.u8() % 4 {
        let at = input.below(bytes.len());
        bytes[at] ^= input.u8();
    }
    if input.u8() % 4 == 1 {
        bytes.resize(1 + input.below(MAX_LEN), 0);
    }
}
