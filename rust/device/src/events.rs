//! Where events wait for who reads them.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use wgbind_tunnel::Event;

use crate::device::lock;
use crate::foreign::{DeviceNote, ForeignChanges};

/// Events that wait. When more come the oldest go: the state that they tell of is the most outdated.
pub(crate) const MAX_EVENTS: usize = 1 << 14;

/// Events since the last delivery, oldest first.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// How many before these were lost, because nobody took them in time.
    pub lost: u64,
    /// The others.
    pub events: Vec<Event>,
}

/// One queue for the events of all workers. They never wait for its readers.
#[derive(Default)]
pub(crate) struct EventQueue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Whether anybody has ever asked: until then nothing is kept.
    wanted: bool,
    ended: bool,
    lost: u64,
    events: VecDeque<Event>,
    /// None until somebody asks for it.
    foreign: Option<ForeignChanges>,
}

impl EventQueue {
    pub(crate) fn push(&self, events: &[Event]) {
        let mut state = lock(&self.state);
        if let Some(foreign) = &mut state.foreign {
            events.iter().for_each(|event| foreign.note(event));
        }
        if !state.wanted {
            return;
        }
        state.events.extend(events);
        let surplus = state.events.len().saturating_sub(MAX_EVENTS);
        state.events.drain(..surplus);
        state.lost += surplus as u64;
        drop(state);
        self.changed.notify_all();
    }

    /// Takes what waits; waits for at most `timeout` if there is nothing. None: there is nothing
    /// and will be nothing, the device has ended.
    pub(crate) fn take(&self, timeout: Option<Duration>) -> Option<Delivery> {
        let mut state = lock(&self.state);
        state.wanted = true;
        let nothing = |state: &mut State| state.events.is_empty() && !state.ended;
        let mut state = match timeout {
            None => self.changed.wait_while(state, nothing),
            Some(timeout) => self
                .changed
                .wait_timeout_while(state, timeout, nothing)
                .map(|(state, _)| state)
                .map_err(|error| PoisonError::new(error.into_inner().0)),
        }
        .unwrap_or_else(PoisonError::into_inner);
        if state.events.is_empty() && state.ended {
            return None;
        }
        Some(Delivery {
            lost: std::mem::take(&mut state.lost),
            // With their memory: a crowd of events is no state to stay in.
            events: std::mem::take(&mut state.events).into(),
        })
    }

    /// Notes what a change by the control socket has made of the device itself.
    pub(crate) fn note_device(&self, note: DeviceNote) {
        if let Some(foreign) = &mut lock(&self.state).foreign {
            note.note_in(foreign);
        }
    }

    /// Takes what others changed since the last call.
    pub(crate) fn take_foreign(&self) -> ForeignChanges {
        lock(&self.state)
            .foreign
            .replace(ForeignChanges::default())
            .unwrap_or_default()
    }

    /// Lets nobody wait any more.
    pub(crate) fn end(&self) {
        lock(&self.state).ended = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use wgbind_tunnel::{Cause, EventKind, PublicKey};

    use super::*;

    fn event(number: u32) -> Event {
        Event {
            at: Duration::from_secs(number.into()),
            public_key: PublicKey::from_bytes([7; 32]),
            kind: EventKind::Roamed {
                from: SocketAddr::from(([192, 0, 2, 1], 1)),
            },
            cause: Cause::Message,
            endpoint: None,
        }
    }

    #[test]
    fn a_full_queue_loses_the_oldest_and_says_how_many() {
        let queue = EventQueue::default();
        queue.push(&[event(0)]);
        let nothing = queue.take(Some(Duration::ZERO));
        assert_eq!(nothing, Some(Delivery::default()), "nobody had asked");
        let many: Vec<_> = (0..MAX_EVENTS as u32 + 5).map(event).collect();
        queue.push(&many[..3]);
        queue.push(&many[3..]);
        let delivery = queue.take(None).expect("not ended");
        assert_eq!(delivery.lost, 5);
        assert_eq!(delivery.events, many[5..]);
        queue.push(&many[..1]);
        let delivery = queue.take(None).expect("not ended");
        assert_eq!((delivery.lost, delivery.events.len()), (0, 1));
    }

    #[test]
    fn what_waits_is_taken_before_the_end() {
        let queue = EventQueue::default();
        let _ = queue.take(Some(Duration::ZERO));
        queue.push(&[event(1)]);
        queue.end();
        let last = queue.take(None).map(|delivery| delivery.events);
        assert_eq!(last, Some(vec![event(1)]));
        assert_eq!(queue.take(None), None);
    }
}
