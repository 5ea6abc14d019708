//! What there is to tell of a peer's sessions.

use std::net::SocketAddr;
use std::time::Instant;

use super::Peer;
use crate::batch::Now;
use crate::constants::{REJECT_AFTER_TIME, ROAMING_INTERVAL};
use crate::event::{Cause, Event, EventKind};
use crate::index::IndexTable;

/// What was told of a peer that is connected.
pub(super) struct Told {
    endpoint: SocketAddr,
    /// When it last roamed.
    roamed: Option<Instant>,
}

impl Peer {
    /// Tells what has become of its sessions since the last call: to be called when a message brought
    /// news, and at each look at its timers.
    pub(crate) fn tell(&mut self, now: Now, events: &mut Vec<Event>) {
        self.has_news = false;
        let (Some(live), Some(endpoint)) = (&mut self.tunn, self.endpoint) else {
            return;
        };
        let endpoint = endpoint.address;
        let since = |then| now.instant.saturating_duration_since(then);
        let mut push = |kind, cause| {
            events.push(Event {
                at: now.unix,
                public_key: self.public_key,
                kind,
                cause,
                endpoint: Some(endpoint),
            });
        };
        if let Some(cause) = live.completed.take() {
            let kind = match live.told {
                None => EventKind::Connected,
                Some(_) => EventKind::Rekeyed,
            };
            push(kind, cause);
            live.told.get_or_insert(Told {
                endpoint,
                roamed: None,
            });
        }
        let Some(told) = &mut live.told else { return };
        // A peer on two ways at once goes to and fro with every message.
        if told.endpoint != endpoint && told.roamed.is_none_or(|at| since(at) >= ROAMING_INTERVAL) {
            let from = told.endpoint;
            push(EventKind::Roamed { from }, Cause::Message);
            *told = Told {
                endpoint,
                roamed: Some(now.instant),
            };
        }
        if since(live.last_received) >= REJECT_AFTER_TIME {
            push(EventKind::Silent, Cause::Timeout);
            live.told = None;
        }
    }

    /// When there will be a silence to tell of, unless the peer is heard before.
    pub(super) fn silence(&self) -> Option<Instant> {
        let live = self.tunn.as_ref()?;
        live.told.as_ref()?;
        Some(live.last_received + REJECT_AFTER_TIME)
    }

    /// Sets the endpoint, by configuration: that is no roaming.
    pub(crate) fn set_endpoint(&mut self, address: SocketAddr) {
        self.endpoint = Some(address.into());
        if let Some(told) = self.tunn.as_mut().and_then(|live| live.told.as_mut()) {
            told.endpoint = address;
        }
    }

    /// Forgets sessions and handshakes, by configuration; the next packet makes a new tunnel.
    pub(crate) fn forget(&mut self, indices: &mut IndexTable, now: Now, events: &mut Vec<Event>) {
        self.give_up_answer(indices);
        let Some(live) = self.tunn.take() else { return };
        live.release(indices);
        if live.told.is_some() {
            events.push(Event {
                at: now.unix,
                public_key: self.public_key,
                kind: EventKind::Silent,
                cause: Cause::Configuration,
                endpoint: self.endpoint.map(|endpoint| endpoint.address),
            });
        }
    }
}
