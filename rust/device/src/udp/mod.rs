//! The UDP sockets: one for IPv4 and one for IPv6 on the same port.
//!
//! Own code, because the libraries that were looked at stand in the way: `quinn-udp` sends and
//! receives with GSO, GRO and ECN, but has no `sendmmsg`, no DSCP and no interface index in the
//! source address, all of which a WireGuard peer is owed.

pub(crate) mod address;
mod control;
mod send;
mod socket;

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use wgbind_tunnel::LocalAddress;
use wgbind_tunnel::batch::DatagramsOut;

use crate::error::{Error, NET_ADMIN};
use crate::features::Features;
use crate::{steering, sys};

pub(crate) use socket::RECEIVE_BATCH;
use socket::{Family, Socket};

/// How often a free port is looked for that both families have.
const PORT_TRIES: usize = 100;

/// Destinations that are remembered because the address to send from was not good for them.
const MAX_GONE: usize = 64;

/// Both sockets. One of them is missing on a host without its family.
pub(crate) struct UdpSockets {
    sockets: [Option<Socket>; 2],
    port: u16,
    fwmark: u32,
    /// What the sockets may use.
    wanted: Features,
    /// Whether the kernel gives handshake messages to the porter's sockets.
    pub(crate) has_porter: bool,
    /// Destinations that were not to be reached from the address that was wanted, [`MAX_GONE`] at
    /// most. Whoever looks after them takes them out.
    pub(crate) gone: Vec<(SocketAddr, LocalAddress)>,
}

impl UdpSockets {
    /// Opens sockets on `port` of all addresses; 0 is any free port.
    pub(crate) fn bind(port: u16, fwmark: u32, wanted: Features) -> Result<Self, Error> {
        let mut tries = PORT_TRIES;
        let mut sockets = loop {
            tries -= 1;
            match Self::try_bind(port, wanted) {
                Ok(sockets) => break sockets,
                // The port was free for IPv4 and is taken for IPv6: try another.
                Err(error)
                    if port == 0 && tries > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(bind_error(port, error)),
            }
        };
        if fwmark != 0 {
            sockets.set_fwmark(fwmark)?;
        }
        Ok(sockets)
    }

    /// Opens such sockets for each worker, and behind them those of the porter, which are none where
    /// the kernel cannot tell his datagrams from theirs.
    pub(crate) fn bind_group(
        port: u16,
        fwmark: u32,
        workers: usize,
        wanted: Features,
    ) -> Result<Vec<Self>, Error> {
        // The first has the port to itself until it shares it: who else has it is found out.
        let mut group = vec![Self::bind(port, fwmark, wanted)?];
        let port = group[0].port;
        Self::fill_group(&mut group, workers).map_err(|error| bind_error(port, error))?;
        if fwmark != 0 {
            for sockets in &mut group[1..] {
                sockets.set_fwmark(fwmark)?;
            }
        }
        Ok(group)
    }

    fn fill_group(group: &mut Vec<Self>, workers: usize) -> io::Result<()> {
        let (port, wanted) = (group[0].port, group[0].wanted);
        for socket in group[0].iter() {
            sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
        }
        while group.len() <= workers {
            let join = |socket: &Option<Socket>| {
                socket
                    .as_ref()
                    .map(|socket| Socket::bind(socket.family, port, true, wanted))
                    .transpose()
            };
            let [v4, v6] = &group[0].sockets;
            group.push(Self {
                sockets: [join(v4)?, join(v6)?],
                port,
                fwmark: 0,
                wanted,
                has_porter: false,
                gone: Vec::new(),
            });
        }
        let steered = group[0]
            .iter()
            .try_for_each(|socket| steering::steer_datagrams(socket.as_fd(), workers));
        if let Err(error) = &steered {
            // Then any worker gets them, always the same for one peer, and hands them over.
            tracing::warn!("UDP port {port}: its datagrams cannot be steered: {error}");
            group[workers].sockets = [None, None];
        }
        for sockets in group {
            sockets.has_porter = steered.is_ok();
        }
        Ok(())
    }

