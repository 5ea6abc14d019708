//! Where the workers of one device, and the porter, hand batches to each other.
//!
//! From each worker to each other one a few batches go to and fro, so there is nothing to allocate
//! and nobody waits: a worker that is behind gets no more until it has given some back. The channels
//! of std that carry them are arrays with atomic counters; they take a lock only to wake who
//! sleeps on them, which nobody does.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use wgbind_tunnel::Handover;

use crate::sys::EventFd;

/// Batches that are under way from one worker to one other, while it fills the next.
const DEPTH: usize = 2;

/// One worker's end.
pub(crate) struct Exchange {
    worker: usize,
    inbox: Receiver<Parcel>,
    /// By their numbers, with itself among them; the last is the porter.
    others: Vec<Other>,
}

struct Other {
    inbox: SyncSender<Parcel>,
    wake: Arc<EventFd>,
    /// Empty batches for it.
    spare: Vec<Handover>,
}

enum Parcel {
    Handed { from: usize, batch: Handover },
    Returned { from: usize, batch: Handover },
}

impl Exchange {
    /// The ends of the workers and of the porter, each of which is woken by its flag.
    pub(crate) fn between(wakes: &[Arc<EventFd>]) -> Vec<Self> {
        // All batches that one worker can ever be handed and given back.
        let capacity = 2 * DEPTH * wakes.len();
        let (inboxes, receivers): (Vec<_>, Vec<_>) =
            wakes.iter().map(|_| sync_channel(capacity)).unzip();
        let others = || {
            inboxes.iter().zip(wakes).map(|(inbox, wake)| Other {
                inbox: inbox.clone(),
                wake: wake.clone(),
                spare: std::iter::repeat_with(Handover::default)
                    .take(DEPTH)
                    .collect(),
            })
        };
        receivers
            .into_iter()
            .enumerate()
            .map(|(worker, inbox)| Self {
                worker,
                inbox,
                others: others().collect(),
            })
            .collect()
    }

    pub(crate) fn workers(&self) -> usize {
        self.others.len() - 1
    }

    /// An empty batch for each.
    pub(crate) fn batches(&self) -> Vec<Handover> {
        self.others.iter().map(|_| Handover::default()).collect()
    }

    /// How many batches may come in before this worker has emptied one.
    pub(crate) fn capacity(&self) -> usize {
        DEPTH * self.others.len()
    }

    /// Sends every batch that has something in it and leaves an empty one in its place; false if
    /// one has to wait, because its worker is behind.
    pub(crate) fn send(&mut self, batches: &mut [Handover]) -> bool {
        let mut all = true;
        for (batch, other) in batches.iter_mut().zip(&mut self.others) {
            if batch.is_empty() {
                continue;
            }
            let Some(empty) = other.spare.pop() else {
                all = false;
                continue;
            };
            let batch = std::mem::replace(batch, empty);
            let from = self.worker;
            // There is room for all; it fails when the other has ended, and then the device ends.
            if other.inbox.try_send(Parcel::Handed { from, batch }).is_ok() {
                other.wake.raise();
            }
        }
        all
    }

    /// The next batch that another worker has sent, and who it is.
    pub(crate) fn receive(&mut self) -> Option<(usize, Handover)> {
        loop {
            match self.inbox.try_recv().ok()? {
                Parcel::Handed { from, batch } => return Some((from, batch)),
                Parcel::Returned { from, batch } => self.others[from].spare.push(batch),
            }
        }
    }

    /// Gives a batch back.
    pub(crate) fn give_back(&self, to: usize, mut batch: Handover) {
        batch.clear();
        let from = self.worker;
        // As above.
        let _ = self.others[to]
            .inbox
            .try_send(Parcel::Returned { from, batch });
    }
}
