//! Messages that somebody on the way changed: they do nothing, and spoil nothing.

use std::time::Duration;

use crate::initiator::{Initiator, sign};
use crate::world::{Kind, LATENCY, World, address, inner, packet};

const THIEF: ([u8; 4], u16) = ([203, 0, 113, 66], 66);

const MAC2: usize = 16;

/// The first message of this kind that went over the link.
fn first(world: &World, kind: Kind) -> Vec<u8> {
    let mut seen = world.seen.iter();
    seen.find(|seen| seen.kind == kind).unwrap().bytes.clone()
}

#[test]
fn an_initiation_with_one_wrong_bit_is_met_with_silence() {
    let mut world = World::hub(1);
    world.lose(|_| true);
    world.send(1, &packet(inner(1), inner(0), b"x"));
    let initiation = first(&world, Kind::Initiation);
    let sent = world.seen.len();
    let thief = address(THIEF.0, THIEF.1);
    // MAC2 is looked at under load only.
    for at in 0..initiation.len() - MAC2 {
        let mut changed = initiation.clone();
        changed[at] ^= 0x10;
        world.deliver(0, thief, &changed);
        // The sealed parts are held to their tags even where MAC1 is made to fit. The index in
        // front of them is not, and need not be: what it says, the peer only says of itself.
        if (8..116).contains(&at) {
            sign(&mut changed, &world.nodes[0].public_key);
            world.deliver(0, thief, &changed);
        }
        world.run(Duration::from_millis(20));
        let server = world.nodes[0].address;
        assert!(
            world.seen[sent..].iter().all(|seen| seen.source != server),
            "byte {at}"
        );
    }
    assert_eq!(world.peer(0, 1).endpoint, None);
    // None of them took the place of the right one.
    world.lose(|_| false);
    world.deliver(0, world.nodes[1].address, &initiation);
    world.run(LATENCY);
    assert_eq!(world.kinds_since(Duration::ZERO)[&Kind::Response], 1);
}

#[test]
fn a_response_with_one_wrong_bit_does_not_spoil_the_handshake() {
    let mut world = World::hub(1);
    world.lose(|seen| seen.kind == Kind::Response);
    world.send(1, &packet(inner(1), inner(0), b"x"));
    world.run(3 * LATENCY);
    let response = first(&world, Kind::Response);
    let sent = world.seen.len();
    let server = world.nodes[0].address;
    for at in 0..response.len() - MAC2 {
        let mut changed = response.clone();
        changed[at] ^= 0x10;
        world.deliver(1, server, &changed);
        if (8..60).contains(&at) {
            sign(&mut changed, &world.nodes[1].public_key);
            world.deliver(1, server, &changed);
        }
        world.run(Duration::from_millis(10));
        assert_eq!(world.seen.len(), sent, "byte {at}");
    }
    world.deliver(1, server, &response);
    world.run(LATENCY);
    assert_eq!(world.nodes[0].received.len(), 1);
}

#[test]
fn a_data_message_with_one_wrong_bit_is_dropped_and_the_right_one_still_taken() {
    let mut world = World::hub(1);
    assert!(world.ping(1, 0));
    let endpoint = world.peer(0, 1).endpoint;
    world.lose(|_| true);
    let before = world.seen.len();
    world.send(1, &packet(inner(1), inner(0), b"all or nothing"));
    let message = world.seen[before].bytes.clone();
    let received = world.nodes[0].received.len();
    for at in 0..message.len() {
        for bit in [0x01, 0x80] {
            let mut changed = message.clone();
            changed[at] ^= bit;
            world.deliver(0, address(THIEF.0, THIEF.1), &changed);
        }
    }
    for len in 0..message.len() {
        world.deliver(0, address(THIEF.0, THIEF.1), &message[..len]);
    }
    assert_eq!(world.nodes[0].received.len(), received);
    assert_eq!(world.peer(0, 1).endpoint, endpoint);
    world.deliver(0, world.nodes[1].address, &message);
    assert_eq!(world.nodes[0].received.len(), received + 1);
}

/// Also in the short time in which the client waits for a response, or for a cookie.
#[test]
fn a_cookie_reply_that_nobody_sent_changes_nothing() {
    let mut world = World::hub(1);
    world.lose(|seen| seen.kind == Kind::Response);
    world.send(1, &packet(inner(1), inner(0), b"x"));
    let mut cookie = vec![3, 0, 0, 0];
    cookie.extend(&world.seen[0].bytes[4..8]);
    cookie.resize(64, 0x77);
    let drops = world.drops(1).handshake;
    world.deliver(1, world.nodes[0].address, &cookie);
    world.run(LATENCY);
    assert_eq!(world.drops(1).handshake, drops + 1);
    world.lose(|_| false);
    world.run(Duration::from_secs(6));
    assert_eq!(world.nodes[0].received.len(), 1);
    world.deliver(1, world.nodes[0].address, &cookie);
    assert!(world.ping(1, 0));
}

/// An initiation that was made before the last one is a replay, or as good as one (the paper,
/// section 5.1).
#[test]
fn an_older_initiation_is_refused_though_it_was_never_seen() {
    let mut world = World::hub(0);
    let mut client = Initiator::acquainted(&mut world, inner(1));
    let source = address([203, 0, 113, 7], 7);
    for (time, answered) in [
        (100, true),
        (100, false),
        (99, false),
        (101, true),
        (0, false),
    ] {
        let session = client.dial(&mut world, source, time);
        assert_eq!(session.is_some(), answered, "{time}");
        world.run(Duration::from_secs(1));
    }
}
