//! What is told of peers, and when.

use std::net::SocketAddr;
use std::time::Duration;

use wgbind_tunnel::{Cause, Event, EventKind, PresharedKey, PrivateKey, TunnelChange};

use crate::world::{Kind, LATENCY, World, address, allowed, inner, packet};

const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);
const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);
const EPOCH: Duration = Duration::from_secs(1_800_000_000);

/// A hub of which nothing has been told.
fn quiet_hub(clients: u8) -> World {
    let mut world = World::hub(clients);
    for node in &mut world.nodes {
        node.events.clear();
    }
    world
}

/// What a node has told since the last call: when, of which node, what and why.
fn told(world: &mut World, node: usize) -> Vec<(Duration, usize, EventKind, Cause)> {
    let events = std::mem::take(&mut world.nodes[node].events);
    let whom = |event: &Event| {
        let mut nodes = world.nodes.iter();
        nodes
            .position(|node| node.public_key == event.public_key)
            .unwrap()
    };
    events
        .iter()
        .map(|event| (event.at - EPOCH, whom(event), event.kind, event.cause))
        .collect()
}

fn kinds(world: &mut World, node: usize) -> Vec<EventKind> {
    told(world, node)
        .iter()
        .map(|(_, _, kind, _)| *kind)
        .collect()
}

#[test]
fn a_completed_handshake_connects_once_on_both_sides() {
    let mut world = quiet_hub(2);
    assert!(world.ping(1, 0));
    // The response reaches the initiator after two ways, its answer the responder after three.
    assert_eq!(
        told(&mut world, 1),
        [(2 * LATENCY, 0, EventKind::Connected, Cause::OwnHandshake)]
    );
    let [connected] = world.nodes[0].events[..] else {
        panic!("{:?}", world.nodes[0].events);
    };
    assert_eq!(connected.endpoint, Some(world.nodes[1].address));
    assert_eq!(
        told(&mut world, 0),
        [(3 * LATENCY, 1, EventKind::Connected, Cause::PeerHandshake)]
    );
    for _ in 0..50 {
        assert!(world.ping(1, 0) && world.ping(0, 1));
    }
    assert_eq!(kinds(&mut world, 0), []);
    assert!(world.ping(2, 0));
    assert_eq!(kinds(&mut world, 0), [EventKind::Connected]);
}

#[test]
fn an_answered_handshake_that_the_peer_never_uses_connects_nobody() {
    let mut world = quiet_hub(1);
    world.lose(|seen| matches!(seen.kind, Kind::Keepalive | Kind::Data));
    world.send(1, &packet(inner(1), inner(0), b"lost"));
    world.run(Duration::from_secs(300));
    assert_eq!(kinds(&mut world, 0), []);
}

#[test]
fn under_traffic_a_session_is_renewed_every_two_minutes_and_nothing_else_is_told() {
    let mut world = quiet_hub(1);
    while world.elapsed() < Duration::from_secs(600) {
        assert!(world.ping(1, 0));
        world.run(Duration::from_millis(700));
    }
    for node in [0, 1] {
        let told = told(&mut world, node);
        assert_eq!(told[0].2, EventKind::Connected);
        assert!((4..=5).contains(&told.len()), "{told:?}");
        for pair in told.windows(2) {
            assert_eq!(pair[1].2, EventKind::Rekeyed);
            assert_eq!(pair[1].3, pair[0].3, "by the same side");
            let gap = pair[1].0 - pair[0].0;
            assert!(
                gap >= REKEY_AFTER_TIME && gap < REKEY_AFTER_TIME + Duration::from_secs(2),
                "{gap:?}"
            );
        }
    }
}

#[test]
fn a_peer_is_silent_when_nothing_came_for_180_seconds_and_not_before() {
    let mut world = quiet_hub(1);
    assert!(world.ping(1, 0));
    // It counts from the last message, not from the handshake.
    world.run(Duration::from_secs(100));
    assert!(world.ping(1, 0));
    world.run(Duration::from_secs(20));
    told(&mut world, 0);
    let last = world
        .seen
        .iter()
        .rfind(|seen| seen.source == world.nodes[1].address)
        .unwrap()
        .at
        + LATENCY;
    world.run(last + REJECT_AFTER_TIME - Duration::from_millis(1) - world.elapsed());
    assert_eq!(kinds(&mut world, 0), []);
    world.run(Duration::from_millis(1));
    assert_eq!(
        told(&mut world, 0),
        [(
            last + REJECT_AFTER_TIME,
            1,
            EventKind::Silent,
            Cause::Timeout
        )]
    );
    world.run(Duration::from_secs(1000));
    assert_eq!(kinds(&mut world, 0), [], "once");
    assert!(world.ping(1, 0));
    assert_eq!(kinds(&mut world, 0), [EventKind::Connected]);
}

