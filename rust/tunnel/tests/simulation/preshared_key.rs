//! Another preshared key is for the next handshake: the session goes on, and what was learnt of the
//! peer stays, as in the kernel (`set_peer`, `netlink.c`).
//!
//! No initiation is sent before its tunnel is made anew, but the first of a tunnel: boringtun's time
//! stamps begin with the true time, which stands still here (see README.md).

use std::net::SocketAddr;
use std::time::Duration;

use wgbind_tunnel::{PeerChange, PresharedKey, PrivateKey, TunnelChange};

use crate::chaos::Random;
use crate::initiator::{Initiator, Session};
use crate::world::{Kind, LATENCY, Seen, World, address, inner, packet};

const SECOND: Duration = Duration::from_secs(1);

/// The paper's Rekey-After-Time and Reject-After-Time (section 6.1).
const REKEY: Duration = Duration::from_secs(120);
const REJECT: Duration = Duration::from_secs(180);

fn set(world: &mut World, node: usize, peer: usize, key: Option<PresharedKey>) {
    let mut change = world.change_of(peer);
    change.preshared_key = Some(key);
    world.apply_peer(node, change);
}

/// Gives both ends of a tunnel the same new key.
fn set_both(world: &mut World) {
    let key = PresharedKey::generate();
    set(world, 0, 1, Some(key.clone()));
    set(world, 1, 0, Some(key));
}

/// A packet each way in each tenth of a second; how many arrived, once each and in order.
fn talk(world: &mut World, duration: Duration) -> [usize; 2] {
    let before = [0, 1].map(|node| world.nodes[node].received.len());
    let end = world.elapsed() + duration;
    while world.elapsed() < end {
        let number = world.elapsed().as_nanos().to_be_bytes();
        for (from, to) in [(0, 1), (1, 0)] {
            world.send(from, &packet(inner(from), inner(to), &number));
        }
        world.run(Duration::from_millis(100));
    }
    [0, 1].map(|node| {
        let received = &world.nodes[node].received[before[node]..];
        let in_order = received.is_sorted_by(|one, other| one[20..] < other[20..]);
        assert!(in_order, "doubled or overtaken");
        received.len()
    })
}

/// `talk` without a loss.
fn talk_whole(world: &mut World, seconds: u32) {
    let all = seconds as usize * 10;
    assert_eq!(talk(world, seconds * SECOND), [all, all]);
}

fn initiations(world: &World) -> Vec<&Seen> {
    let seen = world.seen.iter();
    seen.filter(|seen| seen.kind == Kind::Initiation).collect()
}

/// A session that node `first` began.
fn connected(first: usize) -> World {
    let mut world = World::hub(1);
    world.acquaint(0, 1, "10.0.0.2/32", true);
    assert!(world.ping(first, 1 - first));
    world
}

#[test]
fn the_session_goes_on_and_the_next_one_begins_when_it_would_have() {
    for first in [0, 1] {
        let mut world = connected(first);
        let before = world.peer(0, 1);
        let key = PresharedKey::generate();
        talk_whole(&mut world, 30);
        set(&mut world, first, 1 - first, Some(key.clone()));
        talk_whole(&mut world, 30);
        let between = world.peer(0, 1);
        assert_eq!(between.last_handshake, before.last_handshake);
        assert!(between.rx_bytes > before.rx_bytes);
        set(&mut world, 1 - first, first, Some(key));
        talk_whole(&mut world, 50);
        assert_eq!(initiations(&world).len(), 1);
        talk_whole(&mut world, 60);
        let at: Vec<_> = initiations(&world).iter().map(|seen| seen.at).collect();
        assert_eq!(at.len(), 2, "{at:?}");
        assert!(at[1] - at[0] >= REKEY && at[1] - at[0] < REKEY + SECOND);
        let (zero, one) = (world.peer(0, 1), world.peer(1, 0));
        assert_eq!((zero.rx_bytes, zero.tx_bytes), (one.tx_bytes, one.rx_bytes));
        assert!(zero.last_handshake > before.last_handshake);
        assert_eq!(world.drops(0).data + world.drops(0).handshake, 0);
    }
}

