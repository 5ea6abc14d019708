//! Timers (the paper, sections 6.1 to 6.5).

use std::time::Duration;

use crate::world::{Kind, LATENCY, World, inner, packet};

const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);
const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);
const REKEY_TIMEOUT: Duration = Duration::from_secs(5);

#[test]
fn rekeys_lose_no_ping() {
    let mut world = World::hub(1);
    while world.elapsed() < Duration::from_secs(600) {
        assert!(world.ping(1, 0), "at {:?}", world.elapsed());
        world.run(Duration::from_millis(700));
    }
    // One every two minutes, by the initiator of the first.
    let initiations: Vec<_> = world
        .seen
        .iter()
        .filter(|seen| seen.kind == Kind::Initiation)
        .collect();
    assert!(
        (4..=6).contains(&initiations.len()),
        "{}",
        initiations.len()
    );
    for pair in initiations.windows(2) {
        assert!(pair[1].at - pair[0].at >= REKEY_AFTER_TIME);
        assert_eq!(pair[1].source, pair[0].source);
    }
}

#[test]
fn a_session_is_used_no_more_after_reject_after_time() {
    let mut world = World::hub(1);
    assert!(world.ping(1, 0));
    let old = world
        .seen
        .iter()
        .rfind(|seen| seen.kind == Kind::Data)
        .unwrap()
        .clone();
    world.run(REJECT_AFTER_TIME + Duration::from_secs(2));
    let before = world.elapsed();
    world.send(0, &packet(inner(0), inner(1), b"late"));
    world.run(Duration::from_millis(1));
    assert_eq!(world.kinds_since(before).get(&Kind::Data), None);
    let drops = world.drops(1).data;
    world.deliver(1, old.source, &old.bytes);
    assert_eq!(world.drops(1).data, drops + 1);
}

#[test]
fn an_initiation_is_sent_again_every_five_seconds_and_given_up_after_ninety() {
    let mut world = World::hub(1);
    world.lose(|_| true);
    world.send(1, &packet(inner(1), inner(0), b"hello?"));
    world.run(Duration::from_secs(120));
    let times: Vec<_> = world.seen.iter().map(|seen| seen.at).collect();
    assert!((16..=19).contains(&times.len()), "{times:?}");
    for pair in times.windows(2) {
        let gap = pair[1] - pair[0];
        assert!(
            gap >= REKEY_TIMEOUT && gap <= REKEY_TIMEOUT + Duration::from_secs(1),
            "{gap:?}"
        );
    }
    assert_eq!(world.drops(1).staged, 1);
    // Another packet starts over.
    world.lose(|_| false);
    assert!(world.ping(1, 0));
}

/// Nine minutes after the last session boringtun forgets all keys, and a handshake that has begun.
#[test]
fn a_handshake_goes_on_when_the_keys_before_it_are_forgotten() {
    for milliseconds in (539_960..=540_040).step_by(5) {
        let mut world = World::hub(1);
        assert!(world.ping(1, 0));
        world.run(Duration::from_millis(milliseconds) - world.elapsed());
        world.send(1, &packet(inner(1), inner(0), b"hello?"));
        world.run(6 * LATENCY);
        assert_eq!(world.nodes[0].received.len(), 2, "{milliseconds} ms");
    }
    // Nobody answered until then.
    let mut world = World::hub(1);
    assert!(world.ping(1, 0));
    world.run(Duration::from_secs(500) - world.elapsed());
    world.lose(|_| true);
    world.send(1, &packet(inner(1), inner(0), b"hello?"));
    world.run(Duration::from_secs(60));
    world.lose(|_| false);
    let before = world.nodes[0].received.len();
    world.run(REKEY_TIMEOUT + Duration::from_secs(1));
    assert_eq!(world.nodes[0].received.len(), before + 1);
}

