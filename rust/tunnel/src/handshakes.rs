//! Handshake messages: which are to be handled, and initiations that wait for their turn.
//!
//! Answering one takes as long as opening some hundred data messages, so that thousands of clients
//! that come back at once would stop everybody's data for seconds: while data flows, it goes first.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::batch::{DatagramsOut, Endpoint, Now};
use crate::constants::{COOKIE_REPLY_SIZE, HANDSHAKE_INITIATION_SIZE, HANDSHAKE_TRAFFIC_CLASS};
use crate::cookie::CookieChecker;
use crate::cookie_budget::CookieBudget;
use crate::key::PublicKey;
use crate::rate_limit::RateLimiter;
use crate::stats::Drops;

/// Initiations that wait at most, 4 MB of them; a client whose initiation is dropped sends another
/// one after 5 s, in which 11,000 are answered even beside data.
const MAX_WAITING: usize = 16_384;

/// From so many on a cookie is asked for: more clients than that do not come back at once, and
/// fewer are better served in their turn than sent away for 5 s.
const LOAD: usize = MAX_WAITING / 4 * 3;

/// ... or from so few on while most come from nobody that we know: a crowd of clients does not.
const SUSPECT_LOAD: usize = 128;

/// Initiations that are under way to their answers at most; more would only wait elsewhere.
const MAX_LENT: usize = 64;

/// Cookies are asked for until it was quieter for this long (`wg_receive_handshake_packet`, kernel
/// `receive.c`).
const CALM: Duration = Duration::from_secs(1);

/// While data flows, one initiation is answered in this time: half of the worker's at most. Slower
/// costs a transfer as much in all, since clients try again after 5 s.
const PACE: Duration = Duration::from_micros(450);

/// While cookies are asked for, or most come from nobody, one of those that brought no cookie: most of
/// them are a flood, and who comes from its own address comes again with a cookie.
const FLOOD_PACE: Duration = Duration::from_millis(4);

/// Bytes between two answers that are a flow: more than keepalives and calls, and what 80 Mbit/s
/// bring in that time.
const FLOW: usize = 8192;

/// Otherwise it waits for the worker's next turn, which looks for data first.
const TURN: Duration = Duration::from_nanos(1);

/// What is to be done with a handshake message.
enum Verdict {
    /// Handle it.
    Accept(Proof),
    /// Answer with this cookie reply (the paper, section 5.4.7).
    Cookie([u8; COOKIE_REPLY_SIZE]),
    /// MAC1 is wrong: the sender does not know our public key. Stay silent.
    BadMac1,
    /// Stay silent: its address sends too many, or all together ask for too many cookies.
    RateLimited,
}

/// What the sender of a message has proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// That it knows our public key.
    Key,
    /// Besides, that it receives what is sent to its address, or who it claims to be.
    Address,
}

/// An initiation with a right MAC1, and where it came from.
pub(crate) struct Initiation {
    pub(crate) message: [u8; HANDSHAKE_INITIATION_SIZE],
    pub(crate) from: Endpoint,
    /// Whose it claims to be, if that was found out where it arrived.
    pub(crate) claimed: Option<PublicKey>,
    arrived: Instant,
}

impl Initiation {
    fn new(message: &[u8], from: Endpoint, claimed: Option<PublicKey>, now: Now) -> Option<Self> {
        Some(Self {
            message: message.try_into().ok()?,
            from,
            claimed,
            arrived: now.instant,
        })
    }
}

#[derive(Default)]
pub(crate) struct Handshakes {
    /// None without a key of ours, when no message is for us.
    checker: Option<CookieChecker>,
    limiter: RateLimiter,
    /// What cookies may be sent, while they are asked for.
    cookies: Option<CookieBudget>,
    /// When so many waited that cookies are asked for.
    loaded: Option<Instant>,
    /// Those who have proved more go first: a flood from forged addresses keeps nobody out that
    /// answers its cookie.
    proven: Queue,
    others: Queue,
    /// How many are under way to their answers.
    pub(crate) lent: usize,
    strangers: Share,
    last: Option<Instant>,
    /// Bytes of data that came or went since.
    moved: usize,
}

impl Handshakes {
    /// We have this key now. What waits is for another one.
    pub(crate) fn set_key(&mut self, public_key: Option<&PublicKey>) {
        self.checker = public_key.map(CookieChecker::new);
        self.proven = Queue::default();
        self.others = Queue::default();
    }

