//! One thread that does the arithmetic of handshakes for all workers.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use wgbind_tunnel::Errand;

use crate::sys::EventFd;

/// Errands that wait for the thread, and that wait for a worker: as many as a tunnel lends.
const WAITING: usize = 64;

/// A worker's end.
pub(crate) struct Errands {
    worker: usize,
    sender: SyncSender<(usize, Errand)>,
    returned: Receiver<Errand>,
}

/// The thread's end.
pub(crate) struct Runner {
    errands: Receiver<(usize, Errand)>,
    workers: Vec<(SyncSender<Errand>, Arc<EventFd>)>,
}

/// The ends of workers, each of which is woken by its flag, and of the thread.
pub(crate) fn between(wakes: &[Arc<EventFd>]) -> (Vec<Errands>, Runner) {
    let (sender, errands) = sync_channel(WAITING * wakes.len());
    let (ends, workers) = wakes
        .iter()
        .enumerate()
        .map(|(worker, wake)| {
            let (give_back, returned) = sync_channel(WAITING);
            let end = Errands {
                worker,
                sender: sender.clone(),
                returned,
            };
            (end, (give_back, wake.clone()))
        })
        .unzip();
    (ends, Runner { errands, workers })
}

impl Errands {
    /// Sends the errands away. There is room for all that a tunnel lends; it fails when the thread
    /// has ended, and then the device ends.
    pub(crate) fn send(&self, errands: &mut Vec<Errand>) {
        for errand in errands.drain(..) {
            let _ = self.sender.try_send((self.worker, errand));
        }
    }

    /// The next one that is done.
    pub(crate) fn receive(&self) -> Option<Errand> {
        self.returned.try_recv().ok()
    }
}

impl Runner {
    /// Runs errands until there are no workers any more.
    pub(crate) fn serve(self) {
        for (worker, mut errand) in self.errands {
            errand.run();
            let (give_back, wake) = &self.workers[worker];
            // As above.
            if give_back.try_send(errand).is_ok() {
                wake.raise();
            }
        }
    }
}
