//! The worker: one thread that owns the TUN queue, the UDP sockets and the tunnel.
//!
//! Nothing on the packet path is shared, so nothing is locked; batches live in memory that is
//! used again and again, so nothing is allocated. Whatever others want of the tunnel comes as a
//! [`Command`] between two batches.
//!
//! More cores: N such workers, each with its own queue of the TUN interface, its own sockets in one
//! `SO_REUSEPORT` group and its own tunnel. A peer belongs to one worker, which alone talks to it.
//! The kernel gives most packets and datagrams to the right one, and handshake messages to the porter
//! (see [`crate::steering`]); what comes to another crosses over in batches (see [`crate::exchange`]).

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant, SystemTime};

use wgbind_tunnel::{
    DatagramIn, Drops, HandshakeStats, LocalAddress, Now, Outbox, PacketIn, PeerStatus, PrivateKey,
    PublicKey, Tunnel, TunnelChange,
};

use crate::device::{Ended, IoDrops};
use crate::errands::Errands;
use crate::error::Error;
use crate::events::EventQueue;
use crate::exchange::Exchange;
use crate::features::Features;
use crate::sys::{self, EventFd};
use crate::tun::{Removed, Tun};
use crate::udp::{RECEIVE_BATCH, UdpSockets};

/// Reads from the TUN device before what came of them is sent, so that single packets of many flows
/// become full batches.
const TUN_BATCH: usize = 32;

/// How often a worker with something to do looks whether the interface's MTU was changed. Nobody
/// tells it: a netlink socket would not hear of it in another namespace either.
const MTU_INTERVAL: Duration = Duration::from_secs(1);

/// Who cannot be reached from the address of ours that it knows is looked for in all peers, no more
/// often than this.
const FORGET_INTERVAL: Duration = Duration::from_millis(100);

/// How soon to try again to hand over what another worker was too busy for. It is at work, so this
/// is not how long packets wait, but how long at most they wait longer than they have to.
pub(crate) const HANDOVER_INTERVAL: Duration = Duration::from_micros(200);

/// Where an answer goes that may be an error.
pub(crate) type Reply<T> = SyncSender<Result<T, Error>>;

/// What others ask of a worker. Each is answered once; a worker that ends first hangs up.
pub(crate) enum Command {
    /// To open sockets on a port for all workers and the porter: here, since a worker never leaves the network
    /// namespace in which the device was made. None are needed for the port that it has.
    Bind {
        port: u16,
        fwmark: Option<u32>,
        reply: Reply<Vec<UdpSockets>>,
    },
    /// To set the fwmark; the answer is the one before.
    Mark(u32, Reply<u32>),
    /// To work by a change, all of it or nothing, and with these sockets from now on.
    Apply(Box<TunnelChange>, Option<UdpSockets>, Reply<()>),
    Summary(SyncSender<Summary>),
    /// Up to so many peers from a position on, and the next position, if there are more.
    Peers {
        from: usize,
        limit: usize,
        reply: SyncSender<(Vec<PeerStatus>, Option<usize>)>,
    },
    /// The peers with these keys.
    Named(Vec<PublicKey>, SyncSender<Vec<PeerStatus>>),
    /// The ways to so many peers from a position on, as [`Command::Peers`].
    Ways {
        from: usize,
        limit: usize,
        reply: SyncSender<(Vec<Way>, Option<usize>)>,
    },
    /// To leave these ways.
    Forget(Vec<Way>, SyncSender<()>),
    End(Ended),
    #[cfg(test)]
    Panic,
}

/// Where a peer is, and which of our addresses it knows.
pub(crate) type Way = (SocketAddr, LocalAddress);

/// What is known of the device as a whole.
pub(crate) struct Summary {
    pub(crate) name: Option<String>,
    pub(crate) private_key: Option<PrivateKey>,
    pub(crate) listen_port: u16,
    pub(crate) fwmark: u32,
    pub(crate) mtu: u16,
    pub(crate) features: Features,
    pub(crate) drops: Drops,
    pub(crate) io_drops: IoDrops,
    pub(crate) handshakes: HandshakeStats,
    /// CPU time of the worker's thread.
    pub(crate) cpu: Duration,
}

/// What a worker has, and the porter too.
pub(crate) struct Post {
    pub(crate) commands: Receiver<Command>,
    pub(crate) wake: Arc<EventFd>,
    pub(crate) exchange: Exchange,
    pub(crate) sockets: UdpSockets,
}

/// A worker's ways to everybody else.
pub(crate) struct Links {
    pub(crate) events: Arc<EventQueue>,
    /// Who does the arithmetic of handshakes, if that is not this worker.
    pub(crate) errands: Option<Errands>,
    /// Where the porter looks how many initiations wait for their answers here.
    pub(crate) waiting: Arc<AtomicUsize>,
}

