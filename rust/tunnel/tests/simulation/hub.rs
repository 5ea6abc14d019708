//! Packets from peer to peer: straight where nothing else is to be done, else by the kernel.

use std::sync::Arc;
use std::time::Duration;

use wgbind_tunnel::packet::checksum;
use wgbind_tunnel::{Hub, TunnelChange};

use crate::world::{MTU, World, allowed, inner, packet};

/// A server and two clients, each in the class of its number, which reach each other straight.
fn hub() -> World {
    let mut world = World::hub(2);
    for client in 1..=2 {
        assert!(world.ping(client, 0));
    }
    world.acquaint(1, 0, "0.0.0.0/0", true);
    link(&mut world, &[(1, 2)]);
    world
}

fn link(world: &mut World, links: &[(u8, u8)]) {
    let classes = [1, 2].map(|class| (inner(class.into()).into(), class));
    let hub = Hub::new(classes, links.iter().copied());
    world.apply(
        0,
        TunnelChange {
            hub: Some(Arc::new(hub)),
            ..Default::default()
        },
    );
}

/// A packet with a sound header checksum.
fn sound(mut packet: Vec<u8>) -> Vec<u8> {
    packet[10..12].fill(0);
    let checksum = !checksum::sum(&packet[..20]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// Sends from client 1; how many packets the server handed to its kernel and client 2 received.
fn send(world: &mut World, packet: &[u8]) -> (usize, usize) {
    let before = (world.nodes[0].received.len(), world.nodes[2].received.len());
    world.send(1, packet);
    world.run(Duration::from_millis(100));
    (
        world.nodes[0].received.len() - before.0,
        world.nodes[2].received.len() - before.1,
    )
}

#[test]
fn a_packet_crosses_with_one_hop_counted() {
    let mut world = hub();
    for len in [0, 1, 11, 12, 13, 1_399, 1_400] {
        let sent = sound(packet(inner(1), inner(2), &vec![9; len]));
        assert_eq!(send(&mut world, &sent), (0, 1));
        let arrived = world.nodes[2].received.last().unwrap();
        let mut expected = sent.clone();
        expected[8] -= 1;
        assert_eq!(*arrived, sound(expected));
    }
    let (rx, tx) = (world.peer(0, 1).rx_bytes, world.peer(0, 2).tx_bytes);
    assert!(rx > 7 * 64 && tx > 7 * 64);
}

#[test]
fn what_needs_the_kernel_goes_there() {
    let mut world = hub();
    let mut last_hop = packet(inner(1), inner(2), b"x");
    last_hop[8] = 1;
    let mut options = packet(inner(1), inner(2), b"optn");
    options[0] = 0x46;
    let large = packet(inner(1), inner(2), &vec![0; usize::from(MTU)]);
    let for_us = packet(inner(1), inner(0), b"x");
    let broadcast = packet(inner(1), [10, 0, 0, 255].into(), b"x");
    let elsewhere = packet(inner(1), [10, 0, 1, 1].into(), b"x");
    for packet in [last_hop, options, large, for_us, broadcast, elsewhere] {
        assert_eq!(send(&mut world, &packet), (1, 0));
    }
}

#[test]
fn a_peer_with_a_route_for_everything_gets_no_more_than_addresses_in_a_class() {
    let mut world = hub();
    let mut change = world.change_of(2);
    change.allowed_ips = vec![allowed("0.0.0.0/0")];
    world.apply_peer(0, change);
    assert_eq!(
        send(&mut world, &packet(inner(1), [8, 8, 8, 8].into(), b"x")),
        (1, 0)
    );
    assert_eq!(send(&mut world, &packet(inner(1), inner(0), b"x")), (1, 0));
    assert_eq!(send(&mut world, &packet(inner(1), inner(2), b"x")), (0, 1));
}

#[test]
fn a_spoofed_source_does_not_cross() {
    let mut world = hub();
    assert_eq!(send(&mut world, &packet(inner(7), inner(2), b"x")), (0, 0));
    assert_eq!(world.drops(0).source_address, 1);
}

#[test]
fn a_peer_without_a_session_is_reached_by_way_of_the_kernel() {
    let mut world = hub();
    // As a new tunnel, without its session.
    let mut removal = world.change_of(2);
    removal.remove = true;
    world.apply_peer(0, removal);
    world.acquaint(0, 2, "10.0.0.3/32", true);
    assert_eq!(send(&mut world, &packet(inner(1), inner(2), b"x")), (1, 0));
}

#[test]
fn a_peer_without_a_class_is_reached_by_way_of_the_kernel() {
    let mut world = hub();
    let third = world.add_node();
    world.acquaint(0, third, "10.0.0.4/32", true);
    world.acquaint(third, 0, "0.0.0.0/0", true);
    assert!(world.ping(third, 0));
    let from = world.nodes[0].received.len();
    assert_eq!(
        send(&mut world, &packet(inner(1), inner(third), b"x")),
        (1, 0)
    );
    world.send(third, &packet(inner(third), inner(1), b"x"));
    world.run(Duration::from_millis(100));
    assert_eq!(world.nodes[0].received.len(), from + 2);
}

#[test]
fn a_link_that_is_taken_away_is_closed_for_the_next_packet() {
    let mut world = hub();
    let there = packet(inner(1), inner(2), b"x");
    assert_eq!(send(&mut world, &there), (0, 1));
    for links in [&[][..], &[(1, 1), (2, 2)]] {
        link(&mut world, links);
        assert_eq!(send(&mut world, &there), (1, 0));
    }
    link(&mut world, &[(2, 1)]);
    assert_eq!(send(&mut world, &there), (0, 1));
}
