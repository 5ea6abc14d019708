//! Handshakes (the paper, sections 5.4.2 to 5.4.4 and 6.1 to 6.4).

use std::time::Duration;

use crate::world::{Kind, LATENCY, World, allowed, inner, packet};
use wgbind_tunnel::{PresharedKey, PublicKey};

#[test]
fn one_handshake_serves_both_ways() {
    let mut world = World::hub(1);
    assert!(world.ping(1, 0));
    assert!(world.ping(0, 1));
    let kinds = world.kinds_since(Duration::ZERO);
    assert_eq!(kinds[&Kind::Initiation], 1);
    assert_eq!(kinds[&Kind::Response], 1);
    assert_eq!(kinds[&Kind::Data], 4);
}

/// boringtun stamps a handshake with the time of the last `update_timers`; a server that waited
/// long without it throws the fresh session away (upstream issues 247 and 258).
#[test]
fn a_server_that_was_up_for_ten_minutes_serves_its_first_client_at_once() {
    let mut world = World::hub(1);
    world.run(Duration::from_secs(600));
    assert!(world.ping(1, 0));
    // Nor is the session lost at one of the next ticks.
    for _ in 0..100 {
        world.run(Duration::from_millis(200));
        assert!(world.ping(0, 1));
    }
    assert_eq!(world.kinds_since(Duration::ZERO)[&Kind::Initiation], 1);
}

#[test]
fn a_client_that_was_away_for_ten_minutes_comes_back_at_once() {
    let mut world = World::hub(1);
    assert!(world.ping(1, 0));
    world.run(Duration::from_secs(620));
    assert!(world.ping(1, 0));
    world.run(Duration::from_secs(5));
    assert!(world.ping(0, 1));
}

#[test]
fn the_time_of_the_last_handshake_is_that_of_its_completion() {
    let mut world = World::hub(1);
    world.run(Duration::from_secs(5));
    // The responder does not know that its response arrived until data comes.
    world.lose(|seen| matches!(seen.kind, Kind::Keepalive | Kind::Data));
    world.send(1, &packet(inner(1), inner(0), b"lost"));
    world.run(Duration::from_secs(1));
    assert_eq!(world.peer(0, 1).last_handshake, None);
    world.lose(|_| false);
    let before = world.now().unix;
    assert!(world.ping(1, 0));
    assert_eq!(world.peer(0, 1).last_handshake, Some(before + LATENCY));
}

#[test]
fn since_when_initiations_are_not_answered_is_told() {
    let mut world = World::hub(1);
    world.lose(|_| true);
    world.run(Duration::from_secs(5));
    assert_eq!(world.peer(1, 0).initiating_since, None);
    let since = world.now().unix;
    world.send(1, &packet(inner(1), inner(0), b"hello?"));
    // All the repetitions are one, and so is the time after they are given up.
    for _ in 0..3 {
        world.run(Duration::from_secs(60));
        assert_eq!(world.peer(1, 0).initiating_since, Some(since));
    }
    world.lose(|_| false);
    assert!(world.ping(1, 0));
    assert_eq!(world.peer(1, 0).initiating_since, None);
    assert_eq!(world.peer(0, 1).initiating_since, None);
}

/// What a responder wants to say waits until the initiator has used the session (section 5.4.4),
/// and goes out then, in order, without a handshake of the responder's own.
#[test]
fn the_responder_flushes_when_the_initiator_confirms() {
    let mut world = World::hub(1);
    assert!(world.ping(1, 0));
    world.run(Duration::from_secs(400));
    // The sessions are gone. The client's address is known, but nothing gets through to it.
    let cut = world.elapsed();
    world.lose(|seen| seen.source.ip().to_string() == "192.0.2.1");
    for number in 0..5u8 {
        world.send(0, &packet(inner(0), inner(1), &[number]));
    }
    world.lose(|_| false);
    let before = world.nodes[1].received.len();
    world.send(1, &packet(inner(1), inner(0), b"here I am"));
    world.run(Duration::from_secs(1));
    let arrived: Vec<u8> = world.nodes[1].received[before..]
        .iter()
        .map(|packet| packet[20])
        .collect();
    assert_eq!(arrived, [0, 1, 2, 3, 4]);
    // Each side started one handshake, before it knew of the other's.
    assert_eq!(world.kinds_since(cut)[&Kind::Initiation], 2);
}

#[test]
fn a_preshared_key_must_be_the_same_on_both_sides() {
    let mut world = World::hub(1);
    let key = PresharedKey::generate();
    let mut change = world.change_of(1);
    change.preshared_key = Some(Some(key.clone()));
    world.apply_peer(0, change);
    assert!(!world.ping(1, 0));
    let mut change = world.change_of(0);
    change.preshared_key = Some(Some(key));
    world.apply_peer(1, change);
    assert!(world.ping(1, 0));
}

#[test]
fn a_replayed_initiation_is_refused() {
    let mut world = World::hub(1);
    assert!(world.ping(1, 0));
    world.run(Duration::from_secs(1));
    let initiation = world
        .seen
        .iter()
        .find(|seen| seen.kind == Kind::Initiation)
        .unwrap()
        .clone();
    let (before, drops) = (world.seen.len(), world.drops(0).handshake);
    world.deliver(0, "192.0.2.66:6666".parse().unwrap(), &initiation.bytes);
    assert_eq!(world.seen.len(), before);
    assert_eq!(world.drops(0).handshake, drops + 1);
    assert_eq!(world.peer(0, 1).endpoint, Some(initiation.source));
}

#[test]
fn a_peer_of_low_order_is_sent_nothing() {
    let mut world = World::hub(1);
    let mut change = wgbind_tunnel::PeerChange::new(PublicKey::from_bytes([0; 32]));
    change.endpoint = Some("192.0.2.9:1".parse().unwrap());
    change.persistent_keepalive = Some(1);
    change.allowed_ips = vec![allowed("10.0.9.0/24")];
    world.apply_peer(0, change);
    world.send(0, &packet(inner(0), [10, 0, 9, 9].into(), b"hello"));
    world.run(Duration::from_secs(5));
    assert!(world.seen.is_empty());
}

#[test]
fn crossing_handshakes_end_in_a_session() {
    let mut world = World::hub(1);
    assert!(world.ping(1, 0));
    world.run(Duration::from_secs(200));
    world.send(0, &packet(inner(0), inner(1), b"crossing"));
    world.send(1, &packet(inner(1), inner(0), b"crossing"));
    world.run(Duration::from_secs(1));
    assert!(world.ping(0, 1));
    assert!(world.ping(1, 0));
    assert_eq!(
        world.nodes[0]
            .received
            .iter()
            .filter(|p| p.ends_with(b"crossing"))
            .count(),
        1
    );
    assert_eq!(
        world.nodes[1]
            .received
            .iter()
            .filter(|p| p.ends_with(b"crossing"))
            .count(),
        1
    );
}

#[test]
fn many_initiations_wait_for_their_turns() {
    let mut world = World::hub(20);
    for client in 1..=20 {
        world.send(client, &packet(inner(client), inner(0), b"hello"));
    }
    world.run(LATENCY);
    let responses = world.kinds_since(Duration::ZERO)[&Kind::Response];
    assert_eq!(responses, 1, "all came in one moment");
    world.run(Duration::from_secs(1));
    assert_eq!(world.nodes[0].received.len(), 20);
    assert_eq!(world.drops(0).crowded, 0);
}
