//! Roaming (the paper, section 2.1): a peer is where its last authenticated message came from.

use std::time::Duration;

use crate::world::{Kind, World, address, inner, packet};

#[test]
fn the_endpoint_follows_data_and_the_session_goes_on() {
    let mut world = World::hub(1);
    assert!(world.ping(1, 0));
    let handshake = world.peer(0, 1).last_handshake;
    for port in [4000, 4001, 4002] {
        world.nodes[1].address = address([198, 51, 100, 7], port);
        assert!(world.ping(1, 0));
        assert_eq!(world.peer(0, 1).endpoint, Some(world.nodes[1].address));
    }
    assert!(world.ping(0, 1));
    assert_eq!(world.peer(0, 1).last_handshake, handshake);
}

#[test]
fn the_endpoint_follows_a_handshake() {
    let mut world = World::hub(1);
    assert!(world.ping(1, 0));
    world.run(Duration::from_secs(200));
    world.nodes[1].address = address([198, 51, 100, 8], 4);
    world.lose(|seen| seen.kind != Kind::Initiation);
    world.send(1, &packet(inner(1), inner(0), b"hello"));
    world.run(Duration::from_secs(1));
    assert_eq!(world.peer(0, 1).endpoint, Some(world.nodes[1].address));
}

#[test]
fn nothing_unauthenticated_moves_the_endpoint() {
    let mut world = World::hub(1);
    assert!(world.ping(1, 0));
    let endpoint = world.peer(0, 1).endpoint;
    let thief = address([203, 0, 113, 66], 66);
    // Every message of the conversation, damaged or said again, from elsewhere.
    for seen in world.seen.clone() {
        if seen.source == world.nodes[1].address {
            world.deliver(0, thief, &seen.bytes);
            let mut damaged = seen.bytes.clone();
            *damaged.last_mut().unwrap() ^= 1;
            world.deliver(0, thief, &damaged);
        }
    }
    assert_eq!(world.peer(0, 1).endpoint, endpoint);
}

#[test]
fn a_cookie_reply_does_not_move_the_endpoint() {
    let mut world = World::hub(1);
    world.lose(|seen| seen.kind == Kind::Cookie);
    world.send(1, &packet(inner(1), inner(0), b"hello"));
    let initiation = world.seen[0].clone();
    world.crowd(0, &initiation.bytes);
    world.deliver(0, initiation.source, &initiation.bytes);
    let cookie = world
        .seen
        .iter()
        .rfind(|seen| seen.kind == Kind::Cookie)
        .unwrap()
        .clone();
    let before = world.peer(1, 0).endpoint;
    world.deliver(1, address([203, 0, 113, 66], 66), &cookie.bytes);
    assert_eq!(world.peer(1, 0).endpoint, before);
}
