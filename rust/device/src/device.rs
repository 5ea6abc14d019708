//! The device: a handle on the workers and the control socket.

use std::any::Any;
use std::fmt;
use std::io;
use std::iter;
use std::ops::AddAssign;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wgbind_tunnel::share::MAX_WORKERS;
use wgbind_tunnel::{
    Drops, HandshakeStats, PeerStatus, PrivateKey, PublicKey, Share, Tunnel, TunnelChange,
};

use crate::errands;
use crate::error::Error;
use crate::events::{Delivery, EventQueue};
use crate::exchange::Exchange;
use crate::features::Features;
use crate::foreign::ForeignChanges;
use crate::handed::Handed;
use crate::name::InterfaceName;
use crate::porter::Porter;
use crate::remote::{Line, Remote};
use crate::routes::RouteWatch;
use crate::steering;
use crate::sys::EventFd;
use crate::tun::Tun;
use crate::uapi::ControlSocket;
use crate::udp::UdpSockets;
use crate::worker::{Links, Post, Worker};

/// Where `wg` looks for control sockets.
const CONTROL_DIRECTORY: &str = "/var/run/wireguard";

/// Commands that wait for a worker; who sends more waits too.
const MAX_COMMANDS: usize = 16;

/// What is fixed when a device is opened.
#[derive(Clone, Debug)]
pub struct DeviceConfig {
    /// The interface's name: 1 to 15 of `[a-zA-Z0-9_=+.-]`.
    pub name: String,
    /// The interface's MTU in bytes.
    pub mtu: u16,
    /// Whether to open `/var/run/wireguard/NAME.sock`, where `wg` looks.
    pub control_socket: bool,
    /// Threads that move packets, 1 to 16; none leaves it to us: one on a machine with one or two
    /// cores, else one for each core. Each holds the configuration of all peers. Several do not
    /// take a persistent interface.
    pub workers: Option<usize>,
    /// What to use of the kernel where the kernel has it.
    pub features: Features,
}

impl DeviceConfig {
    fn workers(&self) -> Result<usize, Error> {
        match self.workers {
            Some(workers @ 1..=MAX_WORKERS) => Ok(workers),
            Some(workers) => Err(Error::Workers(workers)),
            None => Ok(match available_cores() {
                // One alone keeps pace with what two cores leave it, and hands nothing over.
                ..=2 => 1,
                cores => cores.min(MAX_WORKERS),
            }),
        }
    }
}

/// A change of a device; what is `None` stays as it is.
#[derive(Debug, Default)]
pub struct DeviceChange {
    /// The UDP port; 0 is any free one.
    pub listen_port: Option<u16>,
    /// The mark of outgoing UDP packets (`SO_MARK`); 0 is off.
    pub fwmark: Option<u32>,
    /// Keys and peers.
    pub tunnel: TunnelChange,
}

/// Packets and datagrams that the kernel did not take from us, or that made no sense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoDrops {
    /// Packets that could not be read from or written to the TUN device.
    pub tun: u64,
    /// Datagrams that could not be sent.
    pub udp_send: u64,
}

impl AddAssign for IoDrops {
    fn add_assign(&mut self, other: Self) {
        self.tun += other.tun;
        self.udp_send += other.udp_send;
    }
}

impl IoDrops {
    /// Every reason by name, with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [("tun", self.tun), ("udp_send", self.udp_send)].into_iter()
    }
}

/// What a device is and has done.
#[derive(Debug)]
pub struct Snapshot {
    /// The interface's name now: it may have been renamed.
    pub name: String,
    /// The private key, if there is one.
    pub private_key: Option<PrivateKey>,
    /// The UDP port.
    pub listen_port: u16,
    /// The mark of outgoing UDP packets; 0 is off.
    pub fwmark: u32,
    /// The interface's MTU in bytes; where it moved to another namespace, that of before.
    pub mtu: u16,
    /// What the device was to use of the kernel.
    pub wanted: Features,
    /// What of it the kernel did not refuse.
    pub features: Features,
    /// The peers of the first worker, then those of the next, each in the order in which they
    /// were added.
    pub peers: Vec<PeerStatus>,
    /// What the tunnel dropped.
    pub drops: Drops,
    /// What the kernel and we could not move.
    pub io_drops: IoDrops,
    /// What came of handshakes.
    pub handshakes: HandshakeStats,
    /// CPU time of all workers and the porter together.
    pub cpu: Duration,
}

/// Why a device is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was closed.
    Closed,
    /// Its interface was deleted.
    InterfaceRemoved,
    /// Its control socket was deleted, which is how other programs end a userspace device.
    SocketRemoved,
    /// One of its threads failed, which is a bug; the text says which, and what it said.
    Failed(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::InterfaceRemoved => f.write_str("interface removed"),
            Self::SocketRemoved => f.write_str("control socket removed"),
            Self::Failed(message) => f.write_str(message),
        }
    }
}

