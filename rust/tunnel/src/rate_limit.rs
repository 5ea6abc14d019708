//! How many of something there may be in a while (kernel `ratelimiter.c`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Handshake messages a second for one address (`PACKETS_PER_SECOND`).
const PER_SECOND: u32 = 20;
/// Handshake messages at once for one address (`PACKETS_BURSTABLE`).
const BURST: u32 = 5;
/// An address that was quiet for this long is forgotten.
const MEMORY: Duration = Duration::from_secs(1);
/// Addresses that are remembered at most; others are refused then, as the kernel does.
const MAX_ADDRESSES: usize = 16_384;

/// Tokens that come at a steady pace, up to a burst of them. They are kept as the time in which
/// they come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    tokens: Duration,
    last: Instant,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        Self {
            tokens: Duration::from_secs(1) / per_second * burst,
            last: now,
        }
    }

    /// Takes a token; false if there is none.
    pub(crate) fn take(&mut self, per_second: u32, burst: u32, now: Instant) -> bool {
        let cost = Duration::from_secs(1) / per_second;
        let elapsed = now.saturating_duration_since(self.last);
        self.tokens = self.tokens.saturating_add(elapsed).min(cost * burst);
        self.last = now;
        let left = self.tokens.checked_sub(cost);
        self.tokens = left.unwrap_or(self.tokens);
        left.is_some()
    }
}

/// A bucket for each IPv4 address and each IPv6 network of 64 bits, which one customer has.
///
/// The hash is keyed: who chooses addresses cannot make them meet in the table.
#[derive(Debug, Default)]
pub(crate) struct RateLimiter {
    buckets: HashMap<IpAddr, Bucket>,
    swept: Option<Instant>,
}

impl RateLimiter {
    /// Whether one more message from this address is to be handled.
    pub(crate) fn allow(&mut self, source: IpAddr, now: Instant) -> bool {
        self.sweep(now);
        let source = network(source);
        if let Some(bucket) = self.buckets.get_mut(&source) {
            return bucket.take(PER_SECOND, BURST, now);
        }
        if self.buckets.len() >= MAX_ADDRESSES {
            return false;
        }
        let mut bucket = Bucket::new(PER_SECOND, BURST, now);
        let allowed = bucket.take(PER_SECOND, BURST, now);
        self.buckets.insert(source, bucket);
        allowed
    }

    /// Forgets, once in a while, who was quiet.
    fn sweep(&mut self, now: Instant) {
        let since = |then| now.saturating_duration_since(then);
        if self.swept.is_some_and(|swept| since(swept) < MEMORY) {
            return;
        }
        self.swept = Some(now);
        self.buckets
            .retain(|_, bucket| since(bucket.last) <= MEMORY);
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::from((address.to_bits() >> 64 << 64).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's `selftest/ratelimiter.c`: milliseconds to wait, and whether it is allowed then.
    const EXPECTED: [(u64, bool); 11] = [
        (0, true),
        (0, true),
        (0, true),
        (0, true),
        (0, true),
        (0, false),
        (50, true),
        (0, false),
        (100, true),
        (0, true),
        (0, false),
    ];

    fn v4(number: u8) -> IpAddr {
        IpAddr::from([198, 51, 100, number])
    }

    /// Another host of the same network each time.
    fn v6(network: u64, host: u64) -> IpAddr {
        IpAddr::from((u128::from(network) << 64 | u128::from(host)).to_be_bytes())
    }

    #[test]
    fn the_kernels_table_of_timings_holds() {
        let mut limiter = RateLimiter::default();
        let mut now = Instant::now();
        for (step, (wait, allowed)) in EXPECTED.into_iter().enumerate() {
            now += Duration::from_millis(wait);
            assert_eq!(limiter.allow(v4(1), now), allowed, "IPv4, step {step}");
            let host = v6(7, step as u64);
            assert_eq!(limiter.allow(host, now), allowed, "IPv6, step {step}");
            // The kernel asks for others in between; here each of them is new.
            assert!(limiter.allow(v4(100 + step as u8), now), "others");
            assert!(limiter.allow(v6(100 + step as u64, 1), now), "others");
        }
    }

    /// `capacity_test` of the same file.
    #[test]
    fn a_full_table_refuses_and_does_not_grow() {
        let mut limiter = RateLimiter::default();
        let start = Instant::now();
        let source = |number: usize| IpAddr::from((0x0a00_0000 + number as u32).to_be_bytes());
        for number in 0..MAX_ADDRESSES + 100 {
            let allowed = limiter.allow(source(number), start);
            assert_eq!(allowed, number < MAX_ADDRESSES, "{number}");
        }
        assert_eq!(limiter.buckets.len(), MAX_ADDRESSES);
        let later = start + MEMORY + Duration::from_millis(1);
        assert!(limiter.allow(source(MAX_ADDRESSES), later));
        assert_eq!(limiter.buckets.len(), 1);
    }

    #[test]
    fn a_bucket_gives_what_was_agreed_in_the_long_run() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 3, start);
        let taken = (0..10_000)
            .filter(|step| bucket.take(10, 3, start + Duration::from_millis(*step)))
            .count();
        assert_eq!(taken, 3 + 99);
    }
}