#[test]
fn one_side_alone_has_no_session_after_the_one_that_there_is() {
    for alone in [0, 1] {
        let mut world = connected(1);
        let key = PresharedKey::generate();
        set(&mut world, alone, 1 - alone, Some(key.clone()));
        talk_whole(&mut world, 179);
        world.run(2 * SECOND);
        let before = world.peer(0, 1);
        assert_eq!(talk(&mut world, 20 * SECOND), [0, 0]);
        assert_eq!(world.peer(0, 1).last_handshake, before.last_handshake);
        set(&mut world, 1 - alone, alone, Some(key));
        // At the next try of who began it; both still have something to say.
        let [to_server, to_client] = talk(&mut world, 6 * SECOND);
        assert!(to_client > 0 && to_server > 0, "{alone}");
        talk_whole(&mut world, 30);
    }
}

#[test]
fn keys_may_follow_each_other_with_and_without_handshakes_between() {
    let mut world = connected(1);
    for _ in 0..50 {
        set_both(&mut world);
        talk_whole(&mut world, 1);
    }
    assert_eq!(initiations(&world).len(), 1);
    for _ in 0..5 {
        talk_whole(&mut world, 125);
        set_both(&mut world);
    }
    assert_eq!(initiations(&world).len(), 6);
    // Back and forth is another key as well, and none is one.
    set(&mut world, 0, 1, None);
    set(&mut world, 1, 0, None);
    talk_whole(&mut world, 125);
}

/// Keepalives renew no session: at its end they begin a new one.
#[test]
fn keepalives_go_on_with_the_next_key() {
    for (first, interval) in [(0, 1), (1, 2), (0, 3), (1, 5), (0, 10), (1, 25)] {
        let mut world = connected(first);
        let mut change = world.change_of(1 - first);
        change.persistent_keepalive = Some(interval);
        world.apply_peer(first, change);
        set_both(&mut world);
        world.run(3 * REJECT);
        let at = initiations(&world);
        assert!(at.len() >= 3 && at[1].at >= REJECT, "{}", at.len());
        assert_eq!(world.kinds_since(Duration::ZERO)[&Kind::Response], at.len());
        let refused = world.drops(0).handshake + world.drops(1).handshake;
        assert_eq!(refused, 0, "begun with the key of before");
    }
}

/// The server's tunnel for the new key is there, because of a client that begins a handshake and ends
/// none; the session that the server began is another tunnel's.
#[test]
fn the_initiator_renews_a_session_of_before() {
    let mut world = connected(0);
    set_both(&mut world);
    let key = world.nodes[1].tunnel.private_key().unwrap().clone();
    let mut client = Initiator::new(*key.reveal(), world.nodes[0].public_key);
    let source = world.nodes[1].address;
    world.deliver(0, source, &client.initiation(1, 1));
    talk_whole(&mut world, 125);
    let at: Vec<_> = initiations(&world).iter().map(|seen| seen.at).collect();
    assert!(at.len() == 2 && at[1] < REKEY + 2 * SECOND, "{at:?}");
}

#[test]
fn a_replayed_initiation_of_before_is_refused() {
    let mut world = connected(1);
    let initiation = initiations(&world)[0].clone();
    let refused = |world: &mut World| {
        let (before, drops) = (world.seen.len(), world.drops(0).handshake);
        world.deliver(0, address([192, 0, 2, 66], 6666), &initiation.bytes);
        world.run(SECOND);
        assert_eq!(world.seen.len(), before);
        assert_eq!(world.drops(0).handshake, drops + 1);
        assert_eq!(world.peer(0, 1).endpoint, Some(initiation.source));
    };
    for _ in 0..3 {
        set_both(&mut world);
        refused(&mut world);
        refused(&mut world);
        assert!(world.ping(1, 0) && world.ping(0, 1));
    }
    // Nor without a session, nor by a server that had no key for a while.
    world.run(2 * REJECT);
    set_both(&mut world);
    refused(&mut world);
    let key = world.nodes[0].tunnel.private_key().cloned();
    for key in [None, Some(PrivateKey::generate()), key] {
        let private_key = Some(key);
        let change = TunnelChange {
            private_key,
            ..TunnelChange::default()
        };
        world.apply(0, change);
    }
    refused(&mut world);
    assert!(world.ping(1, 0));
}

