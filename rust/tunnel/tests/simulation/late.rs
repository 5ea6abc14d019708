//! Handshakes on links where answers come late, in another order, or not at all.

use std::time::Duration;

use crate::initiator::Initiator;
use crate::world::{Kind, LATENCY, World, address, inner, packet};

const REKEY_TIMEOUT: Duration = Duration::from_secs(5);

/// The link of `world` takes `delay` for messages of this kind.
fn slow(world: &mut World, kind: Kind, delay: Duration) {
    world.link = Box::new(move |seen| match seen.kind == kind {
        true => vec![delay],
        false => vec![LATENCY],
    });
}

/// gotatun 0.4.1: responses were discarded after 250 ms.
#[test]
fn a_response_may_take_seconds() {
    for delay in [300, 1_000, 4_900] {
        let mut world = World::hub(1);
        slow(&mut world, Kind::Response, Duration::from_millis(delay));
        world.send(1, &packet(inner(1), inner(0), b"patience"));
        world.run(Duration::from_millis(delay) + 3 * LATENCY);
        assert_eq!(world.nodes[0].received.len(), 1, "{delay} ms");
        assert_eq!(world.kinds_since(Duration::ZERO)[&Kind::Initiation], 1);
    }
}

/// The client has sent another initiation by then; the answer to the first is as good.
#[test]
fn a_response_to_the_initiation_before_is_taken() {
    let mut world = World::hub(1);
    slow(
        &mut world,
        Kind::Response,
        REKEY_TIMEOUT + Duration::from_secs(2),
    );
    world.send(1, &packet(inner(1), inner(0), b"patience"));
    world.run(REKEY_TIMEOUT + Duration::from_secs(3));
    assert_eq!(world.nodes[0].received.len(), 1);
    assert_eq!(world.kinds_since(Duration::ZERO)[&Kind::Initiation], 2);
    // When the answer to the second comes, the conversation goes on over either session.
    for _ in 0..20 {
        world.run(Duration::from_millis(500));
        assert!(world.ping(1, 0));
        assert!(world.ping(0, 1));
    }
}

/// gotatun 0.3.0, "excessive rekey attempts": what is lost costs one more try, not many.
#[test]
fn a_lost_message_of_the_handshake_costs_one_try() {
    for kind in [Kind::Initiation, Kind::Response, Kind::Keepalive] {
        let mut world = World::hub(1);
        let mut lost = false;
        world.link = Box::new(move |seen| {
            if seen.kind == kind && !lost {
                lost = true;
                return Vec::new();
            }
            vec![LATENCY]
        });
        world.send(1, &packet(inner(1), inner(0), b"once"));
        world.run(REKEY_TIMEOUT + Duration::from_secs(1));
        assert_eq!(world.nodes[0].received.len(), 1, "{kind:?}");
        let initiations = world.kinds_since(Duration::ZERO)[&Kind::Initiation];
        // Data confirms a session as well as a keepalive does.
        let wanted = if kind == Kind::Keepalive { 1 } else { 2 };
        assert_eq!(initiations, wanted, "{kind:?}");
        assert!(world.ping(0, 1));
    }
}

#[test]
fn a_handshake_that_arrives_twice_counts_once() {
    let mut world = World::hub(1);
    world.link = Box::new(|_| vec![LATENCY, 2 * LATENCY]);
    world.send(1, &packet(inner(1), inner(0), b"echo"));
    world.run(Duration::from_secs(1));
    assert_eq!(world.nodes[0].received.len(), 1);
    let kinds = world.kinds_since(Duration::ZERO);
    assert_eq!((kinds[&Kind::Initiation], kinds[&Kind::Response]), (1, 1));
    assert!(world.ping(0, 1));
}

#[test]
fn two_clients_behind_one_address_do_not_meet() {
    let mut world = World::hub(2);
    world.nodes[2].address = "192.0.2.2:40000".parse().unwrap();
    assert_eq!(world.nodes[1].address.ip(), world.nodes[2].address.ip());
    for _ in 0..20 {
        assert!(world.ping(1, 0));
        assert!(world.ping(2, 0));
        assert!(world.ping(0, 1));
        assert!(world.ping(0, 2));
        world.run(Duration::from_secs(20));
    }
}

/// gotatun 0.1.2: everybody after the hundredth handshake message got a cookie.
#[test]
fn handshakes_one_after_another_get_no_cookie() {
    let mut world = World::hub(0);
    let mut client = Initiator::acquainted(&mut world, inner(1));
    for time in 1..=300 {
        let source = address([203, 0, 113, 7], 7);
        assert!(client.dial(&mut world, source, time).is_some(), "{time}");
        world.run(Duration::from_millis(100));
    }
    assert_eq!(world.kinds_since(Duration::ZERO).get(&Kind::Cookie), None);
}
