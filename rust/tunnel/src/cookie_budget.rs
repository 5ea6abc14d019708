//! How many cookies are sent in a flood, and to whom.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::rate_limit::Bucket;

/// Cookie replies a second to whoever asks first, and as many again to those who ask again; and how
/// many at once. Making and sending one takes ten to twenty microseconds of the porter's time, which
/// has a bound of its own.
const PER_SECOND: u32 = 5_000;
const AT_ONCE: u32 = 500;

/// Cookie replies a second to those who were sent one within [`ENOUGH`], and at once: a client asks
/// again after five seconds, when its cookie was lost. So few real addresses of a flood cannot use up
/// what others are to get; and who forges a client's address does not keep all cookies from it.
const MORE: u32 = 500;
const ENOUGH: Duration = Duration::from_secs(4);

/// Sources that were sent a cookie and are remembered: most of [`ENOUGH`]'s. A power of two; 1 MB.
const SERVED: usize = 1 << 17;

/// Sources that are remembered: most of the last five seconds', after which a client tries again, if
/// there are no more than 50,000 a second. A power of two; 4 MB.
const SOURCES: usize = 1 << 20;

/// A client tries again from where it tried before; who forges random addresses hardly does. So a
/// source that asked in vain is preferred when it asks again.
pub(crate) struct CookieBudget {
    start: Instant,
    first: Bucket,
    again: Bucket,
    more: Bucket,
    hasher: RandomState,
    /// A part of the hash of each source that asked in vain, where another part of it says. Others
    /// push it out.
    in_vain: Vec<u32>,
    /// As much of the hash of each source that was sent a cookie, and when: milliseconds since the start.
    served: Vec<(u32, u32)>,
}

impl CookieBudget {
    pub(crate) fn new(now: Instant) -> Self {
        let bucket = Bucket::new(PER_SECOND, AT_ONCE, now);
        Self {
            start: now,
            first: bucket,
            again: bucket,
            more: Bucket::new(MORE, MORE, now),
            hasher: RandomState::new(),
            in_vain: vec![0; SOURCES],
            served: vec![(0, 0); SERVED],
        }
    }

    /// Whether to send a cookie to this source.
    pub(crate) fn allow(&mut self, source: SocketAddr, now: Instant) -> bool {
        let hash = self.hasher.hash_one(source);
        let (place, tag) = (hash as usize, (hash >> 32) as u32);
        let elapsed = now.saturating_duration_since(self.start).as_millis() as u32;
        let (served, at) = self.served[place % SERVED];
        if served == tag && u128::from(elapsed.wrapping_sub(at)) < ENOUGH.as_millis() {
            return self.more.take(MORE, MORE, now);
        }
        let allowed = self.first.take(PER_SECOND, AT_ONCE, now) || {
            let before = std::mem::replace(&mut self.in_vain[place % SOURCES], tag);
            before == tag && self.again.take(PER_SECOND, AT_ONCE, now)
        };
        if allowed {
            self.served[place % SERVED] = (tag, elapsed);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(number: u32) -> SocketAddr {
        SocketAddr::from(((0x0a00_0000 + number).to_be_bytes(), 7))
    }

    /// Clients try every five seconds, in a flood of fifty thousand a second that never comes from the
    /// same place twice.
    #[test]
    fn who_asks_again_is_preferred() {
        let start = Instant::now();
        let mut budget = CookieBudget::new(start);
        let mut waiting: Vec<u32> = (0..100).collect();
        let (mut forged, mut wasted) = (1_000, 0);
        for millisecond in 0..7_000 {
            let now = start + Duration::from_millis(millisecond);
            for _ in 0..50 {
                forged += 1;
                wasted += u32::from(budget.allow(source(forged), now));
            }
            if millisecond % 5_000 == 1_000 {
                waiting.retain(|client| !budget.allow(source(*client), now));
            }
        }
        // The second time: of those remembered a flood pushes out a fifth.
        assert!(waiting.len() < 40, "{} still wait", waiting.len());
        let most = AT_ONCE + 7 * PER_SECOND;
        assert!(wasted <= most, "{wasted} to nobody");
    }

    /// ... in a flood of as many from few places, which is ten times all that is sent.
    #[test]
    fn a_flood_from_the_same_places_does_not_use_up_the_cookies() {
        let all = 2 * (AT_ONCE + 7 * PER_SECOND) + 8 * MORE;
        let few = |places: u32| 2 * places + 8 * MORE;
        // Of many, some push each other out.
        for (places, most, in_vain) in [(1, few(1), 0), (100, few(100), 0), (10_000, all, 5)] {
            let start = Instant::now();
            let mut budget = CookieBudget::new(start);
            let mut waiting: Vec<u32> = (1 << 20..).take(100).collect();
            let (mut forged, mut wasted) = (0, 0);
            for millisecond in 0..7_000 {
                let now = start + Duration::from_millis(millisecond);
                for _ in 0..50 {
                    forged += 1;
                    wasted += u32::from(budget.allow(source(forged % places), now));
                }
                if millisecond % 5_000 == 1_000 {
                    waiting.retain(|client| !budget.allow(source(*client), now));
                }
            }
            assert!(waiting.len() <= in_vain, "{} wait: {places}", waiting.len());
            assert!(wasted <= most, "{wasted}: {places}");
        }
    }

    #[test]
    fn those_who_ask_again_get_no_more_than_their_part() {
        let start = Instant::now();
        let mut budget = CookieBudget::new(start);
        let sent = (0..1_000_000_u32)
            .filter(|number| {
                let now = start + Duration::from_micros(u64::from(*number));
                budget.allow(source(number % 100_000), now)
            })
            .count();
        let most = 2 * (AT_ONCE + PER_SECOND) + 2 * MORE;
        assert!(sent <= most as usize, "{sent}");
        assert!(sent > (2 * PER_SECOND) as usize, "{sent}");
    }

    /// Its reply may have been lost.
    #[test]
    fn a_client_that_asks_again_after_five_seconds_is_sent_another_cookie() {
        let start = Instant::now();
        let mut budget = CookieBudget::new(start);
        for second in [0, 5, 10] {
            let now = start + Duration::from_secs(second);
            assert!(budget.allow(source(1), now));
            while budget.allow(source(1), now) {}
        }
    }
}