#[test]
fn what_was_under_way_arrives_once() {
    let mut world = connected(1);
    world.run(100 * SECOND);
    set_both(&mut world);
    // Sealed with the session of before, and held back until there is another one.
    world.lose(|_| true);
    let before = world.seen.len();
    let late = packet(inner(1), inner(0), b"late");
    world.send(1, &late);
    let message = world.seen[before].bytes.clone();
    world.lose(|_| false);
    talk_whole(&mut world, 30);
    assert_eq!(initiations(&world).len(), 2);
    let (received, drops) = (world.nodes[0].received.len(), world.drops(0).data);
    let roamed = address([203, 0, 113, 9], 9);
    for _ in 0..2 {
        world.deliver(0, roamed, &message);
    }
    assert_eq!(world.nodes[0].received[received..], [late]);
    assert_eq!(world.drops(0).data, drops + 1);
    assert_eq!(world.peer(0, 1).endpoint, Some(roamed));
}

#[test]
fn a_handshake_that_is_under_way_is_begun_anew() {
    let mut world = World::hub(1);
    let hello = packet(inner(1), inner(0), b"hello");
    world.send(1, &hello);
    world.run(LATENCY);
    assert_eq!(world.kinds_since(Duration::ZERO)[&Kind::Response], 1);
    set_both(&mut world);
    // The response comes that was made with the key of before.
    world.run(SECOND);
    assert_eq!(world.nodes[0].received, [hello]);
    assert_eq!(initiations(&world).len(), 2);
}

#[test]
fn a_handshake_that_was_answered_is_completed() {
    let mut world = connected(1);
    world.run(2 * REJECT);
    let hello = packet(inner(1), inner(0), b"hello");
    world.send(1, &hello);
    world.run(LATENCY);
    let reply = packet(inner(0), inner(1), b"reply");
    set(&mut world, 0, 1, Some(PresharedKey::generate()));
    let before = world.nodes[1].received.len();
    world.run(3 * LATENCY);
    world.send(0, &reply);
    world.run(LATENCY);
    assert_eq!(world.nodes[0].received.last(), Some(&hello));
    assert_eq!(world.nodes[1].received[before..], [reply]);
}

#[test]
fn a_removed_peer_is_gone_with_both_tunnels() {
    let mut world = connected(1);
    set_both(&mut world);
    talk_whole(&mut world, 125);
    let mut change = world.change_of(1);
    change.remove = true;
    world.apply_peer(0, change);
    let (received, unknown) = (world.nodes[0].received.len(), world.drops(0).unknown_index);
    let data = world.seen.iter().filter(|seen| seen.kind == Kind::Data);
    let data: Vec<_> = data.cloned().collect();
    let to_server = data
        .iter()
        .filter(|seen| seen.destination == world.nodes[0].address);
    let messages: Vec<_> = to_server.collect();
    for seen in &messages {
        world.deliver(0, seen.source, &seen.bytes);
    }
    assert_eq!(world.nodes[0].received.len(), received);
    assert_eq!(
        world.drops(0).unknown_index - unknown,
        messages.len() as u64
    );
}

/// A client that is made from the paper, and a server, each with this preshared key or that.
struct Strangers {
    world: World,
    client: Initiator,
    keys: [u8; 2],
    /// The client's sessions, the newest last, when they began and what was sent with them.
    sessions: Vec<(Session, Duration, u64)>,
    sent: Vec<Vec<u8>>,
    initiations: Vec<Vec<u8>>,
    refusals: usize,
    /// Whether the server has had another key since the newest session began.
    has_changed: bool,
}

impl Strangers {
    fn new() -> Self {
        let mut world = World::hub(0);
        Self {
            client: Initiator::acquainted(&mut world, inner(1)),
            world,
            keys: [0, 0],
            sessions: Vec::new(),
            sent: Vec::new(),
            initiations: Vec::new(),
            refusals: 0,
            has_changed: false,
        }
    }

    fn source() -> SocketAddr {
        address([203, 0, 113, 7], 7)
    }

    fn set(&mut self, end: usize, key: u8) {
        self.keys[end] = key;
        if end == 1 {
            self.client.preshared_key = [key; 32];
            return;
        }
        self.has_changed = true;
        let mut change = PeerChange::new(self.client.public_key());
        change.preshared_key = Some((key > 0).then(|| PresharedKey::from_bytes([key; 32])));
        self.world.apply_peer(0, change);
    }

    fn dial(&mut self) {
        // More handshakes in a row that come to nothing push a session out of boringtun's ring.
        if self.keys[0] != self.keys[1] && self.refusals == 3 {
            self.set(1, self.keys[0]);
        }
        let time = self.initiations.len() as u64 + 1;
        self.initiations
            .push(self.client.initiation(time as u32, time));
        let session = self.client.dial(&mut self.world, Self::source(), time);
        assert_eq!(session.is_some(), self.keys[0] == self.keys[1]);
        match session {
            None => self.refusals += 1,
            Some(session) => {
                self.refusals = 0;
                self.has_changed = false;
                self.sessions.push((session, self.world.elapsed(), 1));
            }
        }
    }