/// A WireGuard interface: made when opened, gone when closed or dropped.
pub struct Device {
    name: InterfaceName,
    wanted: Features,
    remote: Remote,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Device {
    /// Makes the interface, opens UDP sockets on a free port and starts to work, with no key and
    /// no peers.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Privilege`] without `CAP_NET_ADMIN`, [`Error::InUse`] if the
    /// interface or the control socket exists, [`Error::NoTunDevice`], or [`Error::Io`].
    pub fn open(config: DeviceConfig) -> Result<Self, Error> {
        Self::open_handed(&config, Handed::default())
    }

    /// Like [`Device::open`], with what another program has opened already. An interface that is
    /// handed over keeps its name, whatever `config` says, and one queue of it is one worker.
    ///
    /// # Errors
    /// Those of [`Device::open`], and [`Error::Descriptor`] for what is no TUN interface of the
    /// kind that we make, or no socket that can listen.
    pub fn open_handed(config: &DeviceConfig, handed: Handed) -> Result<Self, Error> {
        Self::open_in(Path::new(CONTROL_DIRECTORY), config, handed)
    }

    pub(crate) fn open_in(
        control_directory: &Path,
        config: &DeviceConfig,
        handed: Handed,
    ) -> Result<Self, Error> {
        let workers = config.workers()?;
        let (name, tuns) = if let Some(tun) = handed.tun {
            let (name, tun) = Tun::take_over(tun, config.mtu, config.features)?;
            (name, vec![tun])
        } else {
            let name = InterfaceName::parse(&config.name)?;
            let tuns = if workers == 1 {
                vec![Tun::open(&name, config.mtu, config.features)?]
            } else {
                let steer = steering::steer_packets;
                Tun::open_queues(&name, config.mtu, config.features, workers, steer)?
            };
            (name, tuns)
        };
        let control = if let Some(socket) = handed.control {
            Some(ControlSocket::take_over(socket)?)
        } else if config.control_socket {
            Some(ControlSocket::bind(control_directory, &name)?)
        } else {
            None
        };
        Self::start(name, config, tuns, control)
    }

    fn start(
        name: InterfaceName,
        config: &DeviceConfig,
        tuns: Vec<Tun>,
        control: Option<ControlSocket>,
    ) -> Result<Self, Error> {
        let count = tuns.len();
        // One for each worker, and behind them the porter's: so it is with exchanges and sockets.
        let wakes = iter::repeat_with(EventFd::new)
            .take(count + 1)
            .map(|event| event.map(Arc::new))
            .collect::<io::Result<Vec<_>>>()
            .map_err(Error::io("making an eventfd"))?;
        let exchanges = Exchange::between(&wakes);
        // On a machine with one core another thread only takes turns with the worker.
        let (errands, runner) = if available_cores() > 1 {
            let (ends, runner) = errands::between(&wakes[..count]);
            (ends, Some(runner))
        } else {
            (Vec::new(), None)
        };
        let mut errands = errands.into_iter();
        let sockets = UdpSockets::bind_group(0, 0, count, config.features)?;
        let (lines, mut posts): (Vec<_>, Vec<_>) = iter::zip(wakes, exchanges)
            .zip(sockets)
            .map(|((wake, exchange), sockets)| {
                let (commands, received) = sync_channel(MAX_COMMANDS);
                let line = Line {
                    commands,
                    wake: wake.clone(),
                };
                let post = Post {
                    commands: received,
                    wake,
                    exchange,
                    sockets,
                };
                (line, post)
            })
            .unzip();
        let porter = posts.pop();
        let events = Arc::<EventQueue>::default();
        let mut waiting = Vec::new();
        let mut workers = Vec::new();
        for ((tun, post), share) in iter::zip(tuns, posts).zip(Share::split(count)) {
            let links = Links {
                events: events.clone(),
                errands: errands.next(),
                waiting: Arc::default(),
            };
            waiting.push(links.waiting.clone());
            let tunnel = Tunnel::shared(config.mtu, share);
            workers.push(Worker::new(tun, tunnel, post, links));
        }
        let remote = Remote::new(lines, events)?;
        // From here on a failure drops the device, which ends what was started.
        let device = Self {
            name,
            wanted: config.features,
            remote,
            threads: Mutex::default(),
        };
        for (number, worker) in workers.into_iter().enumerate() {
            let role = match count {
                1 => "worker".to_owned(),
                _ => format!("worker {number}"),
            };
            device.spawn(&role, move |_| Some(worker.run()))?;
        }
        if let Some(post) = porter {
            let porter = Porter::new(post, waiting, config.features);
            device.spawn("porter", move |_| Some(porter.run()))?;
        }
        if let Some(runner) = runner {
            device.spawn("handshakes", move |_| {
                runner.serve();
                None
            })?;
        }
        match RouteWatch::open() {
            Ok(routes) => device.spawn("routes", move |remote| {
                routes.serve(remote);
                None
            })?,
            // Then it is noticed in sending, or when a peer does not answer.
            Err(error) => tracing::warn!("changes of routes go unheard: {error}"),
        }
        if let Some(control) = control {
            device.spawn("uapi", move |remote| {
                control.serve(remote);
                None
            })?;
        }
        tracing::info!(interface = %device.name, "device opened");
        Ok(device)
    }

    /// A thread that ends the device if it says so, or if it panics: there is no half of one.
    fn spawn(
        &self,
        role: &str,
        body: impl FnOnce(&Remote) -> Option<Ended> + Send + 'static,
    ) -> Result<(), Error> {
        let (owned, remote) = (role.to_owned(), self.remote.clone());
        let thread = thread::Builder::new()
            // The kernel shows 15 characters of it.
            .name(format!("{role} {}", self.name))
            .spawn(move || {
                if let Some(ended) = until_panic(&owned, || body(&remote)) {
                    remote.note_end(ended);
                }
            })
            .map_err(Error::io(format!("starting a thread for {}", self.name)))?;
        lock(&self.threads).push(thread);
        Ok(())
    }

    /// The name that the interface was made with.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Applies a change, all of it or nothing; returns when all workers work by it.
    ///
    /// # Errors
    /// [`Error::InUse`] or [`Error::Privilege`] for a port that is not to be had,
    /// [`Error::Tunnel`] for what the tunnel refuses, [`Error::Ended`], or [`Error::Io`].
    pub fn set(&self, change: DeviceChange) -> Result<(), Error> {
        self.remote.set(change)
    }

    /// How many changes were applied since the start, by whomever: here or at the control socket.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.remote.changes()
    }

