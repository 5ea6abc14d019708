//! A peer's timers: boringtun's, and the keepalives, which are ours.

use std::time::{Duration, Instant};

use boringtun::noise::TunnResult;
use boringtun::noise::errors::WireGuardError;

use super::{Live, Peer};
use crate::batch::{DatagramsOut, Now};
use crate::constants::{
    HANDSHAKE_INITIATION_SIZE, HANDSHAKE_TRAFFIC_CLASS, KEEPALIVE_TIMEOUT, PADDING,
    REJECT_AFTER_TIME, REKEY_AFTER_TIME, REKEY_ATTEMPT_TIME, REKEY_TIMEOUT, SILENCE, TICK,
};

/// A peer that was heard or spoken to so recently is looked at regularly.
const RECENT: Duration = Duration::from_secs(2);

/// What is awaited for longer than its time and this will not happen any more.
const GRACE: Duration = Duration::from_secs(5);

/// A handshake that is given up after less time than this, which is that of its tries but one, was
/// not given up for them.
const REKEY_ATTEMPTS: Duration = REKEY_ATTEMPT_TIME.saturating_sub(REKEY_TIMEOUT);

/// Ages of a session at which its initiator renews it, having sent and having received, and at
/// which it ends (the paper, section 6.2).
const SESSION_AGES: [Duration; 3] = [
    REKEY_AFTER_TIME,
    REJECT_AFTER_TIME
        .saturating_sub(KEEPALIVE_TIMEOUT)
        .saturating_sub(REKEY_TIMEOUT),
    REJECT_AFTER_TIME,
];

/// How often a peer with sessions is looked at though nothing is awaited.
const IDLE_LOOK: Duration = Duration::from_secs(10);

/// Looks at idle peers fall together on multiples of this.
const GRAIN: Duration = Duration::from_millis(100);

impl Live {
    /// Notes when boringtun's newest session began. It has room for eight.
    fn note_birth(&mut self, now: Now) {
        let age = self.sender().tunn.time_since_last_handshake();
        let Some(birth) = age.and_then(|age| now.instant.checked_sub(age)) else {
            return;
        };
        let is_new = |last: &Instant| birth.saturating_duration_since(*last) > TICK / 2;
        if self.births.back().is_none_or(is_new) {
            self.births.push_back(birth);
            if self.births.len() > 8 {
                self.births.pop_front();
            }
        }
    }
}

impl Peer {
    /// Looks at the peer's timers; false if its handshake was given up.
    pub(crate) fn tick(&mut self, now: Now, out: &mut DatagramsOut) -> bool {
        self.is_answer_awaited(now) || self.update_timers(now, out)
    }

    /// Sends the keepalive that is due, if one is.
    ///
    /// Passive: data came and nothing went back for 10 s. boringtun has this too, but its stamps
    /// are those of its ticks, and it takes data that came in the tick of our last packet for
    /// answered. Persistent: nothing authenticated went either way for the interval; never given
    /// up (the paper, section 6.5).
    pub(crate) fn keep_alive(&mut self, now: Now, out: &mut DatagramsOut) {
        let since = |then| now.instant.saturating_duration_since(then);
        let passive = self
            .tunn
            .as_ref()
            .and_then(|live| live.first_unacknowledged)
            .is_some_and(|first| since(first) >= KEEPALIVE_TIMEOUT);
        let interval = Duration::from_secs(self.persistent_keepalive.into());
        let persistent = self.persistent_keepalive > 0
            && self
                .last_traversal
                .is_none_or(|last| since(last) >= interval);
        if (passive || persistent) && self.has_session() {
            self.seal(&mut [0; PADDING], 0, 0, 0, out);
            self.note_sent_keepalive(now);
        } else if persistent {
            self.initiate(now, out);
        }
    }

    /// Whether boringtun had better not see the time yet, because data waits for its answer.
    ///
    /// It counts the 15 seconds after which unanswered data starts a handshake from the last
    /// message received, not from the first one unanswered (upstream issue 363): to a peer that was
    /// silent for so long, all data would start one. While it does not see the time, its stamps
    /// stand still; so the time of a session's age goes before.
    fn is_answer_awaited(&self, now: Now) -> bool {
        let Some(live) = &self.tunn else { return false };
        let since = |then| now.instant.saturating_duration_since(then);
        let comes_of_age = |birth: &Instant| {
            let mut ages = SESSION_AGES.iter().map(|age| *birth + *age);
            ages.any(|at| live.last_tick <= at && at < now.instant)
        };
        live.first_unanswered
            .is_some_and(|sent| since(sent) < SILENCE)
            && since(live.received_stamp) >= SILENCE - TICK
            && live.initiated.is_none()
            && !live.births.iter().any(comes_of_age)
    }