    /// Checks a handshake message and, if it is to be handled, says what its sender has proved.
    /// Otherwise it is dealt with here: counted, and answered with a cookie.
    pub(crate) fn admit(
        &mut self,
        message: &[u8],
        from: Endpoint,
        now: Now,
        drops: &mut Drops,
        out: &mut DatagramsOut,
    ) -> Option<Proof> {
        match self.check(message, from.address, now) {
            Verdict::Accept(proof) => return Some(proof),
            Verdict::BadMac1 => drops.mac1 += 1,
            Verdict::RateLimited => drops.rate_limited += 1,
            Verdict::Cookie(reply) => {
                drops.under_load += 1;
                out.room(reply.len()).copy_from_slice(&reply);
                out.push(reply.len(), &from, HANDSHAKE_TRAFFIC_CLASS);
                out.handshakes.cookies += 1;
            }
        }
        None
    }

    /// Looks at a handshake message, all of it: MAC1 first, and under load its cookie and then how
    /// many its address sends, in the kernel's order (`cookie.c`): forged addresses fill no table.
    fn check(&mut self, message: &[u8], source: SocketAddr, now: Now) -> Verdict {
        let now = now.instant;
        let is_loaded = self.is_loaded(now);
        let Some(checker) = self
            .checker
            .as_mut()
            .filter(|checker| checker.knows_our_key(message))
        else {
            return Verdict::BadMac1;
        };
        if !is_loaded {
            return Verdict::Accept(Proof::Key);
        }
        if checker.is_there(message, source, now) {
            return match self.limiter.allow(source.ip(), now) {
                true => Verdict::Accept(Proof::Address),
                false => Verdict::RateLimited,
            };
        }
        let may_reply = self
            .cookies
            .get_or_insert_with(|| CookieBudget::new(now))
            .allow(source, now);
        match may_reply {
            true => Verdict::Cookie(checker.reply(message, source, now)),
            false => Verdict::RateLimited,
        }
    }

    fn is_loaded(&mut self, now: Instant) -> bool {
        let load = if self.strangers.is_most() {
            SUSPECT_LOAD
        } else {
            LOAD
        };
        if self.len() >= load {
            self.loaded = Some(now);
        }
        self.loaded
            .take_if(|then| now.saturating_duration_since(*then) >= CALM);
        if self.loaded.is_none() {
            self.cookies = None;
        }
        self.loaded.is_some()
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.proven.order.len() + self.others.order.len() + self.lent
    }

    /// Takes an initiation; false if there is no room.
    pub(crate) fn push(&mut self, message: &[u8], from: Endpoint, proof: Proof, now: Now) -> bool {
        let queue = match proof {
            Proof::Address => &mut self.proven,
            Proof::Key => &mut self.others,
        };
        Initiation::new(message, from, None, now).is_some_and(|initiation| queue.push(initiation))
    }

    /// Takes an initiation that was checked elsewhere; false if there is no room.
    pub(crate) fn push_claimed(
        &mut self,
        message: &[u8],
        from: Endpoint,
        claimed: PublicKey,
        now: Now,
    ) -> bool {
        Initiation::new(message, from, Some(claimed), now)
            .is_some_and(|initiation| self.proven.push(initiation))
    }

    /// Notes that an initiation has come from one of our peers, or from nobody.
    pub(crate) fn note_sender(&mut self, is_peer: bool) {
        self.strangers.note(!is_peer);
    }

    /// Whether most initiations come from nobody that we know.
    pub(crate) fn are_suspect(&self) -> bool {
        self.strangers.is_most()
    }

    /// Whether as many are under way to their answers as may be.
    pub(crate) fn are_held(&self) -> bool {
        self.lent >= MAX_LENT
    }

    /// Counts the next pause as one beside data.
    pub(crate) fn pace(&mut self) {
        self.moved = FLOW;
    }

    /// Notes that so many bytes of data are moved.
    pub(crate) fn note_data(&mut self, len: usize) {
        self.moved = self.moved.saturating_add(len);
    }

    /// When the next initiation is to be answered, if one waits.
    pub(crate) fn next(&self) -> Option<Instant> {
        if self.are_held() {
            return None;
        }
        let (arrived, pace) = match self.proven.next() {
            Some(arrived) => (arrived, PACE),
            None if self.loaded.is_some() || self.strangers.is_most() => {
                (self.others.next()?, FLOOD_PACE)
            }
            None => (self.others.next()?, PACE),
        };
        let pause = if self.moved >= FLOW { pace } else { TURN };
        Some(self.last.map_or(arrived, |last| last + pause))
    }

    /// Takes out the initiation that is to be answered at `now`, if it is time: a batch of
    /// datagrams brings one at most.
    pub(crate) fn pop(&mut self, now: Now) -> Option<Initiation> {
        self.is_loaded(now.instant);
        self.next().filter(|next| *next <= now.instant)?;
        self.last = Some(now.instant);
        self.moved = 0;
        self.proven.pop().or_else(|| self.others.pop())
    }
}

