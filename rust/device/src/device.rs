//! The device: a handle on the worker and the control socket.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wgbind_tunnel::{Drops, PeerStatus, PrivateKey, Tunnel, TunnelChange};

use crate::error::Error;
use crate::name::InterfaceName;
use crate::sys::EventFd;
use crate::tun::Tun;
use crate::uapi::ControlSocket;
use crate::udp::UdpSockets;
use crate::worker::{Command, Summary, Worker};

/// Where `wg` looks for control sockets.
const CONTROL_DIRECTORY: &str = "/var/run/wireguard";

/// Commands that wait for the worker; who sends more waits too.
const MAX_COMMANDS: usize = 16;

/// Peers that are read between two batches.
const PEERS_PAGE: usize = 256;

/// What is fixed when a device is opened.
#[derive(Clone, Debug)]
pub struct DeviceConfig {
    /// The interface's name: 1 to 15 of `[a-zA-Z0-9_=+.-]`.
    pub name: String,
    /// The interface's MTU in bytes.
    pub mtu: u16,
    /// Whether to open `/var/run/wireguard/NAME.sock`, where `wg` looks.
    pub control_socket: bool,
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
    /// The peers, in the order in which they were added.
    pub peers: Vec<PeerStatus>,
    /// What the tunnel dropped.
    pub drops: Drops,
    /// What the kernel and we could not move.
    pub io_drops: IoDrops,
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
    /// Its worker failed, which is a bug; the text says what it said.
    Failed(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::InterfaceRemoved => f.write_str("interface removed"),
            Self::SocketRemoved => f.write_str("control socket removed"),
            Self::Failed(message) => write!(f, "worker failed: {message}"),
        }
    }
}

