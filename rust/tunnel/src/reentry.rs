//! Datagrams of ours that the host's routes lead back into the tunnel.
//!
//! That may be meant: one peer is reached through another. But where the way leads back to where it
//! was, a datagram would grow and multiply with each round, for ever.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How many legs of such ways are remembered: more than a network of tunnels in tunnels has.
const LEGS: usize = 8;

/// A leg that nothing took for so long may lead elsewhere by now.
const MEMORY: Duration = Duration::from_secs(1);

/// Datagrams to `to` came back, and went out to `via` inside of others.
#[derive(Clone, Copy, Debug)]
struct Leg {
    to: SocketAddr,
    via: SocketAddr,
    seen: Instant,
}

/// The legs that were seen last.
#[derive(Debug, Default)]
pub(crate) struct Reentry {
    legs: [Option<Leg>; LEGS],
}

impl Reentry {
    /// Whether a datagram to `to` that came back goes round, if it is sent to `via` now: at once, or
    /// by the legs that others have taken.
    pub(crate) fn goes_round(&mut self, to: SocketAddr, via: SocketAddr, now: Instant) -> bool {
        self.note(Leg { to, via, seen: now });
        let mut at = via;
        for _ in 0..LEGS {
            if at == to {
                return true;
            }
            let fresh = |leg: &&Leg| now.saturating_duration_since(leg.seen) < MEMORY;
            match self
                .legs
                .iter()
                .flatten()
                .filter(fresh)
                .find(|leg| leg.to == at)
            {
                Some(leg) => at = leg.via,
                None => return false,
            }
        }
        false
    }

    /// Remembers a leg in the place of what was known of its start, or of the oldest one.
    fn note(&mut self, leg: Leg) {
        let known = |slot: &Option<Leg>| slot.is_some_and(|old| old.to == leg.to);
        let place = match self.legs.iter().position(known) {
            Some(place) => place,
            None => {
                let age = |place: &usize| self.legs[*place].map(|leg| leg.seen);
                (0..LEGS).min_by_key(age).unwrap_or(0)
            }
        };
        self.legs[place] = Some(leg);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, number], 51820))
    }

    #[test]
    fn a_way_through_other_peers_is_no_loop() {
        let mut reentry = Reentry::default();
        let now = Instant::now();
        for _ in 0..3 {
            assert!(!reentry.goes_round(peer(3), peer(2), now));
            assert!(!reentry.goes_round(peer(2), peer(1), now));
        }
    }

    #[test]
    fn a_way_back_to_where_it_was_is_one() {
        let mut reentry = Reentry::default();
        let now = Instant::now();
        assert!(reentry.goes_round(peer(1), peer(1), now), "at once");
        for length in 2..=LEGS as u8 {
            let mut reentry = Reentry::default();
            for leg in 1..length {
                assert!(!reentry.goes_round(peer(leg), peer(leg + 1), now));
            }
            assert!(reentry.goes_round(peer(length), peer(1), now), "{length}");
        }
    }

    #[test]
    fn what_is_not_seen_any_more_is_forgotten() {
        let mut reentry = Reentry::default();
        let now = Instant::now();
        assert!(!reentry.goes_round(peer(1), peer(2), now));
        let later = now + MEMORY;
        assert!(!reentry.goes_round(peer(2), peer(1), later));
        for number in 10..10 + LEGS as u8 {
            let even_later = later + Duration::from_nanos(number.into());
            assert!(!reentry.goes_round(peer(number), peer(100), even_later));
        }
        assert!(!reentry.goes_round(peer(1), peer(2), later), "pushed out");
    }
}