    /// Whether a session is good; none in the moment of its end.
    fn is_good(&self, since: Duration) -> Option<bool> {
        let age = self.world.elapsed() - since;
        (age + SECOND < REJECT || age > REJECT + 2 * SECOND).then_some(age < REJECT)
    }

    /// The client sends a packet with its newest session, or with the one before.
    fn say(&mut self, back: usize) {
        let Some(number) = self.sessions.len().checked_sub(1 + back) else {
            return;
        };
        let mut good = self.is_good(self.sessions[number].1);
        let newest = self.sessions[self.sessions.len() - 1].1;
        if back > 0 && (self.has_changed || self.world.elapsed() - newest > 60 * SECOND) {
            // Nobody waits for what is that late; of three tunnels the oldest is gone.
            good = good.filter(|good| !good);
        }
        let (session, _, counter) = &mut self.sessions[number];
        let text = [number as u64, *counter].map(u64::to_be_bytes).concat();
        let packet = packet(inner(1), inner(0), &text);
        let message = session.seal(*counter, &packet);
        *counter += 1;
        let taken = self.take(&message, Self::source());
        assert!(
            good.is_none_or(|good| taken == good),
            "{good:?}, {back} back"
        );
        self.sent.push(message);
    }

    fn take(&mut self, message: &[u8], source: SocketAddr) -> bool {
        let before = self.world.nodes[0].received.len();
        self.world.deliver(0, source, message);
        self.world.nodes[0].received.len() > before
    }

    /// The server sends a packet; the client opens it with its newest session.
    fn hear(&mut self) {
        let before = self.world.seen.len();
        let packet = packet(inner(0), inner(1), b"news");
        self.world.send(0, &packet);
        let Some(since) = self.sessions.last().map(|(_, since, _)| *since) else {
            return;
        };
        let good = self.is_good(since);
        let Some((session, _, counter)) = self.sessions.last_mut() else {
            return;
        };
        let mut data = self.world.seen[before..].iter();
        let message = data.find(|seen| seen.kind == Kind::Data);
        let plain = message.map(|seen| session.open(&seen.bytes).unwrap());
        let is_right = plain.is_some_and(|plain| plain.starts_with(&packet));
        assert!(good.is_none_or(|good| good == is_right), "{good:?}");
        let keepalive = session.seal(*counter, &[]);
        *counter += 1;
        // Without an answer the server would begin a handshake, and give up everything with it.
        self.world.deliver(0, Self::source(), &keepalive);
    }

    /// Somebody else says something again.
    fn replay(&mut self, random: &mut Random) {
        let thief = address([192, 0, 2, 66], 6666);
        for messages in [self.initiations.clone(), self.sent.clone()] {
            if !messages.is_empty() {
                let message = &messages[random.below(messages.len() as u64) as usize];
                let before = self.world.seen.len();
                assert!(!self.take(message, thief));
                self.world.run(SECOND);
                let mut answers = self.world.seen[before..].iter();
                assert!(answers.all(|seen| seen.destination != thief));
            }
        }
    }
}

#[test]
fn whatever_keys_follow_each_other_sessions_last_and_nothing_is_taken_twice() {
    let (mut sessions, mut refusals) = (0, 0);
    for seed in 0..60 {
        let mut random = Random(seed);
        let mut strangers = Strangers::new();
        for _ in 0..120 {
            match random.below(16) {
                0..=1 => strangers.set(0, random.below(3) as u8),
                2 => strangers.set(1, random.below(3) as u8),
                3..=4 => strangers.set(1, strangers.keys[0]),
                5..=7 => strangers.dial(),
                8..=9 => strangers.say(0),
                10 => strangers.say(1),
                11..=12 => strangers.hear(),
                13 => strangers.replay(&mut random),
                _ => strangers.world.run(SECOND * random.below(70) as u32),
            }
            strangers.world.run(SECOND);
        }
        sessions += strangers.sessions.len();
        refusals += strangers.initiations.len() - strangers.sessions.len();
    }
    assert!(sessions > 600 && refusals > 100, "{sessions} {refusals}");
}