/// A WireGuard interface: made when opened, gone when closed or dropped.
pub struct Device {
    name: InterfaceName,
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
        Self::open_in(Path::new(CONTROL_DIRECTORY), &config)
    }

    pub(crate) fn open_in(control_directory: &Path, config: &DeviceConfig) -> Result<Self, Error> {
        let name = InterfaceName::parse(&config.name)?;
        let tun = Tun::open(&name, config.mtu)?;
        let sockets = UdpSockets::bind(0, 0)?;
        let control = if config.control_socket {
            Some(ControlSocket::bind(control_directory, &name)?)
        } else {
            None
        };
        Self::start(name, config.mtu, tun, sockets, control)
    }

    fn start(
        name: InterfaceName,
        mtu: u16,
        tun: Tun,
        sockets: UdpSockets,
        control: Option<ControlSocket>,
    ) -> Result<Self, Error> {
        let event = || {
            EventFd::new()
                .map(Arc::new)
                .map_err(Error::io("making an eventfd"))
        };
        let (commands, received) = sync_channel(MAX_COMMANDS);
        let remote = Remote {
            commands,
            wake: event()?,
            state: Arc::new(State {
                ended: Mutex::new(None),
                changed: Condvar::new(),
                closing: event()?,
            }),
        };
        let worker = Worker::new(
            tun,
            sockets,
            Tunnel::new(mtu),
            received,
            remote.wake.clone(),
        );
        let state = remote.state.clone();
        // From here on a failure drops the device, which ends what was started.
        let device = Self {
            name,
            remote,
            threads: Mutex::default(),
        };
        device.spawn("worker", move || {
            state.end(until_panic(|| worker.run()));
        })?;
        if let Some(control) = control {
            let remote = device.remote.clone();
            device.spawn("uapi", move || control.serve(&remote))?;
        }
        tracing::info!(interface = %device.name, "device opened");
        Ok(device)
    }

    fn spawn(&self, role: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let thread = thread::Builder::new()
            // The kernel shows 15 characters of it.
            .name(format!("{role} {}", self.name))
            .spawn(body)
            .map_err(Error::io(format!("starting a thread for {}", self.name)))?;
        lock(&self.threads).push(thread);
        Ok(())
    }

    /// The name that the interface was made with.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Applies a change, all of it or nothing; returns when the worker works by it.
    ///
    /// # Errors
    /// [`Error::InUse`] or [`Error::Privilege`] for a port that is not to be had,
    /// [`Error::Tunnel`] for what the tunnel refuses, [`Error::Ended`], or [`Error::Io`].
    pub fn set(&self, change: DeviceChange) -> Result<(), Error> {
        self.remote.set(change)
    }

    /// Reads the state of the device and of its peers: not of one moment, so that no packet waits
    /// while many peers are read.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        let summary = self.remote.summary()?;
        let mut peers = Vec::new();
        for page in self.remote.pages() {
            peers.append(&mut page?);
        }
        Ok(Snapshot {
            name: summary.name.unwrap_or_else(|| self.name.to_string()),
            private_key: summary.private_key,
            listen_port: summary.listen_port,
            fwmark: summary.fwmark,
            mtu: summary.mtu,
            peers,
            drops: summary.drops,
            io_drops: summary.io_drops,
        })
    }

    /// Waits until the device has ended, for at most `timeout`; returns why it ended.
    #[must_use]
    pub fn wait(&self, timeout: Option<Duration>) -> Option<Ended> {
        self.remote.state.wait(timeout)
    }

    /// Ends the worker and removes interface and control socket. A second call does nothing.
    pub fn close(&self) {
        self.remote.end(Ended::Closed);
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // A panic of the worker is kept as `Ended::Failed`.
            let _ = thread.join();
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the device, the control socket and its clients hold: a way to talk to the worker.
#[derive(Clone)]
pub(crate) struct Remote {
    commands: SyncSender<Command>,
    wake: Arc<EventFd>,
    state: Arc<State>,
}

struct State {
    ended: Mutex<Option<Ended>>,
    changed: Condvar,
    /// Raised, and never lowered, when the device has ended.
    closing: Arc<EventFd>,
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

    fn end(&self, reason: Ended) {
        if let Ended::Failed(message) = &reason {
            tracing::error!("the worker failed: {message}");
        }
        *lock(&self.ended) = Some(reason);
        self.changed.notify_all();
        self.closing.raise();
    }
}

impl Remote {
    pub(crate) fn set(&self, change: DeviceChange) -> Result<(), Error> {
        self.ask(|reply| Command::Set(Box::new(change), reply))?
    }

    pub(crate) fn summary(&self) -> Result<Summary, Error> {
        self.ask(Command::Summary)
    }

    /// All peers, a page at a time: the worker moves packets between two pages.
    pub(crate) fn pages(&self) -> impl Iterator<Item = Result<Vec<PeerStatus>, Error>> {
        let mut next = Some(0);
        std::iter::from_fn(move || {
            let from = next.take()?;
            let page = self.ask(|reply| Command::Peers {
                from,
                limit: PEERS_PAGE,
                reply,
            });
            Some(page.map(|(peers, more)| {
                next = more;
                peers
            }))
        })
    }

    /// Tells the worker to end, if it has not.
    pub(crate) fn end(&self, reason: Ended) {
        if self.commands.send(Command::End(reason)).is_ok() {
            self.wake.raise();
        }
    }

    /// Raised when the device has ended.
    pub(crate) fn closing(&self) -> &EventFd {
        &self.state.closing
    }

    fn ask<T>(&self, command: impl FnOnce(SyncSender<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = sync_channel(1);
        self.commands
            .send(command(reply))
            .map_err(|_| self.ended())?;
        self.wake.raise();
        answer.recv().map_err(|_| self.ended())
    }

    fn ended(&self) -> Error {
        // The worker hangs up just before it says why.
        let ended = self.state.wait(None).map(|ended| ended.to_string());
        Error::Ended(ended.unwrap_or_default())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these mutexes hold is whole at every moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A panic is caught to tell of it, never to go on: what `body` owns is dropped.
fn until_panic(body: impl FnOnce() -> Ended) -> Ended {
    catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|panic| Ended::Failed(panic_message(panic.as_ref())))
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
