//! The porter: a thread with sockets of its own, to which the kernel gives handshake messages.
//!
//! A flood of them fills its buffer, and takes a fifth of a core at most. It answers the commands that
//! the workers answer.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use wgbind_tunnel::{self as tunnel, DatagramIn, Outbox};

use crate::device::{Ended, IoDrops};
use crate::exchange::Exchange;
use crate::features::Features;
use crate::sys::{self, EventFd};
use crate::udp::{RECEIVE_BATCH, UdpSockets};
use crate::worker::{Command, HANDOVER_INTERVAL, Post, Summary, read_clocks};

/// How soon to look again whether fewer initiations wait at the workers: each of some tens takes a
/// worker a tenth of that.
const HOLD_INTERVAL: Duration = Duration::from_millis(1);

/// Batches that it reads of one socket before it rests.
const READS: usize = 8;

/// How long it rests at least after it has read: then there are several to read at once, which is
/// cheaper. A handshake takes longer than that.
const MIN_REST: Duration = Duration::from_micros(100);

/// ... and so many times as long as the work took.
const REST: u32 = 4;

pub(crate) struct Porter {
    porter: tunnel::Porter,
    sockets: UdpSockets,
    commands: Receiver<Command>,
    wake: Arc<EventFd>,
    /// The way to the workers.
    exchange: Exchange,
    /// Whether something waits for a worker that is behind.
    held_up: bool,
    /// How many initiations wait for their answers at each worker.
    waiting: Vec<Arc<AtomicUsize>>,
    /// What a device of this kind may use.
    wanted: Features,
    datagrams: Vec<DatagramIn>,
    out: Outbox,
    /// Datagrams that could not be sent.
    send_drops: u64,
}

impl Porter {
    pub(crate) fn new(post: Post, waiting: Vec<Arc<AtomicUsize>>, wanted: Features) -> Self {
        let Post {
            commands,
            wake,
            exchange,
            sockets,
        } = post;
        Self {
            porter: tunnel::Porter::new(exchange.workers()),
            sockets,
            commands,
            wake,
            held_up: false,
            waiting,
            wanted,
            datagrams: std::iter::repeat_with(DatagramIn::default)
                .take(RECEIVE_BATCH)
                .collect(),
            out: Outbox {
                handovers: exchange.batches(),
                ..Outbox::default()
            },
            exchange,
            send_drops: 0,
        }
    }

    /// Works until told to end.
    pub(crate) fn run(mut self) -> Ended {
        loop {
            if let Some(ended) = self.turn() {
                return ended;
            }
        }
    }

    fn turn(&mut self) -> Option<Ended> {
        let now = read_clocks();
        let started = sys::thread_cpu_time();
        let (mut idle, mut rests) = (true, false);
        if let Ok(command) = self.commands.try_recv() {
            idle = false;
            if let Some(ended) = self.obey(command) {
                return Some(ended);
            }
        }
        for _ in 0..self.exchange.capacity() {
            let Some((from, mut batch)) = self.exchange.receive() else {
                break;
            };
            idle = false;
            self.porter.handle_handover(&mut batch, now, &mut self.out);
            self.exchange.give_back(from, batch);
        }
        for socket in self.sockets.iter() {
            for _ in 0..READS {
                let received = socket.receive(&mut self.datagrams);
                if received == 0 {
                    break;
                }
                rests = true;
                let batch = &self.datagrams[..received];
                self.porter.handle_datagrams(batch, now, &mut self.out);
            }
        }
        let waiting = self.waiting.iter();
        let waiting = waiting.map(|count| count.load(Ordering::Relaxed)).sum();
        self.porter.set_waiting(waiting);
        let deadline = self.porter.poll_timeout();
        if deadline.is_some_and(|deadline| deadline <= now.instant) {
            idle = false;
            self.porter.handle_timeout(now, &mut self.out);
        }
        self.flush();
        if idle {
            let worked = || sys::thread_cpu_time().saturating_sub(started);
            self.wait(deadline, rests.then(|| MIN_REST.max(worked() * REST)));
        }
        None
    }

    /// Sends and hands over what is to be sent and handed over.
    fn flush(&mut self) {
        self.held_up = !self.exchange.send(&mut self.out.handovers);
        if !self.out.is_empty() {
            self.send_drops += self.sockets.send(&self.out.datagrams);
            self.sockets.gone.clear();
            self.out.clear();
        }
    }

    /// Waits for datagrams, unless it is to rest, and for whoever else wants something.
    fn wait(&self, deadline: Option<Instant>, rest: Option<Duration>) {
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let held_up = self.held_up.then_some(HANDOVER_INTERVAL);
        let held = self.porter.is_held().then_some(HOLD_INTERVAL);
        let timeout = [timeout, held_up, held, rest].into_iter().flatten().min();
        let [v4, v6] = match rest {
            Some(_) => [None, None],
            None => self.sockets.descriptors(),
        };
        let wanted = [Some(self.wake.as_fd()), v4, v6].map(|fd| (fd, libc::POLLIN));
        // It fails only for want of memory: then the next turn tries again.
        if let Ok([woken, ..]) = sys::poll(wanted, timeout)
            && woken != 0
        {
            self.wake.lower();
        }
    }

    fn obey(&mut self, command: Command) -> Option<Ended> {
        // Who asked may have gone away; that changes nothing.
        match command {
            // Only the first worker is asked that.
            Command::Bind { reply, .. } => {
                let _ = reply.send(Ok(Vec::new()));
            }
            Command::Mark(fwmark, reply) => {
                let before = self.sockets.fwmark();
                let _ = reply.send(self.sockets.set_fwmark(fwmark).map(|()| before));
            }
            Command::Apply(change, sockets, reply) => {
                self.porter.apply(&change);
                if let Some(sockets) = sockets {
                    self.sockets = sockets;
                }
                let _ = reply.send(Ok(()));
            }
            Command::Summary(reply) => {
                let _ = reply.send(self.summary());
            }
            // They are the workers'.
            Command::Peers { reply, .. } => {
                let _ = reply.send((Vec::new(), None));
            }
            Command::Named(_, reply) => {
                let _ = reply.send(Vec::new());
            }
            Command::Ways { reply, .. } => {
                let _ = reply.send((Vec::new(), None));
            }
            Command::Forget(_, reply) => {
                let _ = reply.send(());
            }
            Command::End(ended) => return Some(ended),
            #[cfg(test)]
            Command::Panic => panic!("as a test wants it"),
        }
        None
    }

    fn summary(&self) -> Summary {
        Summary {
            name: None,
            private_key: None,
            listen_port: self.sockets.port(),
            fwmark: self.sockets.fwmark(),
            mtu: 0,
            // Its sockets are of the workers' kind: those tell what the kernel has refused.
            features: self.wanted,
            drops: self.porter.drops(),
            io_drops: IoDrops {
                tun: 0,
                udp_send: self.send_drops,
            },
            handshakes: self.porter.handshakes(),
            cpu: sys::thread_cpu_time(),
        }
    }
}
