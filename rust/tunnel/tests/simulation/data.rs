//! Data messages: cryptokey routing, padding, counters (the paper, sections 2 and 5.4.6).

use std::net::Ipv6Addr;
use std::time::Duration;

use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use wgbind_tunnel::{PeerChange, PublicKey as WgPublicKey};

use crate::world::{Kind, World, address, allowed, inner, packet, packet_6};

#[test]
fn a_source_address_of_another_peer_is_dropped_and_counted() {
    let mut world = World::hub(2);
    assert!(world.ping(1, 0));
    let received = world.nodes[0].received.len();
    world.send(1, &packet(inner(2), inner(0), b"I am the other"));
    world.run(Duration::from_secs(1));
    assert_eq!(world.nodes[0].received.len(), received);
    assert_eq!(world.drops(0).source_address, 1);
    // The peer itself is not worse off.
    assert!(world.ping(1, 0));
}

/// One table for the device: a longer prefix of one peer takes the address from the peer whose
/// shorter prefix contains it too (gotatun 0.7.2; boringtun's own device looks at one peer only).
#[test]
fn the_longest_prefix_of_the_whole_device_decides_about_a_source() {
    let mut world = World::hub(2);
    let mut change = world.change_of(1);
    change.allowed_ips = vec![allowed("10.0.0.0/16")];
    world.apply_peer(0, change);
    assert!(world.ping(1, 0));
    world.send(1, &packet([10, 0, 77, 1].into(), inner(0), b"mine"));
    world.send(1, &packet(inner(2), inner(0), b"not mine"));
    world.run(Duration::from_secs(1));
    assert_eq!(world.drops(0).source_address, 1);
    assert!(world.nodes[0].received.last().unwrap().ends_with(b"mine"));
}

#[test]
fn packets_without_a_peer_or_an_endpoint_are_counted() {
    let mut world = World::hub(1);
    world.send(0, &packet(inner(0), [10, 9, 9, 9].into(), b"nobody"));
    world.send(0, &packet(inner(0), inner(1), b"where?"));
    world.send(0, b"not ip");
    let drops = world.drops(0);
    assert_eq!(
        (drops.no_peer, drops.no_endpoint, drops.tun_malformed),
        (1, 1, 1)
    );
    assert!(world.seen.is_empty());
}

#[test]
fn data_is_padded_to_sixteen_bytes_and_never_above_the_mtu() {
    let mut world = World::hub(1);
    assert!(world.ping(1, 0));
    for len in [20, 21, 35, 36, 37, 1400, 1407, 1408, 1409, 1419, 1420] {
        let from = world.seen.len();
        world.send(1, &packet(inner(1), inner(0), &vec![7; len - 20]));
        world.run(Duration::from_millis(50));
        let padded = world.seen[from].bytes.len() - 32;
        assert_eq!(padded, len.next_multiple_of(16).min(1420), "{len}");
        assert_eq!(world.nodes[0].received.last().unwrap().len(), len);
    }
}

#[test]
fn ipv6_packets_pass_as_ipv4_ones_do() {
    let mut world = World::hub(1);
    let inner_6 = |node| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, node);
    for (node, peer, prefix) in [(0, 1, "fd00::2/128"), (1, 0, "fd00::/64")] {
        let mut change = world.change_of(peer);
        change.allowed_ips = vec![allowed(prefix)];
        world.apply_peer(node, change);
    }
    for len in [0, 1, 15, 16, 100, 1_380] {
        let there = packet_6(inner_6(2), inner_6(1), &vec![7; len]);
        let back = packet_6(inner_6(1), inner_6(2), &vec![9; len]);
        world.send(1, &there);
        world.run(Duration::from_millis(50));
        assert_eq!(world.nodes[0].received.last(), Some(&there), "{len}");
        world.send(0, &back);
        world.run(Duration::from_millis(50));
        assert_eq!(world.nodes[1].received.last(), Some(&back), "{len}");
    }
    world.send(1, &packet_6(inner_6(3), inner_6(1), b"another's"));
    world.run(Duration::from_millis(50));
    assert_eq!(world.drops(0).source_address, 1);
}

