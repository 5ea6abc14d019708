//! Who does not know our key hears nothing (the paper, section 5.1), and load is shed (5.3).

use std::time::Duration;

use crate::world::{Kind, LATENCY, Seen, World, address, inner, packet};

#[test]
fn datagrams_of_every_size_and_type_are_met_with_silence() {
    let mut world = World::hub(1);
    assert!(world.ping(1, 0));
    let before = world.seen.len();
    for len in (0..2_000).chain([9_000, 65_507]) {
        for first in [0u8, 1, 2, 3, 4, 255] {
            let mut bytes = vec![0; len];
            if let Some(byte) = bytes.first_mut() {
                *byte = first;
            }
            world.deliver(0, address([203, 0, 113, 5], 5), &bytes);
        }
    }
    assert_eq!(world.seen.len(), before);
    assert!(world.nodes[0].received.len() == 1);
    assert!(world.ping(1, 0));
}

#[test]
fn a_stranger_that_knows_our_public_key_is_not_answered() {
    let mut world = World::hub(1);
    let stranger = world.add_node();
    world.acquaint(stranger, 0, "10.0.0.0/24", true);
    world.send(stranger, &packet(inner(2), inner(0), b"let me in"));
    world.run(Duration::from_secs(20));
    let server = world.nodes[0].address;
    assert!(world.seen.iter().all(|seen| seen.source != server));
    assert!(world.drops(0).handshake > 0);
}

#[test]
fn under_load_a_client_gets_in_with_its_cookie() {
    let mut world = World::hub(1);
    let stranger = world.add_node();
    world.acquaint(stranger, 0, "10.0.0.0/24", true);
    world.send(stranger, &packet(inner(2), inner(0), b"x"));
    let flood = world.seen[0].clone();
    let from = world.seen.len();
    // Crowds from everywhere, whose MAC1 is right, before each try of the client.
    world.send(1, &packet(inner(1), inner(0), b"hello"));
    world.run(LATENCY - Duration::from_millis(1));
    world.crowd(0, &flood.bytes);
    world.run(Duration::from_millis(4_900));
    assert!(world.nodes[0].received.is_empty());
    world.crowd(0, &flood.bytes);
    world.run(Duration::from_secs(1));
    assert!(
        world.nodes[0]
            .received
            .iter()
            .any(|packet| packet.ends_with(b"hello"))
    );
    let to_client = |seen: &&Seen| seen.destination == world.nodes[1].address;
    let kinds: Vec<_> = world.seen[from..]
        .iter()
        .filter(to_client)
        .map(|seen| seen.kind)
        .collect();
    assert_eq!(kinds[..2], [Kind::Cookie, Kind::Response]);
    let drops = world.drops(0);
    assert!(drops.under_load > 0 && drops.handshake > 0, "{drops:?}");
    // No reply is larger than what it answers.
    let cookies = world.seen.iter().filter(|seen| seen.kind == Kind::Cookie);
    assert!(cookies.into_iter().all(|seen| seen.bytes.len() == 64));
    // The load is over: no cookies any more.
    world.run(Duration::from_secs(2));
    let calm = world.elapsed();
    world.deliver(0, address([203, 0, 113, 9], 9), &flood.bytes);
    assert_eq!(world.kinds_since(calm).get(&Kind::Cookie), None);
}