/// The server talks on, starts handshakes and gives them up: that is no sign of life of the client.
#[test]
fn a_peer_that_went_away_is_silent_though_we_go_on_talking() {
    let mut world = quiet_hub(1);
    assert!(world.ping(1, 0));
    told(&mut world, 0);
    let gone = world.elapsed();
    world.lose(|_| true);
    while world.elapsed() < gone + Duration::from_secs(400) {
        world.send(0, &packet(inner(0), inner(1), b"anybody?"));
        world.run(Duration::from_millis(1_300));
    }
    let told = told(&mut world, 0);
    let [(at, 1, EventKind::Silent, Cause::Timeout)] = told[..] else {
        panic!("{told:?}");
    };
    let after = at - gone;
    assert!(
        after + 3 * LATENCY >= REJECT_AFTER_TIME && after < REJECT_AFTER_TIME + LATENCY,
        "{after:?}"
    );
}

#[test]
fn an_idle_client_with_keepalives_is_never_silent() {
    let mut world = quiet_hub(1);
    let mut change = world.change_of(0);
    change.persistent_keepalive = Some(25);
    world.apply_peer(1, change);
    world.run(Duration::from_secs(1200));
    let kinds = kinds(&mut world, 0);
    assert_eq!(kinds[0], EventKind::Connected);
    assert!(kinds.len() > 3, "{kinds:?}");
    assert!(
        kinds[1..].iter().all(|kind| *kind == EventKind::Rekeyed),
        "{kinds:?}"
    );
}

#[test]
fn crossing_handshakes_connect_once() {
    let mut world = quiet_hub(1);
    assert!(world.ping(1, 0));
    world.run(Duration::from_secs(200));
    for node in [0, 1] {
        assert_eq!(
            kinds(&mut world, node),
            [EventKind::Connected, EventKind::Silent]
        );
    }
    world.send(0, &packet(inner(0), inner(1), b"crossing"));
    world.send(1, &packet(inner(1), inner(0), b"crossing"));
    world.run(Duration::from_secs(1));
    assert!(world.ping(0, 1));
    for node in [0, 1] {
        let kinds = kinds(&mut world, node);
        assert_eq!(kinds[0], EventKind::Connected);
        assert!(
            kinds[1..].iter().all(|kind| *kind == EventKind::Rekeyed) && kinds.len() <= 2,
            "{kinds:?}"
        );
    }
}

#[test]
fn roaming_is_told_at_once_with_the_endpoint_before() {
    let mut world = quiet_hub(1);
    assert!(world.ping(1, 0));
    let mut before = world.nodes[1].address;
    told(&mut world, 0);
    for port in [4000, 4001, 4002] {
        world.run(Duration::from_secs(2));
        let after = address([198, 51, 100, 7], port);
        world.nodes[1].address = after;
        let moved = world.elapsed();
        assert!(world.ping(1, 0));
        assert_eq!(world.nodes[0].events[0].endpoint, Some(after));
        let kind = EventKind::Roamed { from: before };
        assert_eq!(
            told(&mut world, 0),
            [(moved + LATENCY, 1, kind, Cause::Message)]
        );
        before = after;
    }
}

/// Whoever sends each message from another port shall not push others' events out of the queue.
#[test]
fn a_peer_that_roams_with_each_message_is_told_of_once_a_second() {
    let mut world = quiet_hub(1);
    assert!(world.ping(1, 0));
    told(&mut world, 0);
    for port in 0..1_000 {
        world.nodes[1].address = address([198, 51, 100, 7], 4000 + port);
        world.send(1, &packet(inner(1), inner(0), b"here"));
        world.run(Duration::from_millis(10));
    }
    world.run(Duration::from_secs(2));
    let last = *world.nodes[0].events.last().unwrap();
    assert_eq!(
        last.endpoint,
        Some(world.nodes[1].address),
        "where it is in the end"
    );
    let told = told(&mut world, 0);
    assert!((10..=12).contains(&told.len()), "{told:?}");
    let from = |kind: &EventKind| match kind {
        EventKind::Roamed { from } => *from,
        other => panic!("{other:?}"),
    };
    assert!(
        told.iter()
            .all(|(_, _, kind, _)| from(kind).port() != last.endpoint.unwrap().port())
    );
}

#[test]
fn a_peer_that_comes_back_from_elsewhere_connects_there_and_did_not_roam() {
    let mut world = quiet_hub(1);
    assert!(world.ping(1, 0));
    world.run(Duration::from_secs(200));
    told(&mut world, 0);
    world.nodes[1].address = address([198, 51, 100, 9], 9);
    assert!(world.ping(1, 0));
    assert_eq!(
        world.nodes[0].events[0].endpoint,
        Some(world.nodes[1].address)
    );
    assert_eq!(kinds(&mut world, 0), [EventKind::Connected]);
}

#[test]
fn nothing_unauthenticated_is_told() {
    let mut world = quiet_hub(1);
    assert!(world.ping(1, 0));
    told(&mut world, 0);
    for seen in world.seen.clone() {
        world.deliver(0, address([203, 0, 113, 66], 66), &seen.bytes);
    }
    world.run(Duration::from_secs(5));
    assert_eq!(kinds(&mut world, 0), []);
}

