//! Counters (the paper, section 5.4.6): each is taken once, and none that is far behind.
//!
//! The steps are those of the kernel's `selftest/counter.c`, with boringtun's window of 1,024
//! messages in place of the kernel's 8,128.

use std::collections::HashSet;

use crate::chaos::Random;
use crate::initiator::{Initiator, Session};
use crate::world::{World, address, inner, packet};

/// How far behind the highest counter another may be.
const WINDOW: u64 = 1_023;

const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);

struct Receiver {
    world: World,
    session: Session,
}

impl Receiver {
    fn new() -> Self {
        let mut world = World::hub(0);
        let mut client = Initiator::acquainted(&mut world, inner(1));
        let session = client
            .dial(&mut world, address([203, 0, 113, 7], 7), 1)
            .unwrap();
        Self { world, session }
    }

    /// Whether a message with this counter comes through; 0 was used up by the handshake.
    fn takes(&mut self, counter: u64) -> bool {
        let before = self.world.nodes[0].received.len();
        let message = self
            .session
            .seal(counter + 1, &packet(inner(1), inner(0), b"x"));
        self.world
            .deliver(0, address([203, 0, 113, 7], 7), &message);
        self.world.nodes[0].received.len() > before
    }
}

#[test]
fn each_counter_of_the_window_is_taken_once_and_none_behind_it() {
    const LIMIT: u64 = WINDOW + 1;
    let mut receiver = Receiver::new();
    for (step, (counter, taken)) in [
        (0, true),
        (1, true),
        (1, false),
        (9, true),
        (8, true),
        (7, true),
        (7, false),
        (LIMIT, true),
        (LIMIT - 1, true),
        (LIMIT - 1, false),
        (LIMIT - 2, true),
        (2, true),
        (2, false),
        (LIMIT + 16, true),
        (3, false),
        (LIMIT + 16, false),
        (LIMIT * 4, true),
        (LIMIT * 4 - (LIMIT - 1), true),
        (10, false),
        (LIMIT * 4 - LIMIT, false),
        (LIMIT * 4 - (LIMIT + 1), false),
        (LIMIT * 4 - (LIMIT - 2), true),
        (LIMIT * 4 + 1 - LIMIT, false),
        (0, false),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(receiver.takes(counter), taken, "step {step}: {counter}");
    }
}

#[test]
fn the_last_counters_before_the_limit_are_good_and_none_from_it_on() {
    const LIMIT: u64 = REJECT_AFTER_MESSAGES - 1;
    let mut receiver = Receiver::new();
    for (step, (counter, taken)) in [
        (LIMIT, false),
        (LIMIT - 1, true),
        (LIMIT, false),
        (LIMIT - 1, false),
        (LIMIT - 2, true),
        (LIMIT + 1, false),
        (LIMIT + 2, false),
        (LIMIT - 2, false),
        (LIMIT - 3, true),
        (0, false),
        (u64::MAX - 1, false),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(receiver.takes(counter), taken, "step {step}: {counter}");
    }
}

#[test]
fn a_window_fills_in_either_direction() {
    let fill = |counters: &mut dyn Iterator<Item = u64>| {
        let mut receiver = Receiver::new();
        for counter in counters {
            assert!(receiver.takes(counter), "{counter}");
        }
        receiver
    };
    let mut receiver = fill(&mut (1..=WINDOW));
    assert!(receiver.takes(0));
    assert!(!receiver.takes(0));

    let mut receiver = fill(&mut (2..=WINDOW + 1));
    assert!(receiver.takes(1));
    assert!(!receiver.takes(0));

    fill(&mut (0..=WINDOW).rev());

    let mut receiver = fill(&mut (1..=WINDOW + 1).rev());
    assert!(!receiver.takes(0));

    let mut receiver = fill(&mut (1..=WINDOW).rev());
    assert!(receiver.takes(WINDOW + 1));
    assert!(!receiver.takes(0));

    let mut receiver = fill(&mut (1..=WINDOW).rev());
    assert!(receiver.takes(0));
    assert!(receiver.takes(WINDOW + 1));
}

/// What a receiver must do, by a list of all that it took.
#[derive(Default)]
struct Oracle {
    taken: HashSet<u64>,
    highest: u64,
}

impl Oracle {
    fn takes(&mut self, counter: u64) -> bool {
        if counter + WINDOW < self.highest || !self.taken.insert(counter) {
            return false;
        }
        self.highest = self.highest.max(counter);
        true
    }
}

#[test]
fn random_counters_are_taken_as_an_oracle_says() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let (mut receiver, mut oracle) = (Receiver::new(), Oracle::default());
        for _ in 0..500 {
            let counter = match random.below(20) {
                0 => oracle.highest + random.below(3 * WINDOW),
                1..=9 => oracle.highest + random.below(70),
                _ => oracle
                    .highest
                    .saturating_sub(random.below(WINDOW + WINDOW / 8)),
            };
            assert_eq!(
                receiver.takes(counter),
                oracle.takes(counter),
                "seed {seed}: {counter} after {}",
                oracle.highest
            );
        }
    }
}