/// Ten pings of 84 bytes give exactly these counters (kernel `netns.sh`, "IPv4 over IPv4").
#[test]
fn transfer_counts_what_went_over_the_wire() {
    let mut world = World::hub(1);
    for _ in 0..10 {
        world.send(1, &packet(inner(1), inner(0), &[0; 64]));
        world.run(Duration::from_millis(100));
        world.send(0, &packet(inner(0), inner(1), &[0; 64]));
        world.run(Duration::from_millis(100));
    }
    let client = world.peer(1, 0);
    assert_eq!(client.rx_bytes, 92 + 10 * 128);
    // The keepalive that boringtun sends on a response is what the kernel saves itself.
    assert_eq!(client.tx_bytes, 148 + 32 + 10 * 128);
    let server = world.peer(0, 1);
    assert_eq!(
        (server.rx_bytes, server.tx_bytes),
        (client.tx_bytes, client.rx_bytes)
    );
}

#[test]
fn a_message_is_taken_once() {
    let mut world = World::hub(1);
    assert!(world.ping(1, 0));
    let data = world
        .seen
        .iter()
        .find(|seen| seen.kind == Kind::Data)
        .unwrap()
        .clone();
    let (received, drops) = (world.nodes[0].received.len(), world.drops(0).data);
    world.deliver(0, data.source, &data.bytes);
    assert_eq!(world.nodes[0].received.len(), received);
    assert_eq!(world.drops(0).data, drops + 1);
}

#[test]
fn counters_that_are_refused_do_not_reach_the_crate() {
    let mut world = World::hub(1);
    assert!(world.ping(1, 0));
    let mut data = world
        .seen
        .iter()
        .find(|seen| seen.kind == Kind::Data)
        .unwrap()
        .clone();
    for counter in [u64::MAX, u64::MAX - (1 << 13)] {
        data.bytes[8..16].copy_from_slice(&counter.to_le_bytes());
        let drops = world.drops(0).data;
        world.deliver(0, data.source, &data.bytes);
        assert_eq!(world.drops(0).data, drops + 1);
    }
    assert!(world.ping(1, 0));
}

/// boringtun lets an IPv4 packet through whose total length is below its header's: a client of
/// plain boringtun, which does not look at what it seals, sends some.
#[test]
fn runts_inside_are_dropped_and_still_authenticate() {
    let mut world = World::hub(0);
    let (key, server) = (StaticSecret::from([0x42; 32]), world.nodes[0].public_key);
    let mut change = PeerChange::new(WgPublicKey::from_bytes(*PublicKey::from(&key).as_bytes()));
    change.allowed_ips = vec![allowed("10.0.0.2/32")];
    world.apply_peer(0, change);
    let server = PublicKey::from(*server.as_bytes());
    let mut client = Tunn::new(key, server, None, None, 1, None);
    let (source, mut buffer) = (address([203, 0, 113, 7], 7), [0; 2_048]);
    let sealed = |result: TunnResult<'_>| match result {
        TunnResult::WriteToNetwork(datagram) => datagram.to_vec(),
        other => panic!("{other:?}"),
    };
    let initiation = sealed(client.format_handshake_initiation(&mut buffer, false));
    world.deliver(0, source, &initiation);
    let response = world.seen.last().unwrap().bytes.clone();
    let keepalive = sealed(client.decapsulate(None, &response, &mut buffer));
    world.deliver(0, source, &keepalive);

    let source = address([203, 0, 113, 7], 8);
    for total_len in [0, 7, 19, 33, 65_535u16] {
        let mut runt = packet(inner(1), inner(0), b"xxxxxxxxxxxx");
        runt[2..4].copy_from_slice(&total_len.to_be_bytes());
        let datagram = sealed(client.encapsulate(&runt, &mut buffer));
        world.deliver(0, source, &datagram);
    }
    for bytes in [&b"\x15"[..], &[0x45; 19], &[0x60; 39]] {
        let datagram = sealed(client.encapsulate(bytes, &mut buffer));
        world.deliver(0, source, &datagram);
    }
    assert!(world.nodes[0].received.is_empty());
    assert_eq!(world.drops(0).not_ip, 8);
    assert_eq!(
        world.nodes[0].tunnel.peers(0, 1).0[0].endpoint,
        Some(source)
    );
}
