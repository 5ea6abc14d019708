//! The worker: one thread that owns the TUN queue, the UDP sockets and the tunnel.
//!
//! Nothing on the packet path is shared, so nothing is locked; batches live in memory that is
//! used again and again, so nothing is allocated. Whatever others want of the tunnel comes as a
//! [`Command`] between two batches.
//!
//! More cores: N such workers, each with its own queue of the TUN interface
//! (`IFF_MULTI_QUEUE`), its own sockets in one `SO_REUSEPORT` group and its own tunnel. A peer
//! belongs to one worker, whose number is in the receiver indices that it hands out; a classic BPF
//! program on the group (`SO_ATTACH_REUSEPORT_CBPF`) reads the index of a response, a cookie or a
//! data message and picks that worker's socket. Handshake initiations carry no index: any worker
//! checks them and hands them to the peer's own. A packet that the kernel reads into another
//! worker's TUN queue crosses over in a batch, through a bounded ring. `Tunnel`, `Tun` and
//! `UdpSockets` stay as they are.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant, SystemTime};

use wgbind_tunnel::{
    DatagramIn, Drops, Error as TunnelError, Now, Outbox, PacketIn, PeerStatus, PrivateKey, Tunnel,
};

use crate::device::{DeviceChange, Ended, IoDrops};
use crate::error::Error;
use crate::sys::{self, EventFd};
use crate::tun::{Removed, Tun};
use crate::udp::{RECEIVE_BATCH, UdpSockets};

/// Reads from the TUN device before what came of them is sent: single packets of many flows become
/// full batches, and no reader waits for long.
const TUN_BATCH: usize = 16;

/// How often a worker with something to do looks whether the interface's MTU was changed. Nobody
/// tells it: a netlink socket would not hear of it in another namespace either.
const MTU_INTERVAL: Duration = Duration::from_secs(1);

/// What others ask of a worker. Each is answered once; a worker that ends first hangs up.
pub(crate) enum Command {
    Set(Box<DeviceChange>, SyncSender<Result<(), Error>>),
    Summary(SyncSender<Summary>),
    /// Up to so many peers from a position on, and the next position, if there are more.
    Peers {
        from: usize,
        limit: usize,
        reply: SyncSender<(Vec<PeerStatus>, Option<usize>)>,
    },
    End(Ended),
}

/// What is known of the device as a whole.
pub(crate) struct Summary {
    pub(crate) name: Option<String>,
    pub(crate) private_key: Option<PrivateKey>,
    pub(crate) listen_port: u16,
    pub(crate) fwmark: u32,
    pub(crate) mtu: u16,
    pub(crate) drops: Drops,
    pub(crate) io_drops: IoDrops,
}

pub(crate) struct Worker {
    tunnel: Tunnel,
    tun: Tun,
    sockets: UdpSockets,
    commands: Receiver<Command>,
    wake: Arc<EventFd>,
    datagrams: Vec<DatagramIn>,
    packets: Vec<PacketIn>,
    out: Outbox,
    /// When to look at the interface's MTU again.
    mtu_due: Instant,
    /// Datagrams that could not be sent.
    send_drops: u64,
}

impl Worker {
    pub(crate) fn new(
        tun: Tun,
        sockets: UdpSockets,
        tunnel: Tunnel,
        commands: Receiver<Command>,
        wake: Arc<EventFd>,
    ) -> Self {
        Self {
            tunnel,
            tun,
            sockets,
            commands,
            wake,
            datagrams: std::iter::repeat_with(DatagramIn::default)
                .take(RECEIVE_BATCH)
                .collect(),
            packets: std::iter::repeat_with(PacketIn::default)
                .take(TUN_BATCH)
                .collect(),
            out: Outbox::default(),
            mtu_due: Instant::now(),
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
        let mut idle = true;
        if let Ok(command) = self.commands.try_recv() {
            idle = false;
            if let Some(ended) = self.obey(command, now) {
                return Ok(Some(ended));
            }
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
        let deadline = self.tunnel.poll_timeout().map(|(deadline, _)| deadline);
        if deadline.is_some_and(|deadline| deadline <= now.instant) {
            self.tunnel.handle_timeout(now, &mut self.out);
            self.flush()?;
        } else if idle {
            self.wait(deadline);
        }
        Ok(None)
    }

    /// Writes and sends what the tunnel wants written and sent.
    fn flush(&mut self) -> Result<(), Removed> {
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
        let [v4, v6] = self.sockets.descriptors();
        let wanted = [Some(self.wake.as_fd()), Some(self.tun.as_fd()), v4, v6]
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
            Command::Set(change, reply) => {
                let _ = reply.send(self.set(*change, now));
            }
            Command::Summary(reply) => {
                let _ = reply.send(self.summary());
            }
            Command::Peers { from, limit, reply } => {
                let _ = reply.send(self.tunnel.peers(from, limit));
            }
            Command::End(ended) => return Some(ended),
        }
        None
    }

    /// Applies a change, all of it or nothing: what can fail comes first.
    fn set(&mut self, change: DeviceChange, now: Now) -> Result<(), Error> {
        let old_fwmark = self.sockets.fwmark();
        let fwmark = change.fwmark.unwrap_or(old_fwmark);
        let rebound = match change.listen_port {
            Some(port) if port == 0 || port != self.sockets.port() => {
                Some(UdpSockets::bind(port, fwmark)?)
            }
            _ => None,
        };
        if rebound.is_none() && fwmark != old_fwmark {
            self.sockets.set_fwmark(fwmark)?;
        }
        let applied: Result<(), TunnelError> = self.tunnel.apply(change.tunnel, now, &mut self.out);
        if let Err(error) = applied {
            if self.sockets.fwmark() != old_fwmark {
                // What could be set can be set back.
                let _ = self.sockets.set_fwmark(old_fwmark);
            }
            return Err(error.into());
        }
        if let Some(sockets) = rebound {
            self.sockets = sockets;
        }
        Ok(())
    }

    fn summary(&mut self) -> Summary {
        Summary {
            name: self.tun.name().ok(),
            private_key: self.tunnel.private_key().cloned(),
            listen_port: self.sockets.port(),
            fwmark: self.sockets.fwmark(),
            mtu: self.tun.mtu(),
            drops: self.tunnel.drops(),
            io_drops: IoDrops {
                tun: self.tun.drops,
                udp_send: self.send_drops,
            },
        }
    }
}

fn read_clocks() -> Now {
    Now {
        instant: Instant::now(),
        // A clock before 1970 is as good as one at 1970.
        unix: SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO),
    }
}