    /// Reads the state of the device and of its peers: not of one moment, so that no packet waits
    /// while many peers are read.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        let mut snapshot = self.snapshot_of(&[])?;
        for page in self.remote.pages() {
            snapshot.peers.append(&mut page?);
        }
        Ok(snapshot)
    }

    /// Reads the state of the device and of those of its peers that have these keys.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub fn snapshot_of(&self, keys: &[PublicKey]) -> Result<Snapshot, Error> {
        let summary = self.remote.summary()?;
        let peers = self.remote.named(keys)?;
        Ok(Snapshot {
            name: summary.name.unwrap_or_else(|| self.name.to_string()),
            private_key: summary.private_key,
            listen_port: summary.listen_port,
            fwmark: summary.fwmark,
            mtu: summary.mtu,
            wanted: self.wanted,
            features: summary.features,
            peers,
            drops: summary.drops,
            io_drops: summary.io_drops,
            handshakes: summary.handshakes,
            cpu: summary.cpu,
        })
    }

    /// Takes what happened to peers since the last call; if that is nothing, waits until something
    /// happens, for at most `timeout`. Nothing is kept before the first call. Of several callers each
    /// event reaches one.
    ///
    /// # Errors
    /// [`Error::Ended`], when all is taken.
    pub fn events(&self, timeout: Option<Duration>) -> Result<Delivery, Error> {
        self.remote.events(timeout)
    }

    /// Takes what clients of the control socket changed since the last call, or nothing. Nothing is
    /// kept before the first call.
    #[must_use]
    pub fn take_foreign(&self) -> ForeignChanges {
        self.remote.take_foreign()
    }

    /// Waits until the device has ended, for at most `timeout`; returns why it ended.
    #[must_use]
    pub fn wait(&self, timeout: Option<Duration>) -> Option<Ended> {
        self.remote.wait(timeout)
    }

    /// Ends the workers and removes interface and control socket. A second call does nothing.
    pub fn close(&self) {
        self.remote.end(Ended::Closed);
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // A panic of a worker is kept as `Ended::Failed`.
            let _ = thread.join();
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.close();
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these mutexes hold is whole at every moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn available_cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// A panic is caught to tell of it, never to go on: what `body` owns is dropped.
fn until_panic(role: &str, body: impl FnOnce() -> Option<Ended>) -> Option<Ended> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let message = panic_message(panic.as_ref());
        Some(Ended::Failed(format!("{role} failed: {message}")))
    })
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it did not say why".to_owned())
}

#[cfg(test)]
mod tests;
