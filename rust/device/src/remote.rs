//! A way to talk to the workers: commands, and why they ended.

use std::iter;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use wgbind_tunnel::{PeerStatus, PublicKey, TunnelChange};

use crate::device::{DeviceChange, Ended, lock};
use crate::error::Error;
use crate::events::{Delivery, EventQueue};
use crate::foreign::{DeviceNote, ForeignChanges};
use crate::sys::EventFd;
use crate::udp::UdpSockets;
use crate::worker::{Command, Reply, Summary, Way};

/// Peers that are read between two batches.
pub(crate) const PEERS_PAGE: usize = 256;

/// What the device, the control socket and its clients hold.
#[derive(Clone)]
pub(crate) struct Remote {
    /// Those of the workers, and behind them the porter's.
    workers: Arc<[Line]>,
    state: Arc<State>,
}

/// The way to one worker.
pub(crate) struct Line {
    pub(crate) commands: SyncSender<Command>,
    pub(crate) wake: Arc<EventFd>,
}

struct State {
    /// Held while a change is applied: all workers apply all changes in the same order.
    setting: Mutex<()>,
    /// How many changes were applied.
    changes: AtomicU64,
    ended: Mutex<Option<Ended>>,
    changed: Condvar,
    /// Raised, and never lowered, when the device has ended.
    closing: EventFd,
    events: Arc<EventQueue>,
}

impl Line {
    /// Fails when the worker has ended.
    fn send(&self, command: Command) -> Result<(), Hangup> {
        self.commands.send(command).map_err(|_| Hangup)?;
        self.wake.raise();
        Ok(())
    }
}

struct Hangup;

impl Remote {
    /// The way to workers, of which there is one at least, and to the porter.
    pub(crate) fn new(workers: Vec<Line>, events: Arc<EventQueue>) -> Result<Self, Error> {
        Ok(Self {
            workers: workers.into(),
            state: Arc::new(State {
                setting: Mutex::default(),
                changes: AtomicU64::default(),
                ended: Mutex::default(),
                changed: Condvar::new(),
                closing: EventFd::new().map_err(Error::io("making an eventfd"))?,
                events,
            }),
        })
    }

    /// Applies a change at all workers, or at none: what can fail comes first.
    pub(crate) fn set(&self, change: DeviceChange) -> Result<(), Error> {
        let _setting = lock(&self.state.setting);
        let note = DeviceNote::of(&change);
        let DeviceChange {
            listen_port,
            fwmark,
            tunnel,
        } = change;
        let sockets = match listen_port {
            Some(port) => self.request(&self.workers[0], |reply| Command::Bind {
                port,
                fwmark,
                reply,
            })?,
            None => Vec::new(),
        };
        let old_mark = match fwmark {
            Some(fwmark) if sockets.is_empty() => self.mark(fwmark)?,
            _ => None,
        };
        let applied = self.apply(tunnel, sockets);
        if applied.is_err()
            && let Some(old_mark) = old_mark
        {
            let _ = self.mark(old_mark);
        }
        if applied.is_ok() {
            self.state.changes.fetch_add(1, Ordering::Release);
            if let Some(note) = note {
                self.state.events.note_device(note);
            }
        }
        applied
    }

    /// How many changes were applied, by whomever.
    pub(crate) fn changes(&self) -> u64 {
        self.state.changes.load(Ordering::Acquire)
    }

    /// Sets the fwmark at all workers or at none; returns the one before.
    fn mark(&self, fwmark: u32) -> Result<Option<u32>, Error> {
        let mut old_mark = None;
        for (marked, worker) in self.workers.iter().enumerate() {
            match self.request(worker, |reply| Command::Mark(fwmark, reply)) {
                Ok(old) => old_mark = Some(old),
                Err(error) => {
                    // What could be set can be set back.
                    if let Some(old) = old_mark {
                        for worker in &self.workers[..marked] {
                            let _ = self.request(worker, |reply| Command::Mark(old, reply));
                        }
                    }
                    return Err(error);
                }
            }
        }
        Ok(old_mark)
    }

    fn apply(&self, change: TunnelChange, sockets: Vec<UdpSockets>) -> Result<(), Error> {
        let changes = iter::repeat_n(change, self.workers.len());
        let mut sockets = sockets.into_iter();
        for (worker, change) in self.workers.iter().zip(changes) {
            let sockets = sockets.next();
            // All of them know the same peers, so what the first one takes the others take, too.
            self.request(worker, |reply| {
                Command::Apply(Box::new(change), sockets, reply)
            })?;
        }
        Ok(())
    }

    /// What the first worker says of the device, with what all of them use and have dropped.
    pub(crate) fn summary(&self) -> Result<Summary, Error> {
        let mut whole = self.ask(&self.workers[0], Command::Summary)?;
        for worker in &self.workers[1..] {
            let part = self.ask(worker, Command::Summary)?;
            whole.features = whole.features & part.features;
            whole.drops += part.drops;
            whole.io_drops += part.io_drops;
            whole.handshakes += part.handshakes;
            whole.cpu += part.cpu;
        }
        Ok(whole)
    }

