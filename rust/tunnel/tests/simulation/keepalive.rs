//! Keepalives (the paper, section 6.5): one where data was left unanswered, and no more.

use std::time::Duration;

use crate::world::{Kind, World, inner, packet};

const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);

/// When each keepalive was sent since `from`, and by which node.
fn keepalives(world: &World, from: Duration) -> Vec<(Duration, usize)> {
    let since = world.seen.iter().filter(|seen| seen.at >= from);
    since
        .filter(|seen| seen.kind == Kind::Keepalive)
        .map(|seen| {
            (
                seen.at - from,
                usize::from(seen.source == world.nodes[1].address),
            )
        })
        .collect()
}

/// gotatun 0.7.2: received keepalives were answered too, so that two idle peers kept on pinging
/// each other; and the time ran from the last packet sent, so that an idle peer answered at once.
#[test]
fn one_keepalive_answers_data_after_ten_seconds_and_nothing_answers_the_keepalive() {
    for idle in [1, 15, 60] {
        let mut world = World::hub(1);
        assert!(world.ping(1, 0));
        world.run(idle * SECOND);
        let from = world.elapsed();
        world.send(1, &packet(inner(1), inner(0), b"one way"));
        world.run(50 * SECOND);
        let mut answers = keepalives(&world, from);
        answers.retain(|(_, sender)| *sender == 0);
        let [(after, _)] = answers[..] else {
            panic!("idle for {idle} s: {answers:?}");
        };
        assert!(
            after >= KEEPALIVE_TIMEOUT && after <= KEEPALIVE_TIMEOUT + SECOND,
            "idle for {idle} s: {after:?}"
        );
    }
}

#[test]
fn an_answer_in_time_saves_the_keepalive() {
    let mut world = World::hub(1);
    assert!(world.ping(1, 0));
    world.run(SECOND);
    let from = world.elapsed();
    for _ in 0..10 {
        world.send(1, &packet(inner(1), inner(0), b"question"));
        world.run(8 * SECOND);
        world.send(0, &packet(inner(0), inner(1), b"answer"));
        world.run(SECOND);
    }
    // The client's, for the answers, are its next questions.
    assert_eq!(keepalives(&world, from), []);
}

/// gotatun 0.7.2: persistent keepalives were sent beside traffic.
#[test]
fn a_persistent_keepalive_is_saved_while_there_is_traffic() {
    let mut world = World::hub(1);
    let mut change = world.change_of(0);
    change.persistent_keepalive = Some(5);
    world.apply_peer(1, change);
    assert!(world.ping(1, 0));
    world.run(SECOND);
    let from = world.elapsed();
    for _ in 0..30 {
        assert!(world.ping(1, 0));
        world.run(2 * SECOND);
    }
    assert_eq!(keepalives(&world, from), []);
    let from = world.elapsed();
    world.run(60 * SECOND);
    let idle = keepalives(&world, from);
    assert!((11..=12).contains(&idle.len()), "{idle:?}");
    assert!(idle.iter().all(|(_, sender)| *sender == 1), "{idle:?}");
}

#[test]
fn keepalives_are_handed_to_nobody() {
    let mut world = World::hub(1);
    let mut change = world.change_of(0);
    change.persistent_keepalive = Some(1);
    world.apply_peer(1, change);
    world.run(60 * SECOND);
    assert!(keepalives(&world, Duration::ZERO).len() > 50);
    assert!(world.nodes[0].received.is_empty());
    let before = world.peer(0, 1).rx_bytes;
    world.run(SECOND);
    assert_eq!(
        world.peer(0, 1).rx_bytes - before,
        32,
        "but they are counted"
    );
}
