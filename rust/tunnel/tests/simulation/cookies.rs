//! Cookies, as a client uses them (the paper, sections 5.3, 5.4.7 and 6.6).

use std::time::Duration;

use crate::world::{Kind, LATENCY, World, inner, packet};

/// Has the client say something until it sends an initiation, which reaches a server that was
/// asked by a crowd just before; what the server says to the client.
fn knock(world: &mut World, flood: &[u8]) -> Vec<Kind> {
    let before = world.seen.len();
    let asks = |world: &World| {
        let mut seen = world.seen[before..].iter();
        seen.any(|seen| seen.kind == Kind::Initiation && seen.source == world.nodes[1].address)
    };
    for step in 0.. {
        if step % 100 == 0 {
            world.send(1, &packet(inner(1), inner(0), b"x"));
        }
        if asks(world) {
            break;
        }
        world.run(LATENCY / 2);
    }
    world.crowd(0, flood);
    let crowded = world.seen.len();
    world.run(2 * LATENCY);
    let answers = world.seen[crowded..].iter();
    answers
        .filter(|seen| seen.destination == world.nodes[1].address)
        .map(|seen| seen.kind)
        .collect()
}

#[test]
fn a_cookie_serves_for_two_minutes() {
    let mut world = World::hub(1);
    let stranger = world.add_node();
    world.acquaint(stranger, 0, "10.0.0.0/24", true);
    world.send(stranger, &packet(inner(2), inner(0), b"x"));
    let flood = world.seen[0].bytes.clone();
    // What is sent later is not answered, so that handshakes follow.
    world.lose(|seen| matches!(seen.kind, Kind::Data | Kind::Keepalive));

    assert_eq!(knock(&mut world, &flood), [Kind::Cookie]);
    let given = world.elapsed();
    assert_eq!(knock(&mut world, &flood), [Kind::Response]);
    assert_eq!(
        knock(&mut world, &flood),
        [Kind::Response],
        "the same again"
    );

    world.run(given + Duration::from_secs(121) - world.elapsed());
    assert_eq!(knock(&mut world, &flood), [Kind::Cookie], "a new one");
}