/// How many of the last few dozen were so, in 256ths: older ones count less and less.
#[derive(Default)]
struct Share(u16);

impl Share {
    fn note(&mut self, is_so: bool) {
        let target = if is_so { 256 } else { 0 };
        self.0 = (self.0 * 15 + target) / 16;
    }

    /// Three quarters, and not half: so many peers may have been removed.
    fn is_most(&self) -> bool {
        self.0 > 192
    }
}

/// One initiation of each source, by when its first came.
///
/// The hash is keyed: who forges addresses cannot make them meet in the table.
#[derive(Default)]
struct Queue {
    waiting: HashMap<SocketAddr, Initiation>,
    order: VecDeque<SocketAddr>,
}

impl Queue {
    /// A client that tries again while its first initiation waits has forgotten that one: the new
    /// one takes its place. Who replays an old one from the same address, and so hides the new one,
    /// must see the client's datagrams and forge its address; the client's next try is another race.
    fn push(&mut self, initiation: Initiation) -> bool {
        let source = initiation.from.address;
        if let Some(earlier) = self.waiting.get_mut(&source) {
            let arrived = earlier.arrived;
            *earlier = Initiation {
                arrived,
                ..initiation
            };
            return true;
        }
        if self.order.len() >= MAX_WAITING {
            return false;
        }
        self.waiting.insert(source, initiation);
        self.order.push_back(source);
        true
    }

    /// When the first one came.
    fn next(&self) -> Option<Instant> {
        let first = self.waiting.get(self.order.front()?)?;
        Some(first.arrived)
    }