#[test]
fn peers_are_added_changed_and_removed_by_what_a_change_has_made_of_them() {
    let mut world = World::hub(2);
    let [added, _] = world.nodes[0].events[..] else {
        panic!("{:?}", world.nodes[0].events);
    };
    assert_eq!(
        (added.public_key, added.kind, added.cause),
        (
            world.nodes[1].public_key,
            EventKind::Added,
            Cause::Configuration
        )
    );
    told(&mut world, 0);

    // What a peer has already is no change, with or without a detour.
    let mut same = world.change_of(1);
    same.allowed_ips = vec![allowed("10.0.0.2/32")];
    world.apply_peer(0, same.clone());
    same.replace_allowed_ips = true;
    let mut other = world.change_of(2);
    other.allowed_ips = vec![allowed("10.0.0.3/32")];
    world.apply(
        0,
        TunnelChange {
            replace_peers: true,
            peers: vec![same, other.clone()],
            ..TunnelChange::default()
        },
    );
    assert_eq!(told(&mut world, 0), []);

    // Whoever loses an address to another changes, too.
    other.allowed_ips.push(allowed("10.0.0.2/32"));
    other.endpoint = Some(address([198, 51, 100, 1], 1));
    world.apply_peer(0, other);
    let whom: Vec<_> = told(&mut world, 0)
        .iter()
        .map(|(_, whom, kind, _)| (*whom, *kind))
        .collect();
    assert_eq!(
        whom,
        [
            (2, EventKind::Changed { endpoint: true }),
            (1, EventKind::Changed { endpoint: false })
        ]
    );

    let mut change = world.change_of(1);
    change.remove = true;
    world.apply_peer(0, change.clone());
    // There is nobody to remove, nobody to change.
    world.apply_peer(0, change.clone());
    change.remove = false;
    change.update_only = true;
    world.apply_peer(0, change);
    assert_eq!(kinds(&mut world, 0), [EventKind::Removed]);
}

#[test]
fn a_configured_endpoint_is_a_change_and_no_roaming() {
    let mut world = quiet_hub(1);
    assert!(world.ping(1, 0));
    told(&mut world, 0);
    let configured = address([198, 51, 100, 1], 1);
    let mut change = world.change_of(1);
    change.endpoint = Some(configured);
    world.apply_peer(0, change);
    world.run(Duration::from_secs(3));
    assert_eq!(
        kinds(&mut world, 0),
        [EventKind::Changed { endpoint: true }]
    );
    // It is still where it was, and says so.
    assert!(world.ping(1, 0));
    let kind = EventKind::Roamed { from: configured };
    assert_eq!(kinds(&mut world, 0), [kind]);
}

#[test]
fn a_configuration_that_ends_sessions_makes_peers_silent() {
    let mut world = quiet_hub(2);
    assert!(world.ping(1, 0) && world.ping(2, 0));
    told(&mut world, 0);
    let mut change = world.change_of(1);
    // This one does not end any.
    change.preshared_key = Some(Some(PresharedKey::generate()));
    world.apply_peer(0, change.clone());
    change.remove = true;
    world.apply_peer(0, change);
    let key = PrivateKey::generate();
    world.apply(
        0,
        TunnelChange {
            private_key: Some(Some(key)),
            ..TunnelChange::default()
        },
    );
    let told: Vec<_> = told(&mut world, 0)
        .iter()
        .map(|(_, whom, kind, cause)| {
            assert_eq!(*cause, Cause::Configuration);
            (*whom, *kind)
        })
        .collect();
    assert_eq!(
        told,
        [
            (1, EventKind::Changed { endpoint: false }),
            (1, EventKind::Silent),
            (1, EventKind::Removed),
            (2, EventKind::Silent),
        ]
    );
}

/// Between `Connected` and `Silent` and nowhere else are the others, whatever the link does.
#[test]
fn connected_and_silent_take_turns_on_a_bad_link() {
    for seed in 0..20_u64 {
        let mut world = quiet_hub(1);
        let mut state = seed;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state >> 33
        };
        for _ in 0..60 {
            let lost = [0, 30, 100][random() as usize % 3];
            let mut dice = random();
            world.link = Box::new(move |_| {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                match (dice >> 33) % 100 < lost {
                    true => Vec::new(),
                    false => vec![LATENCY],
                }
            });
            if random() % 4 == 0 {
                let host = random() as u8;
                world.nodes[1].address = SocketAddr::from(([198, 51, 100, host], 4000));
            }
            let (from, to) = [(0, 1), (1, 0)][random() as usize % 2];
            for _ in 0..random() % 4 {
                world.ping(from, to);
            }
            world.run(Duration::from_secs(random() % 100));
        }
        world.lose(|_| true);
        world.run(Duration::from_secs(200));
        for node in [0, 1] {
            let mut connected = false;
            for kind in kinds(&mut world, node) {
                assert_eq!(
                    connected,
                    kind != EventKind::Connected,
                    "seed {seed}: {kind:?}"
                );
                connected = kind != EventKind::Silent;
            }
            assert!(!connected, "seed {seed}: all is silent in the end");
        }
    }
}
