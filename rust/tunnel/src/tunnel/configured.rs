//! What a change has made of the peers: told when all of it is applied, so that a peer that is given
//! what it had is not told of.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use ipnet::IpNet;
use rustc_hash::FxHashMap;

use super::Tunnel;
use crate::batch::Now;
use crate::event::{Cause, Event, EventKind};
use crate::key::{PresharedKey, PublicKey};
use crate::peer::Peer;

/// Peers as they were before the change that is being applied, those that it has touched.
#[derive(Default)]
pub(super) struct Before(FxHashMap<PublicKey, (usize, Option<Configured>)>);

/// What is configured of a peer.
#[derive(PartialEq, Eq)]
struct Configured {
    preshared_key: Option<PresharedKey>,
    endpoint: Option<SocketAddr>,
    allowed_ips: BTreeSet<IpNet>,
    persistent_keepalive: u16,
}

impl Configured {
    fn of(peer: &Peer) -> Self {
        Self {
            preshared_key: peer.preshared_key.clone(),
            endpoint: peer.endpoint.map(|endpoint| endpoint.address),
            allowed_ips: peer.allowed_ips.clone(),
            persistent_keepalive: peer.persistent_keepalive(),
        }
    }
}

impl Tunnel {
    /// Keeps how a peer is, before it is added, changed or removed.
    pub(super) fn touch(&mut self, public_key: &PublicKey) {
        if self.before.0.contains_key(public_key) {
            return;
        }
        let was = self.own_peer(public_key).map(Configured::of);
        self.before
            .0
            .insert(*public_key, (self.before.0.len(), was));
    }

    /// Tells what has become of the peers that were touched, in the order in which they were.
    pub(super) fn tell_configured(&mut self, now: Now, events: &mut Vec<Event>) {
        let mut touched: Vec<_> = std::mem::take(&mut self.before.0).into_iter().collect();
        touched.sort_unstable_by_key(|(_, (order, _))| *order);
        for (public_key, (_, before)) in touched {
            let peer = self.own_peer(&public_key);
            let kind = match (&before, peer.map(Configured::of)) {
                (None, Some(_)) => EventKind::Added,
                (Some(_), None) => EventKind::Removed,
                (Some(before), Some(after)) if *before != after => EventKind::Changed {
                    endpoint: before.endpoint != after.endpoint,
                },
                _ => continue,
            };
            events.push(Event {
                at: now.unix,
                public_key,
                kind,
                cause: Cause::Configuration,
                endpoint: match peer {
                    Some(peer) => peer.endpoint.map(|endpoint| endpoint.address),
                    None => before.and_then(|before| before.endpoint),
                },
            });
        }
    }

    /// A peer that is this worker's to tell of.
    fn own_peer(&self, public_key: &PublicKey) -> Option<&Peer> {
        let peer = self.peers[*self.by_key.get(public_key)?].as_ref()?;
        (peer.worker == self.share.worker()).then_some(peer)
    }
}