pub(crate) struct Worker {
    tunnel: Tunnel,
    tun: Tun,
    sockets: UdpSockets,
    commands: Receiver<Command>,
    wake: Arc<EventFd>,
    events: Arc<EventQueue>,
    /// The way to the other workers, if there are any, and to the porter.
    exchange: Exchange,
    /// The way to who does the arithmetic of handshakes, if that is not this worker.
    errands: Option<Errands>,
    /// Where the porter looks how many initiations wait for their answers here.
    waiting: Arc<AtomicUsize>,
    /// Whether something waits for another worker that is behind.
    held_up: bool,
    datagrams: Vec<DatagramIn>,
    packets: Vec<PacketIn>,
    out: Outbox,
    /// When to look at the interface's MTU again.
    mtu_due: Instant,
    /// When ways that are gone may be looked for again.
    forget_due: Instant,
    /// Datagrams that could not be sent.
    send_drops: u64,
}

impl Worker {
    pub(crate) fn new(tun: Tun, mut tunnel: Tunnel, post: Post, links: Links) -> Self {
        let Post {
            commands,
            wake,
            exchange,
            sockets,
        } = post;
        let Links {
            events,
            errands,
            waiting,
        } = links;
        tunnel.set_listen_port(sockets.port());
        tunnel.set_porter(sockets.has_porter);
        if errands.is_some() {
            tunnel.lend_errands();
        }
        Self {
            tunnel,
            tun,
            sockets,
            commands,
            wake,
            events,
            errands,
            waiting,
            held_up: false,
            datagrams: std::iter::repeat_with(DatagramIn::default)
                .take(RECEIVE_BATCH)
                .collect(),
            packets: std::iter::repeat_with(PacketIn::default)
                .take(TUN_BATCH)
                .collect(),
            out: Outbox {
                handovers: exchange.batches(),
                ..Outbox::default()
            },
            exchange,
            mtu_due: Instant::now(),
            forget_due: Instant::now(),
            send_drops: 0,
        }
    }

    /// Works until told to end, or until the interface is gone.
    pub(crate) fn run(mut self) -> Ended {
        loop {
            match self.turn() {
                Ok(None) => {}
                Ok(Some(ended)) => return ended,
                Err(Removed) => return Ended::InterfaceRemoved,
            }
        }
    }

    /// One turn: what has come in, what is due and at most one command; only if there was
    /// nothing of it, wait.
    fn turn(&mut self) -> Result<Option<Ended>, Removed> {
        let now = read_clocks();
        if self.mtu_due <= now.instant {
            self.mtu_due = now.instant + MTU_INTERVAL;
            self.tunnel.set_mtu(self.tun.mtu());
        }
        if !self.sockets.gone.is_empty() && self.forget_due <= now.instant {
            self.forget_due = now.instant + FORGET_INTERVAL;
            self.tunnel.forget_local(&self.sockets.gone);
            self.sockets.gone.clear();
        }
        let mut idle = true;
        if let Ok(command) = self.commands.try_recv() {
            idle = false;
            if let Some(ended) = self.obey(command, now) {
                return Ok(Some(ended));
            }
            self.flush()?;
        }
        if self.take_over(now)? {
            idle = false;
        }
        if self.take_errands(now) {
            idle = false;
            self.flush()?;
        }
        for socket in self.sockets.iter() {
            let received = socket.receive(&mut self.datagrams);
            if received > 0 {
                idle = false;
                let batch = &mut self.datagrams[..received];
                self.tunnel.handle_datagrams(batch, now, &mut self.out);
            }
        }
        self.flush()?;
        let read = self.tun.read(&mut self.packets)?;
        if read > 0 {
            idle = false;
            self.tunnel
                .handle_packets(&mut self.packets[..read], now, &mut self.out);
            self.flush()?;
        }
        self.waiting.store(self.tunnel.waiting(), Ordering::Relaxed);
        let deadline = self.tunnel.poll_timeout().map(|(deadline, _)| deadline);
        if deadline.is_some_and(|deadline| deadline <= now.instant) {
            self.tunnel.handle_timeout(now, &mut self.out);
            self.flush()?;
        } else if idle {
            self.wait(deadline);
        }
        Ok(None)
    }

    /// Handles what others have handed over; false if there was nothing.
    fn take_over(&mut self, now: Now) -> Result<bool, Removed> {
        for taken in 0..self.exchange.capacity() {
            let Some((from, mut batch)) = self.exchange.receive() else {
                return Ok(taken > 0);
            };
            self.tunnel.handle_handover(&mut batch, now, &mut self.out);
            self.exchange.give_back(from, batch);
            self.flush()?;
        }
        Ok(true)
    }