    /// The device and all its peers between two changes: of a change, all is seen or nothing. Packets
    /// move meanwhile, so counters are not of one moment.
    pub(crate) fn settled(&self) -> Result<(Summary, Vec<Vec<PeerStatus>>), Error> {
        let _setting = lock(&self.state.setting);
        let pages = self.pages().collect::<Result<_, _>>()?;
        Ok((self.summary()?, pages))
    }

    /// All peers, a page at a time: a worker moves packets between two pages.
    pub(crate) fn pages(&self) -> impl Iterator<Item = Result<Vec<PeerStatus>, Error>> {
        self.paged(|from, reply| Command::Peers {
            from,
            limit: PEERS_PAGE,
            reply,
        })
    }

    /// The ways to all peers that have shown which of our addresses they know.
    pub(crate) fn ways(&self) -> impl Iterator<Item = Result<Vec<Way>, Error>> {
        self.paged(|from, reply| Command::Ways {
            from,
            limit: PEERS_PAGE,
            reply,
        })
    }

    /// The peers with these keys, a page at a time.
    pub(crate) fn named(&self, keys: &[PublicKey]) -> Result<Vec<PeerStatus>, Error> {
        let mut found = Vec::new();
        for page in keys.chunks(PEERS_PAGE) {
            for worker in self.workers.iter() {
                found.append(&mut self.ask(worker, |reply| Command::Named(page.to_vec(), reply))?);
            }
        }
        Ok(found)
    }

    fn paged<T>(
        &self,
        command: impl Fn(usize, SyncSender<(Vec<T>, Option<usize>)>) -> Command + Copy,
    ) -> impl Iterator<Item = Result<Vec<T>, Error>> {
        self.workers.iter().flat_map(move |worker| {
            let mut next = Some(0);
            iter::from_fn(move || {
                let from = next.take()?;
                let page = self.ask(worker, |reply| command(from, reply));
                Some(page.map(|(items, more)| {
                    next = more;
                    items
                }))
            })
        })
    }

    /// Has the peers leave these ways.
    pub(crate) fn forget(&self, ways: &[Way]) -> Result<(), Error> {
        for worker in self.workers.iter() {
            self.ask(worker, |reply| Command::Forget(ways.to_vec(), reply))?;
        }
        Ok(())
    }

    /// Tells the device to end, if it has not.
    pub(crate) fn end(&self, reason: Ended) {
        // This one tells the others.
        let _ = self.workers[0].send(Command::End(reason));
    }

    #[cfg(test)]
    pub(crate) fn fail(&self) {
        let _ = self.workers[0].send(Command::Panic);
    }

    /// Notes that a worker has ended, and ends the others: the device is whole or not at all.
    pub(crate) fn note_end(&self, reason: Ended) {
        self.state.note_end(&reason);
        for worker in self.workers.iter() {
            let _ = worker.send(Command::End(reason.clone()));
        }
    }

    /// Waits until the device has ended, for at most `timeout`; returns why it ended.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> Option<Ended> {
        self.state.wait(timeout)
    }

    /// Takes the events that wait, or waits for one, for at most `timeout`.
    pub(crate) fn events(&self, timeout: Option<Duration>) -> Result<Delivery, Error> {
        let delivery = self.state.events.take(timeout);
        delivery.ok_or_else(|| self.ended())
    }

    /// Takes what others changed by the control socket since the last call.
    pub(crate) fn take_foreign(&self) -> ForeignChanges {
        self.state.events.take_foreign()
    }

    /// Raised when the device has ended.
    pub(crate) fn closing(&self) -> &EventFd {
        &self.state.closing
    }

    fn request<T>(
        &self,
        worker: &Line,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, Error> {
        self.ask(worker, command)?
    }

    fn ask<T>(
        &self,
        worker: &Line,
        command: impl FnOnce(SyncSender<T>) -> Command,
    ) -> Result<T, Error> {
        let (reply, answer) = sync_channel(1);
        worker.send(command(reply)).map_err(|Hangup| self.ended())?;
        answer.recv().map_err(|_| self.ended())
    }

    fn ended(&self) -> Error {
        // The worker hangs up just before it says why.
        let ended = self.wait(None).map(|ended| ended.to_string());
        Error::Ended(ended.unwrap_or_default())
    }
}

impl State {
    fn wait(&self, timeout: Option<Duration>) -> Option<Ended> {
        let ended = lock(&self.ended);
        let running = |ended: &mut Option<Ended>| ended.is_none();
        let ended = match timeout {
            None => self.changed.wait_while(ended, running),
            Some(timeout) => self
                .changed
                .wait_timeout_while(ended, timeout, running)
                .map(|(ended, _)| ended)
                .map_err(|error| PoisonError::new(error.into_inner().0)),
        };
        ended.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first reason is the one; the other workers end because of it.
    fn note_end(&self, reason: &Ended) {
        let mut ended = lock(&self.ended);
        if ended.is_some() {
            return;
        }
        match reason {
            Ended::Closed => {}
            Ended::Failed(message) => tracing::error!("{message}"),
            Ended::InterfaceRemoved | Ended::SocketRemoved => {
                tracing::warn!("the device has ended: {reason}");
            }
        }
        *ended = Some(reason.clone());
        drop(ended);
        self.changed.notify_all();
        self.closing.raise();
        self.events.end();
    }
}