    fn try_bind(port: u16, wanted: Features) -> io::Result<Self> {
        let bind = |family, port| unless_unsupported(Socket::bind(family, port, false, wanted));
        let v4 = bind(Family::V4, port)?;
        let port = v4.as_ref().map_or(Ok(port), Socket::port)?;
        let v6 = if wanted.udp_ipv6 {
            bind(Family::V6, port)?
        } else {
            None
        };
        let port = v6.as_ref().map_or(Ok(port), Socket::port)?;
        if v4.is_none() && v6.is_none() {
            return Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT));
        }
        Ok(Self {
            sockets: [v4, v6],
            port,
            fwmark: 0,
            wanted,
            has_porter: false,
            gone: Vec::new(),
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn fwmark(&self) -> u32 {
        self.fwmark
    }

    /// Opens sockets on another port for all workers and the porter, for the same use.
    pub(crate) fn rebind(
        &self,
        port: u16,
        fwmark: Option<u32>,
        workers: usize,
    ) -> Result<Vec<Self>, Error> {
        Self::bind_group(port, fwmark.unwrap_or(self.fwmark), workers, self.wanted)
    }

    /// What the sockets use, as far as they tried.
    pub(crate) fn features(&self) -> Features {
        let mut features = self.wanted;
        features.udp_ipv6 = self.sockets[1].is_some();
        for socket in self.iter() {
            features.udp_gso &= socket.gso.is_usable();
            features.udp_gro &= socket.gro;
        }
        features
    }

    /// Sets the mark of all datagrams to come; on failure the sockets keep the old one.
    pub(crate) fn set_fwmark(&mut self, fwmark: u32) -> Result<(), Error> {
        self.mark(fwmark).map_err(|error| {
            let _ = self.mark(self.fwmark);
            match sys::errno(&error) {
                libc::EPERM => Error::Privilege {
                    what: format!("setting the fwmark to {fwmark}"),
                    needs: NET_ADMIN,
                },
                _ => Error::io(format!("setting the fwmark to {fwmark}"))(error),
            }
        })?;
        self.fwmark = fwmark;
        Ok(())
    }

    fn mark(&self, fwmark: u32) -> io::Result<()> {
        for socket in self.sockets.iter().flatten() {
            let mark = fwmark.cast_signed();
            sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_MARK, mark)?;
        }
        Ok(())
    }

    /// The descriptors to poll, IPv4 first.
    pub(crate) fn descriptors(&self) -> [Option<BorrowedFd<'_>>; 2] {
        [&self.sockets[0], &self.sockets[1]].map(|socket| socket.as_ref().map(Socket::as_fd))
    }

    /// The sockets that there are.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Socket> {
        self.sockets.iter().flatten()
    }

    /// Sends all runs; returns how many datagrams could not be sent. That is never fatal: a
    /// route may be missing, a firewall may refuse, and both may change.
    pub(crate) fn send(&mut self, out: &DatagramsOut) -> u64 {
        let mut drops = 0;
        for (socket, family) in self.sockets.iter_mut().zip([Family::V4, Family::V6]) {
            let runs = out
                .runs
                .iter()
                .filter(|run| Family::of(run.destination) == family);
            drops += match socket {
                Some(socket) => socket.send(&out.buffer, runs, &mut self.gone),
                None => runs.map(send::datagrams).sum(),
            };
        }
        drops
    }
}

/// A host without a family has no use for a socket of it.
fn unless_unsupported(socket: io::Result<Socket>) -> io::Result<Option<Socket>> {
    match socket {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if matches!(sys::errno(&error), libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn bind_error(port: u16, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::AddrInUse => Error::InUse {
            what: format!("UDP port {port}"),
            remedy: "choose another listen port, or stop the program that has it",
        },
        io::ErrorKind::PermissionDenied => Error::Privilege {
            what: format!("listening on UDP port {port}"),
            needs: "CAP_NET_BIND_SERVICE: run as root or with that capability, or choose a port from 1024 on",
        },
        _ => Error::io(format!("opening UDP port {port}"))(error),
    }
}

#[cfg(test)]
mod tests;
