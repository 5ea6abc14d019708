//! A flood of initiations with a right MAC1, which is met with cookies (the paper, section 5.3): who
//! has a session renews it, and who wants one gets it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::world::{Kind, Seen, World, inner, packet};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);

/// Initiations of the flood in a millisecond: more than there are cookies for.
const RATE: u32 = 8;

/// Cookies in a second: 5,000 for those who ask first, as many for those who ask again, and 500.
const COOKIES: usize = 10_500;

/// How long a client may take: three tries, five seconds apart.
const TRIES: Duration = Duration::from_secs(16);

/// Two minutes of a session, of which the last seconds and some more are beside a flood from so many
/// addresses.
fn withstand(sources: u32) {
    let mut world = World::guarded_hub(2);
    let stranger = world.add_node();
    world.acquaint(stranger, 0, "10.0.0.0/24", true);
    world.send(stranger, &packet(inner(3), inner(0), b"x"));
    let stray = world.seen[0].bytes.clone();
    world.run(SECOND);
    assert!(world.ping(1, 0));
    while world.elapsed() < REKEY_AFTER_TIME - 3 * SECOND {
        world.run(SECOND);
        assert!(world.ping(1, 0));
    }

    let start = world.elapsed();
    let received = world.nodes[0].received.len();
    world.send(2, &packet(inner(2), inner(0), b"newcomer"));
    let (mut sent, mut talk) = (0, 0_u32);
    while world.elapsed() < start + TRIES {
        for _ in 0..RATE {
            let number = 0x0a00_0000 + sent % sources;
            let source = SocketAddr::from((number.to_be_bytes(), 7));
            world.deliver(0, source, &stray);
            sent += 1;
        }
        if sent % (100 * RATE) == 0 {
            talk += 1;
            world.send(1, &packet(inner(1), inner(0), &talk.to_be_bytes()));
        }
        world.run(MILLISECOND);
    }
    world.run(SECOND);

    let beside = &world.nodes[0].received[received..];
    let is_newcomer = |packet: &&Vec<u8>| packet.ends_with(b"newcomer");
    assert_eq!(beside.iter().filter(is_newcomer).count(), 1, "not let in");
    // Each packet of the session came through, in its order.
    let said: Vec<_> = beside
        .iter()
        .filter(|packet| !is_newcomer(packet))
        .collect();
    assert_eq!(said.len(), talk as usize);
    for (number, packet) in (1_u32..).zip(said) {
        assert!(packet.ends_with(&number.to_be_bytes()), "{number}");
    }
    let of_server = |seen: &&Seen| seen.at >= start && seen.source == world.nodes[0].address;
    let answers: Vec<_> = world.seen.iter().filter(of_server).collect();
    let responses = answers.iter().filter(|seen| seen.kind == Kind::Response);
    let mut answered: Vec<_> = responses.map(|seen| seen.destination).collect();
    answered.sort();
    let clients = [1, 2].map(|node: usize| world.nodes[node].address);
    assert_eq!(answered, clients, "the old one was renewed");
    let cookies = answers
        .iter()
        .filter(|seen| seen.kind == Kind::Cookie)
        .count();
    assert!(cookies <= COOKIES * 18, "{cookies} cookies");
    let drops = world.drops(0);
    assert!(drops.rate_limited > 0 || sources > sent, "{drops:?}");
}

#[test]
fn from_everywhere() {
    withstand(u32::MAX);
}

#[test]
fn from_the_same_addresses_again_and_again() {
    withstand(200);
}