    /// Lets boringtun see the time; false if it gave up on a handshake.
    ///
    /// Sessions expire only here, and every time stamp that it takes is that of the last call: a
    /// handshake message that arrives long after it would be stamped stale, and the new session
    /// thrown away by the next call.
    pub(super) fn update_timers(&mut self, now: Now, out: &mut DatagramsOut) -> bool {
        let Some(live) = &mut self.tunn else {
            return true;
        };
        live.last_tick = now.instant;
        live.note_birth(now);
        let room = out.room(HANDSHAKE_INITIATION_SIZE);
        if live.update_former(room) && !live.given_up {
            live.is_handshake_due = true;
        }
        match live.newest.update_timers(room) {
            // Its keepalives stay here: it counts their ten seconds from the last packet that we
            // sent, and so answers the first data after a silence at once (gotatun 0.7.2).
            TunnResult::WriteToNetwork(datagram) if datagram.len() != HANDSHAKE_INITIATION_SIZE => {
                true
            }
            TunnResult::WriteToNetwork(_) if live.is_outdated => {
                live.is_handshake_due = true;
                true
            }
            TunnResult::WriteToNetwork(_) => {
                if let Some(endpoint) = &mut self.endpoint {
                    let since = |then| now.instant.saturating_duration_since(then);
                    // Nothing has come back: perhaps because our address is not the right one any
                    // more (`wg_expired_retransmit_handshake`, kernel `timers.c`).
                    if live.initiated.is_some()
                        || live
                            .first_unanswered
                            .is_some_and(|sent| since(sent) >= SILENCE)
                    {
                        endpoint.local = None;
                    }
                    out.push(HANDSHAKE_INITIATION_SIZE, endpoint, HANDSHAKE_TRAFFIC_CLASS);
                    out.handshakes.initiated += 1;
                    self.tx_bytes += HANDSHAKE_INITIATION_SIZE as u64;
                    live.initiated = Some(now.instant);
                    live.initiating_since.get_or_insert(now);
                }
                true
            }
            TunnResult::Err(WireGuardError::ConnectionExpired) => {
                // Nine minutes after a session boringtun gives up whatever was begun meanwhile, too.
                let is_young = live.initiated.is_some()
                    && live.initiating_since.is_some_and(|since| {
                        now.instant.saturating_duration_since(since.instant) < REKEY_ATTEMPTS
                    });
                live.initiated = None;
                live.given_up = true;
                if is_young {
                    self.initiate(now, out);
                }
                is_young
            }
            _ => true,
        }
    }

    /// Whether boringtun's clock stands, because there was nothing to look at: then it is to be
    /// set before the tunnel is used. A peer whose timers run is looked at more often than that.
    pub(crate) fn is_stale(&self, now: Now) -> bool {
        self.tunn
            .as_ref()
            .is_some_and(|live| now.instant.saturating_duration_since(live.last_tick) > 2 * TICK)
    }

    /// Sets boringtun's clock; false if it gave up on a handshake.
    pub(crate) fn refresh(&mut self, now: Now, out: &mut DatagramsOut) -> bool {
        !self.is_stale(now) || self.is_answer_awaited(now) || self.update_timers(now, out)
    }

    /// When the peer's timers are to be looked at again, if ever.
    ///
    /// Twice a second while something is awaited; else when a session reaches an age at which
    /// something is due, and now and then, for older sessions to be forgotten.
    pub(crate) fn next_look(&self, now: Now) -> Option<Instant> {
        let live = self.tunn.as_ref()?;
        let soon = now.instant + TICK;
        let silence = self.silence();
        let within = |then: Option<Instant>, limit| {
            then.is_some_and(|then| now.instant.saturating_duration_since(then) < limit)
        };
        if within(self.last_traversal, RECENT)
            || within(live.first_unanswered, SILENCE + GRACE)
            || within(live.first_unacknowledged, KEEPALIVE_TIMEOUT + GRACE)
            || within(live.initiated, REKEY_TIMEOUT + GRACE)
            || !self.staged.is_empty()
        {
            return Some(silence.map_or(soon, |silence| soon.min(silence)));
        }
        let keepalive = (self.persistent_keepalive > 0).then(|| {
            let interval = Duration::from_secs(self.persistent_keepalive.into());
            self.last_traversal
                .map_or(soon, |last| soon.max(last + interval))
        });
        let end = live.end_of_former();
        if live.given_up {
            return [keepalive, silence, end].into_iter().flatten().min();
        }
        let age = live.sender().tunn.time_since_last_handshake();
        let birthday = age.and_then(|age| {
            let next = SESSION_AGES.into_iter().find(|next| *next > age)?;
            Some(now.instant + (next - age))
        });
        // On the same moments for all peers, so that a sleeping machine is woken seldom.
        let past = (now.unix + IDLE_LOOK).as_nanos() % GRAIN.as_nanos();
        let idle = now.instant + IDLE_LOOK + GRAIN - Duration::from_nanos(past as u64);
        [keepalive, silence, end, birthday, Some(idle)]
            .into_iter()
            .flatten()
            .min()
    }
}