    /// Takes back the errands that are done; false if there were none.
    fn take_errands(&mut self, now: Now) -> bool {
        let Some(errands) = &self.errands else {
            return false;
        };
        let mut any = false;
        while let Some(errand) = errands.receive() {
            any = true;
            self.tunnel.handle_errand(errand, now, &mut self.out);
        }
        any
    }

    /// Passes on what the tunnel told of its peers.
    fn tell(&mut self) {
        if !self.out.events.is_empty() {
            self.events.push(&std::mem::take(&mut self.out.events));
        }
    }

    /// Writes, sends, hands over and tells what the tunnel wants to have written, sent, handed over
    /// and told.
    fn flush(&mut self) -> Result<(), Removed> {
        self.tell();
        if let Some(errands) = &self.errands {
            errands.send(&mut self.out.errands);
        }
        self.held_up = !self.exchange.send(&mut self.out.handovers);
        if self.out.is_empty() {
            return Ok(());
        }
        self.send_drops += self.sockets.send(&self.out.datagrams);
        let written = self.tun.write(&mut self.out.packets);
        self.out.clear();
        written
    }

    fn wait(&self, deadline: Option<Instant>) {
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = if self.held_up {
            Some(timeout.map_or(HANDOVER_INTERVAL, |timeout| timeout.min(HANDOVER_INTERVAL)))
        } else {
            timeout
        };
        let [v4, v6] = self.sockets.descriptors();
        let wanted = [Some(self.wake.as_fd()), self.tun.descriptor(), v4, v6]
            .map(|descriptor| (descriptor, libc::POLLIN));
        // It fails only for want of memory: then the next turn tries again.
        if let Ok([woken, ..]) = sys::poll(wanted, timeout)
            && woken != 0
        {
            self.wake.lower();
        }
    }

    fn obey(&mut self, command: Command, now: Now) -> Option<Ended> {
        // Who asked may have gone away; that changes nothing.
        match command {
            Command::Bind {
                port,
                fwmark,
                reply,
            } => {
                let _ = reply.send(self.bind(port, fwmark));
            }
            Command::Mark(fwmark, reply) => {
                let before = self.sockets.fwmark();
                let _ = reply.send(self.sockets.set_fwmark(fwmark).map(|()| before));
            }
            Command::Apply(change, sockets, reply) => {
                let applied = self.tunnel.apply(*change, now, &mut self.out);
                if applied.is_ok()
                    && let Some(sockets) = sockets
                {
                    self.tunnel.set_listen_port(sockets.port());
                    self.tunnel.set_porter(sockets.has_porter);
                    self.sockets = sockets;
                }
                // What came of a change is told when it is done.
                self.tell();
                let _ = reply.send(applied.map_err(Error::from));
            }
            Command::Summary(reply) => {
                let _ = reply.send(self.summary());
            }
            Command::Peers { from, limit, reply } => {
                let _ = reply.send(self.tunnel.peers(from, limit));
            }
            Command::Named(keys, reply) => {
                let _ = reply.send(self.tunnel.peers_named(&keys));
            }
            Command::Ways { from, limit, reply } => {
                let _ = reply.send(self.tunnel.ways(from, limit));
            }
            Command::Forget(ways, reply) => {
                self.tunnel.forget_local(&ways);
                let _ = reply.send(());
            }
            Command::End(ended) => return Some(ended),
            #[cfg(test)]
            Command::Panic => panic!("as a test wants it"),
        }
        None
    }

    fn bind(&self, port: u16, fwmark: Option<u32>) -> Result<Vec<UdpSockets>, Error> {
        if port != 0 && port == self.sockets.port() {
            return Ok(Vec::new());
        }
        self.sockets.rebind(port, fwmark, self.exchange.workers())
    }

    fn summary(&mut self) -> Summary {
        Summary {
            name: self.tun.name().ok(),
            private_key: self.tunnel.private_key().cloned(),
            listen_port: self.sockets.port(),
            fwmark: self.sockets.fwmark(),
            mtu: self.tun.mtu(),
            features: self.tun.features() & self.sockets.features(),
            drops: self.tunnel.drops(),
            io_drops: IoDrops {
                tun: self.tun.drops,
                udp_send: self.send_drops,
            },
            handshakes: self.tunnel.handshakes(),
            cpu: sys::thread_cpu_time(),
        }
    }
}

pub(crate) fn read_clocks() -> Now {
    Now {
        instant: Instant::now(),
        // A clock before 1970 is as good as one at 1970.
        unix: SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO),
    }
}
