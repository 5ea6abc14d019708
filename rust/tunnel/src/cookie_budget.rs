//! How many cookies are sent in a flood, and to whom.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::time::Instant;

use crate::rate_limit::Bucket;

/// Cookie replies a second to whoever asks first, and as many again to those who ask again; and how
/// many at once. Making and sending one takes ten to twenty microseconds of the porter's time, which
/// has a bound of its own.
const PER_SECOND: u32 = 5_000;
const AT_ONCE: u32 = 500;

/// Sources that are remembered: most of the last five seconds', after which a client tries again, if
/// there are no more than 50,000 a second. A power of two; 4 MB.
const SOURCES: usize = 1 << 20;

/// A client tries again from where it tried before; who forges random addresses hardly does. So a
/// source that asked in vain is preferred when it asks again.
pub(crate) struct CookieBudget {
    first: Bucket,
    again: Bucket,
    hasher: RandomState,
    /// A part of the hash of each source that asked in vain, where another part of it says. Others
    /// push it out.
    in_vain: Vec<u32>,
}

impl CookieBudget {
    pub(crate) fn new(now: Instant) -> Self {
        let bucket = Bucket::new(PER_SECOND, AT_ONCE, now);
        Self {
            first: bucket,
            again: bucket,
            hasher: RandomState::new(),
            in_vain: Vec::new(),
        }
    }

    /// Whether to send a cookie to this source.
    pub(crate) fn allow(&mut self, source: SocketAddr, now: Instant) -> bool {
        if self.first.take(PER_SECOND, AT_ONCE, now) {
            return true;
        }
        if self.in_vain.is_empty() {
            self.in_vain.resize(SOURCES, 0);
        }
        let hash = self.hasher.hash_one(source);
        let (place, tag) = (hash as usize % SOURCES, (hash >> 32) as u32);
        let asks_again = std::mem::replace(&mut self.in_vain[place], tag) == tag;
        asks_again && self.again.take(PER_SECOND, AT_ONCE, now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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

    #[test]
    fn those_who_ask_again_get_no_more_than_their_part() {
        let start = Instant::now();
        let mut budget = CookieBudget::new(start);
        let sent = (0..100_000_u32)
            .filter(|number| {
                let now = start + Duration::from_micros(u64::from(*number) * 10);
                budget.allow(source(number % 100), now)
            })
            .count();
        assert!(sent <= 2 * (AT_ONCE + PER_SECOND) as usize, "{sent}");
        assert!(sent > (2 * PER_SECOND) as usize, "{sent}");
    }
}
