//! Changes of a live tunnel: who is not named notices nothing.

use std::time::Duration;

use wgbind_tunnel::{AllowedIpChange, PresharedKey, PrivateKey, TunnelChange};

use crate::world::{Kind, World, allowed, inner, packet};

fn initiations(world: &World) -> usize {
    world
        .seen
        .iter()
        .filter(|seen| seen.kind == Kind::Initiation)
        .count()
}

#[test]
fn adding_changing_and_removing_peers_disturbs_no_other() {
    let mut world = World::hub(2);
    assert!(world.ping(1, 0));
    let before = initiations(&world);
    for round in 0..50u8 {
        let other = PrivateKey::generate().public_key();
        let mut change = wgbind_tunnel::PeerChange::new(other);
        change.allowed_ips = vec![allowed(&format!("10.0.1.{round}/32"))];
        world.apply_peer(0, change.clone());
        assert!(world.ping(1, 0));
        change.allowed_ips = vec![allowed(&format!("10.0.2.{round}/32"))];
        change.replace_allowed_ips = true;
        world.apply_peer(0, change.clone());
        assert!(world.ping(1, 0));
        change.remove = round % 2 == 0;
        world.apply_peer(0, change);
        assert!(world.ping(1, 0));
    }
    assert_eq!(initiations(&world), before);
    assert_eq!(world.nodes[0].tunnel.peers(0, 1_000).0.len(), 2 + 25);
}

#[test]
fn changing_a_peer_keeps_its_session() {
    let mut world = World::hub(1);
    let key = PresharedKey::generate();
    for (node, other) in [(0, 1), (1, 0)] {
        let mut change = world.change_of(other);
        change.preshared_key = Some(Some(key.clone()));
        world.apply_peer(node, change);
    }
    assert!(world.ping(1, 0));
    let before = initiations(&world);
    let mut change = world.change_of(1);
    change.persistent_keepalive = Some(20);
    change.preshared_key = Some(Some(key));
    change.replace_allowed_ips = true;
    change.allowed_ips = vec![allowed("10.0.0.2/32"), allowed("10.7.0.0/16")];
    world.apply_peer(0, change.clone());
    // The same again, as `wg syncconf` would.
    world.apply(
        0,
        TunnelChange {
            replace_peers: true,
            peers: vec![change],
            ..Default::default()
        },
    );
    assert!(world.ping(1, 0));
    assert_eq!(initiations(&world), before);
}

#[test]
fn replacing_peers_starts_the_named_from_the_defaults() {
    let mut world = World::hub(2);
    let mut change = world.change_of(1);
    change.persistent_keepalive = Some(20);
    world.apply_peer(0, change);
    let mut change = world.change_of(1);
    change.allowed_ips = vec![allowed("10.5.0.0/16")];
    world.apply(
        0,
        TunnelChange {
            replace_peers: true,
            peers: vec![change],
            ..Default::default()
        },
    );
    let (peers, more) = world.nodes[0].tunnel.peers(0, 10);
    assert_eq!((peers.len(), more), (1, None));
    assert_eq!(peers[0].persistent_keepalive, 0);
    assert_eq!(peers[0].allowed_ips, ["10.5.0.0/16".parse().unwrap()]);
}

#[test]
fn a_removed_peer_is_gone_at_once() {
    let mut world = World::hub(2);
    assert!(world.ping(1, 0));
    assert!(world.ping(2, 0));
    let received = world.nodes[0].received.len();
    // On its way while the peer is removed.
    world.send(1, &packet(inner(1), inner(0), b"in flight"));
    let mut change = world.change_of(1);
    change.remove = true;
    world.apply_peer(0, change);
    let silence = world.elapsed();
    world.run(Duration::from_secs(30));
    assert_eq!(world.nodes[0].received.len(), received);
    assert!(world.drops(0).unknown_index > 0);
    let server = world.nodes[0].address;
    let client = world.nodes[1].address;
    assert!(
        world
            .seen
            .iter()
            .filter(|seen| seen.at >= silence)
            .all(|seen| seen.source != server || seen.destination != client)
    );
    assert!(world.ping(2, 0));
}

#[test]
fn an_allowed_ip_moves_to_whom_it_was_given_last() {
    let mut world = World::hub(2);
    let mut change = world.change_of(2);
    change.allowed_ips = vec![allowed("10.0.0.2/32")];
    world.apply_peer(0, change.clone());
    assert!(world.peer(0, 1).allowed_ips.is_empty());
    assert_eq!(world.peer(0, 2).allowed_ips.len(), 2);
    // Taking it from a peer that does not have it changes nothing.
    let mut other = world.change_of(1);
    other.allowed_ips = vec![AllowedIpChange {
        prefix: "10.0.0.2/32".parse().unwrap(),
        remove: true,
    }];
    world.apply_peer(0, other);
    assert_eq!(world.peer(0, 2).allowed_ips.len(), 2);
}

#[test]
fn our_own_key_is_no_peer() {
    let mut world = World::hub(1);
    let key = PrivateKey::generate();
    world.apply_peer(0, wgbind_tunnel::PeerChange::new(key.public_key()));
    assert_eq!(world.nodes[0].tunnel.peers(0, 10).0.len(), 2);
    world.apply(
        0,
        TunnelChange {
            private_key: Some(Some(key.clone())),
            ..Default::default()
        },
    );
    assert_eq!(world.nodes[0].tunnel.peers(0, 10).0.len(), 1);
    world.apply_peer(0, wgbind_tunnel::PeerChange::new(key.public_key()));
    assert_eq!(world.nodes[0].tunnel.peers(0, 10).0.len(), 1);
}

#[test]
fn another_private_key_ends_the_sessions_and_a_new_handshake_begins() {
    let mut world = World::hub(1);
    assert!(world.ping(1, 0));
    let key = PrivateKey::generate();
    let mut remove = world.change_of(0);
    remove.remove = true;
    world.apply_peer(1, remove);
    world.nodes[0].public_key = key.public_key();
    world.apply(
        0,
        TunnelChange {
            private_key: Some(Some(key)),
            ..Default::default()
        },
    );
    world.acquaint(1, 0, "10.0.0.0/24", true);
    assert!(world.ping(1, 0));
}

#[test]
fn without_a_key_nothing_is_sent() {
    let mut world = World::hub(1);
    world.apply(
        1,
        TunnelChange {
            private_key: Some(None),
            ..Default::default()
        },
    );
    world.send(1, &packet(inner(1), inner(0), b"x"));
    world.run(Duration::from_secs(10));
    assert!(world.seen.is_empty());
}