/// boringtun asks for a new handshake as soon as it looks at a peer that was silent for 15 s and
/// to which something was just sent (upstream issue 363).
#[test]
fn a_packet_to_an_idle_peer_starts_no_handshake_if_it_is_answered() {
    for offset in (0..1000).step_by(50) {
        let mut world = World::hub(1);
        assert!(world.ping(1, 0));
        world.run(Duration::from_secs(30) + Duration::from_millis(offset));
        let from = world.elapsed();
        assert!(world.ping(0, 1));
        world.run(Duration::from_secs(5));
        assert_eq!(
            world.kinds_since(from).get(&Kind::Initiation),
            None,
            "offset {offset} ms"
        );
    }
}

#[test]
fn unanswered_data_starts_a_handshake_after_fifteen_seconds() {
    let mut world = World::hub(1);
    assert!(world.ping(1, 0));
    world.lose(|_| true);
    let from = world.elapsed();
    for _ in 0..30 {
        world.send(0, &packet(inner(0), inner(1), b"anybody?"));
        world.run(Duration::from_secs(1));
    }
    let first = world
        .seen
        .iter()
        .find(|seen| seen.at >= from && seen.kind == Kind::Initiation)
        .unwrap();
    let after = first.at - from;
    assert!(
        after >= Duration::from_secs(14) && after <= Duration::from_secs(17),
        "{after:?}"
    );
}

#[test]
fn received_data_is_answered_by_a_keepalive_after_ten_seconds() {
    let mut world = World::hub(1);
    assert!(world.ping(1, 0));
    let from = world.elapsed();
    world.send(1, &packet(inner(1), inner(0), b"no answer needed"));
    world.run(Duration::from_secs(14));
    let keepalive = world
        .seen
        .iter()
        .find(|seen| seen.at >= from && seen.kind == Kind::Keepalive)
        .unwrap();
    assert_eq!(keepalive.source, world.nodes[0].address);
    let after = keepalive.at - from;
    assert!(
        after >= Duration::from_secs(9) && after <= Duration::from_secs(12),
        "{after:?}"
    );
}

#[test]
fn a_persistent_keepalive_is_sent_at_once_and_never_given_up() {
    let mut world = World::hub(1);
    let mut change = world.change_of(0);
    change.persistent_keepalive = Some(25);
    world.apply_peer(1, change);
    world.run(Duration::from_millis(100));
    assert_eq!(world.kinds_since(Duration::ZERO)[&Kind::Response], 1);

    // An hour without the server: tries go on, a few a minute.
    let away = world.elapsed();
    world.lose(|_| true);
    world.run(Duration::from_secs(3600));
    let tries = world.kinds_since(away)[&Kind::Initiation];
    assert!((300..=750).contains(&tries), "{tries}");
    world.lose(|_| false);
    world.run(Duration::from_secs(30));
    assert!(world.ping(0, 1));

    // Idle, one message about every 25 s and no more.
    let idle = world.elapsed();
    world.run(Duration::from_secs(100));
    let keepalives = world.kinds_since(idle)[&Kind::Keepalive];
    assert!((3..=6).contains(&keepalives), "{keepalives}");
}

#[test]
fn idle_peers_say_nothing() {
    let mut world = World::hub(3);
    for client in 1..=3 {
        assert!(world.ping(client, 0));
    }
    world.run(Duration::from_secs(30));
    let quiet = world.elapsed();
    world.run(Duration::from_secs(600));
    assert!(
        world.kinds_since(quiet).is_empty(),
        "{:?}",
        world.kinds_since(quiet)
    );
}

#[test]
fn a_silent_peer_is_left_alone() {
    let mut world = World::hub(1);
    assert!(world.ping(1, 0));
    let next_look = |world: &World| {
        let (at, _) = world.nodes[0].tunnel.poll_timeout()?;
        Some(at.saturating_duration_since(world.now().instant))
    };
    assert!(next_look(&world) <= Some(Duration::from_millis(500)));
    world.run(Duration::from_secs(31));
    let looks = (0..100)
        .filter(|_| {
            world.run(Duration::from_secs(1));
            next_look(&world) > Some(Duration::from_secs(1))
        })
        .count();
    assert!(looks > 80, "{looks}");

    // The session's keys are gone, and with them the last reason to look.
    world.run(Duration::from_secs(500));
    assert_eq!(next_look(&world), None);
    assert!(world.ping(1, 0));
    assert!(next_look(&world).is_some());
}
