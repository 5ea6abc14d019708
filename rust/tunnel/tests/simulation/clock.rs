//! The clock is the caller's: it may look late, look often, stand, or go back.

use std::time::Duration;

use wgbind_tunnel::Outbox;

use crate::world::{Kind, World, inner, packet};

const HOUR: Duration = Duration::from_secs(3_600);

/// A machine that slept: an hour passes in which nobody calls.
#[test]
fn one_late_look_sees_all_that_is_over() {
    for sleepers in [[true, false], [false, true], [true, true]] {
        let mut world = World::hub(1);
        let mut change = world.change_of(0);
        change.persistent_keepalive = Some(25);
        world.apply_peer(1, change);
        assert!(world.ping(1, 0));
        world.send(1, &packet(inner(1), inner(0), b"unanswered"));
        world.sleep(HOUR, &sleepers);
        let woken = world.elapsed();
        world.run(Duration::from_secs(1));
        let kinds = world.kinds_since(woken);
        assert_eq!(kinds.get(&Kind::Data), None, "{sleepers:?}");
        assert!(kinds.values().sum::<usize>() <= 6, "{kinds:?}");
        world.run(Duration::from_secs(30));
        assert!(world.ping(1, 0), "{sleepers:?}");
        assert!(world.ping(0, 1), "{sleepers:?}");
    }
}

/// Clocks of virtual machines do (gotatun 0.3.0 and NepTUN mended panics of boringtun's).
#[test]
fn a_clock_that_goes_back_hurts_nothing() {
    let mut world = World::hub(1);
    assert!(world.ping(1, 0));
    world.run(Duration::from_secs(50));
    let mut before = world.now();
    before.instant -= Duration::from_secs(45);
    before.unix -= Duration::from_secs(45);
    for node in [0, 1] {
        let mut out = Outbox::default();
        let tunnel = &mut world.nodes[node].tunnel;
        tunnel.handle_timeout(before, &mut out);
        let _ = tunnel.poll_timeout();
        let change = wgbind_tunnel::TunnelChange::default();
        tunnel.apply(change, before, &mut out).unwrap();
        tunnel.handle_timeout(before, &mut out);
    }
    assert!(world.ping(1, 0));
    world.run(Duration::from_secs(300));
    assert!(world.ping(1, 0));
    assert!(world.ping(0, 1));
}

/// A caller that looks all the time gets what one that waits for its time gets.
#[test]
fn looking_often_changes_nothing() {
    let conversation = |often: bool| {
        let mut world = World::hub(1);
        assert!(world.ping(1, 0));
        for _ in 0..400 {
            world.run(Duration::from_millis(500));
            for node in [0, 1] {
                let now = world.now();
                let mut out = Outbox::default();
                if often {
                    world.nodes[node].tunnel.handle_timeout(now, &mut out);
                }
                assert!(out.is_empty(), "due, and not told of");
            }
            if world.elapsed().as_secs() % 40 < 2 {
                assert!(world.ping(1, 0));
            }
        }
        world.kinds_since(Duration::ZERO)
    };
    assert_eq!(conversation(true), conversation(false));
}

/// Firezone's fork burned a core on a keepalive whose time never came nor went.
#[test]
fn there_is_always_an_end_to_what_is_due_now() {
    let mut world = World::hub(3);
    for client in 1..=3 {
        assert!(world.ping(client, 0));
    }
    world.lose(|_| true);
    for _ in 0..300 {
        world.send(0, &packet(inner(0), inner(1), b"x"));
        world.run(Duration::from_millis(777));
        for node in &world.nodes {
            if let Some((at, why)) = node.tunnel.poll_timeout() {
                assert!(at > world.now().instant, "{why}");
            }
        }
    }
}