    fn pop(&mut self) -> Option<Initiation> {
        let source = self.order.pop_front()?;
        self.waiting.remove(&source)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use boringtun::noise::{Tunn, TunnResult};

    use super::*;
    use crate::key::PrivateKey;

    fn from(port: u16) -> Endpoint {
        SocketAddr::from(([192, 0, 2, 1], port)).into()
    }

    fn message(byte: u8) -> [u8; HANDSHAKE_INITIATION_SIZE] {
        [byte; HANDSHAKE_INITIATION_SIZE]
    }

    #[test]
    fn a_second_try_takes_the_place_of_the_first() {
        let mut now = Now {
            instant: Instant::now(),
            unix: Duration::ZERO,
        };
        let mut handshakes = Handshakes::default();
        for (byte, port) in [(1, 1), (2, 2), (3, 1), (4, 3), (5, 2)] {
            assert!(handshakes.push(&message(byte), from(port), Proof::Key, now));
        }
        let mut served = Vec::new();
        while let Some(at) = handshakes.next() {
            now.instant = at;
            let initiation = handshakes.pop(now).expect("it is time");
            served.push((initiation.message[0], initiation.from.address.port()));
        }
        assert_eq!(served, [(3, 1), (5, 2), (4, 3)]);
    }

    #[test]
    fn no_more_wait_than_there_is_room() {
        let now = Now {
            instant: Instant::now(),
            unix: Duration::ZERO,
        };
        let mut handshakes = Handshakes::default();
        for port in 0..MAX_WAITING as u16 {
            assert!(handshakes.push(&message(0), from(port), Proof::Key, now));
        }
        assert!(!handshakes.push(&message(0), from(u16::MAX), Proof::Key, now));
        assert!(
            handshakes.push(&message(1), from(7), Proof::Key, now),
            "a second try"
        );
    }

    #[test]
    fn only_a_flow_of_data_makes_initiations_wait() {
        for (moved, pause) in [(FLOW - 1, TURN), (FLOW, PACE)] {
            let mut now = Now {
                instant: Instant::now(),
                unix: Duration::ZERO,
            };
            let mut handshakes = Handshakes::default();
            for port in [1, 2] {
                assert!(handshakes.push(&message(0), from(port), Proof::Key, now));
            }
            assert!(handshakes.pop(now).is_some());
            handshakes.note_data(moved);
            now.instant += pause - Duration::from_nanos(1);
            assert!(handshakes.pop(now).is_none());
            now.instant += Duration::from_nanos(1);
            assert!(handshakes.pop(now).is_some());
        }
    }

    fn client(server: &PublicKey) -> impl FnMut(Option<&[u8]>) -> Vec<u8> + use<> {
        client_of(&PrivateKey::generate(), server)
    }

    /// What makes initiations of the owner of this key; each with the cookie, if it gets one.
    pub(crate) fn client_of(
        key: &PrivateKey,
        server: &PublicKey,
    ) -> impl FnMut(Option<&[u8]>) -> Vec<u8> + use<> {
        let (secret, server) = (key.as_secret().clone(), server.to_x25519());
        let mut tunn = Tunn::new(secret, server, None, None, 1, None);
        move |cookie| {
            let mut room = [0; HANDSHAKE_INITIATION_SIZE];
            if let Some(cookie) = cookie {
                let taken = tunn.decapsulate(None, cookie, &mut room);
                assert!(matches!(taken, TunnResult::Done), "{taken:?}");
            }
            match tunn.format_handshake_initiation(&mut room, true) {
                TunnResult::WriteToNetwork(message) => message.to_vec(),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_full_queue_asks_for_cookies_until_it_was_calm_for_a_second() {
        let mut now = Now {
            instant: Instant::now(),
            unix: Duration::ZERO,
        };
        let key = PrivateKey::generate().public_key();
        let mut initiate = client(&key);
        let message = initiate(None);
        let source = from(443).address;
        let mut handshakes = Handshakes::default();
        let check = |handshakes: &mut Handshakes, message: &[u8], now| match handshakes
            .check(message, source, now)
        {
            Verdict::Accept(Proof::Key) => "accept",
            Verdict::Accept(Proof::Address) => "proven",
            Verdict::Cookie(_) => "cookie",
            Verdict::BadMac1 => "bad",
            Verdict::RateLimited => "limited",
        };
        assert_eq!(check(&mut handshakes, &message, now), "bad", "no key");
        handshakes.set_key(Some(&key));
        for port in 0..LOAD as u16 {
            assert_eq!(check(&mut handshakes, &message, now), "accept", "{port}");
            handshakes.push(&message, from(port), Proof::Key, now);
        }
        let Verdict::Cookie(cookie) = handshakes.check(&message, source, now) else {
            panic!("under load");
        };
        // Who answers its cookie is served before the crowd, but not without end.
        let proof = initiate(Some(&cookie));
        assert_eq!(check(&mut handshakes, &proof, now), "proven");
        assert!(handshakes.push(&proof, from(443), Proof::Address, now));
        let answered: Vec<_> = (0..10)
            .map(|_| check(&mut handshakes, &proof, now))
            .collect();
        assert_eq!(
            answered[..5],
            ["proven", "proven", "proven", "proven", "limited"]
        );
        now.instant = handshakes.next().expect("one waits");
        assert_eq!(handshakes.pop(now).expect("it is time").message[..], proof);
        // The crowd shrinks; cookies are asked for until that was a second ago.
        assert_eq!(check(&mut handshakes, &message, now), "cookie");
        now.instant = handshakes.next().expect("others wait");
        let busy = now;
        assert!(handshakes.pop(now).is_some() && handshakes.len() < LOAD);
        now.instant = busy.instant + CALM - Duration::from_nanos(1);
        assert_eq!(check(&mut handshakes, &message, now), "cookie");
        now.instant = busy.instant + CALM;
        assert_eq!(check(&mut handshakes, &message, now), "accept");
    }

    #[test]
    fn a_flood_of_strangers_is_no_crowd() {
        let now = Now {
            instant: Instant::now(),
            unix: Duration::ZERO,
        };
        let key = PrivateKey::generate().public_key();
        let initiation = client(&key)(None);
        let mut handshakes = Handshakes::default();
        handshakes.set_key(Some(&key));
        for port in 1..SUSPECT_LOAD as u16 + 1 {
            handshakes.push(&initiation, from(port), Proof::Key, now);
        }
        let asks = |handshakes: &mut Handshakes| {
            let verdict = handshakes.check(&initiation, from(443).address, now);
            matches!(verdict, Verdict::Cookie(_))
        };
        let pace = |handshakes: &mut Handshakes| {
            handshakes.pop(now);
            handshakes.note_data(FLOW);
            handshakes.push(&initiation, from(9999), Proof::Key, now);
            handshakes.next().map(|next| next - now.instant)
        };
        // Half of them are clients: so may it be after a restart without some peers.
        for number in 0..100 {
            handshakes.note_sender(number % 2 == 0);
        }
        assert!(!asks(&mut handshakes));
        assert_eq!(pace(&mut handshakes), Some(PACE));
        for _ in 0..20 {
            handshakes.note_sender(false);
        }
        handshakes.pop(now);
        assert!(asks(&mut handshakes));
        assert_eq!(pace(&mut handshakes), Some(FLOOD_PACE));
        for _ in 0..20 {
            handshakes.note_sender(true);
        }
        assert!(!handshakes.strangers.is_most());
    }
}
