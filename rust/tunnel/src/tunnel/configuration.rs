//! Changes of a live tunnel: who is not named notices nothing.

use std::sync::Arc;

use ipnet::IpNet;
use rustc_hash::FxHashSet;

use super::Tunnel;
use crate::batch::{Now, Outbox};
use crate::change::{PeerChange, TunnelChange};
use crate::constants::{MAX_PEERS, TICK};
use crate::error::Error;
use crate::identity::Identity;
use crate::key::{PresharedKey, PrivateKey, PublicKey};
use crate::peer::Peer;

impl Tunnel {
    /// Applies a change, all of it or nothing.
    ///
    /// A peer keeps its session through every change but another private key of ours; another
    /// preshared key is for its next handshake. With `replace_peers` a peer that is named again
    /// starts from the defaults, but keeps session and endpoint.
    ///
    /// # Errors
    /// [`Error::TooManyPeers`].
    pub fn apply(&mut self, change: TunnelChange, now: Now, out: &mut Outbox) -> Result<(), Error> {
        let TunnelChange {
            private_key,
            hub,
            replace_peers,
            peers,
            cause,
        } = change;
        let told = out.events.len();
        let kept = if replace_peers { 0 } else { self.by_key.len() };
        if kept + peers.iter().filter(|peer| !peer.remove).count() > MAX_PEERS {
            return Err(Error::TooManyPeers(MAX_PEERS));
        }
        if let Some(private_key) = private_key {
            self.set_private_key(private_key, now, out);
        }
        if let Some(hub) = hub {
            self.hub = hub;
        }
        if replace_peers {
            self.keep_only(&peers, now, out);
        }
        for change in peers {
            self.apply_to_peer(change, now, out);
        }
        self.tell_configured(now, &mut out.events);
        for event in &mut out.events[told..] {
            event.cause = cause;
        }
        self.count(out);
        Ok(())
    }

    fn set_private_key(&mut self, private_key: Option<PrivateKey>, now: Now, out: &mut Outbox) {
        if private_key.as_ref() == self.private_key() {
            return;
        }
        self.identity = private_key.map(|key| Arc::new(Identity::new(key)));
        let public_key = self.identity.as_deref().map(Identity::public_key);
        self.handshakes.set_key(public_key);
        for slot in 0..self.peers.len() {
            let Some(peer) = &mut self.peers[slot] else {
                continue;
            };
            peer.forget(&mut self.indices, now, &mut out.events);
            if peer.persistent_keepalive() > 0 {
                self.look(slot, now.instant + TICK);
            }
        }
        if let Some(identity) = &self.identity {
            let own = *identity.public_key();
            self.remove(&own, now, out);
        }
    }

    fn keep_only(&mut self, peers: &[PeerChange], now: Now, out: &mut Outbox) {
        let named: FxHashSet<PublicKey> = peers.iter().map(|change| change.public_key).collect();
        let others: Vec<PublicKey> = self
            .by_key
            .keys()
            .filter(|key| !named.contains(key))
            .copied()
            .collect();
        for key in others {
            self.remove(&key, now, out);
        }
        for peer in peers {
            self.touch(&peer.public_key);
        }
        // Who is given a preshared key is not to lose the same one, and its session with it.
        let given: FxHashSet<PublicKey> = peers
            .iter()
            .filter(|change| change.preshared_key.is_some())
            .map(|change| change.public_key)
            .collect();
        for slot in 0..self.peers.len() {
            self.clear_allowed_ips(slot);
            let Some(peer) = &mut self.peers[slot] else {
                continue;
            };
            peer.set_persistent_keepalive(0);
            if !given.contains(&peer.public_key) {
                self.set_preshared_key(slot, None);
            }
        }
    }

    fn apply_to_peer(&mut self, change: PeerChange, now: Now, out: &mut Outbox) {
        let key = change.public_key;
        if change.remove {
            self.remove(&key, now, out);
            return;
        }
        let is_own = self
            .identity
            .as_ref()
            .is_some_and(|identity| *identity.public_key() == key);
        self.touch(&key);
        let slot = match self.by_key.get(&key) {
            Some(slot) => *slot,
            // Our own key is no peer: `wg` and the kernel ignore it without a word.
            None if is_own || change.update_only => return,
            None => self.insert(key, self.share.owner_of_peer(&change)),
        };
        if let Some(preshared_key) = change.preshared_key {
            self.set_preshared_key(slot, preshared_key);
        }
        if change.replace_allowed_ips {
            self.clear_allowed_ips(slot);
        }
        for allowed_ip in change.allowed_ips {
            if allowed_ip.remove {
                self.remove_allowed_ip(slot, allowed_ip.prefix.trunc());
            } else {
                self.insert_allowed_ip(slot, allowed_ip.prefix.trunc());
            }
        }
        let Some(peer) = &mut self.peers[slot] else {
            return;
        };
        if let Some(address) = change.endpoint {
            peer.set_endpoint(address);
        }
        if let Some(seconds) = change.persistent_keepalive {
            peer.set_persistent_keepalive(seconds);
        }
        if peer.persistent_keepalive() > 0 && peer.worker == self.share.worker() {
            self.look(slot, now.instant + TICK);
            self.wake_for_keepalive(slot, now);
            if let Some(peer) = &mut self.peers[slot] {
                peer.keep_alive(now, &mut out.datagrams);
            }
        }
    }

    fn insert(&mut self, public_key: PublicKey, worker: usize) -> usize {
        let peer = Some(Peer::new(public_key, worker));
        let slot = match self.free.pop() {
            Some(slot) => {
                self.peers[slot] = peer;
                slot
            }
            None => {
                self.peers.push(peer);
                self.peers.len() - 1
            }
        };
        self.by_key.insert(public_key, slot);
        slot
    }

    fn remove(&mut self, public_key: &PublicKey, now: Now, out: &mut Outbox) {
        self.touch(public_key);
        let Some(slot) = self.by_key.remove(public_key) else {
            return;
        };
        self.clear_allowed_ips(slot);
        if let Some(mut peer) = self.peers[slot].take() {
            peer.forget(&mut self.indices, now, &mut out.events);
            peer.drop_staged(&mut self.staged_bytes, &mut self.drops);
        }
        self.free.push(slot);
    }

    fn set_preshared_key(&mut self, slot: usize, preshared_key: Option<PresharedKey>) {
        if let Some(peer) = &mut self.peers[slot]
            && peer.preshared_key != preshared_key
        {
            peer.preshared_key = preshared_key;
            peer.outdate(&mut self.indices);
        }
    }

    fn insert_allowed_ip(&mut self, slot: usize, prefix: IpNet) {
        if let Some(before) = self.allowed_ips.insert(prefix, slot)
            && before != slot
            && let Some(loser) = self.peers[before].as_ref().map(|peer| peer.public_key)
        {
            self.touch(&loser);
            if let Some(peer) = &mut self.peers[before] {
                peer.allowed_ips.remove(&prefix);
            }
        }
        if let Some(peer) = &mut self.peers[slot] {
            peer.allowed_ips.insert(prefix);
        }
    }

    fn remove_allowed_ip(&mut self, slot: usize, prefix: IpNet) {
        if let Some(peer) = &mut self.peers[slot]
            && peer.allowed_ips.remove(&prefix)
        {
            self.allowed_ips.remove(prefix);
        }
    }

    fn clear_allowed_ips(&mut self, slot: usize) {
        if let Some(peer) = &mut self.peers[slot] {
            for prefix in std::mem::take(&mut peer.allowed_ips) {
                self.allowed_ips.remove(prefix);
            }
        }
    }
}
