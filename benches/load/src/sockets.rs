//! The clients' UDP sockets: one each, up to a limit from which on they share.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use quinn_udp::{Transmit, UdpSocketState};

use crate::client::ROOM;

const MAX_SOCKETS: usize = 1000;

pub struct Sockets {
    sockets: Vec<(UdpSocket, UdpSocketState)>,
    server: SocketAddr,
}

impl Sockets {
    pub fn open(clients: usize, server: SocketAddr) -> io::Result<Self> {
        let open = |_| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            let state = UdpSocketState::new((&socket).into())?;
            Ok((socket, state))
        };
        let sockets = (0..clients.min(MAX_SOCKETS)).map(open);
        Ok(Self {
            sockets: sockets.collect::<io::Result<_>>()?,
            server,
        })
    }

    /// Sends a client's datagrams, all of `segment_size` bytes, in one call.
    pub fn send(&self, client: usize, contents: &[u8], segment_size: usize) {
        let (socket, state) = &self.sockets[client % self.sockets.len()];
        let transmit = Transmit {
            destination: self.server,
            ecn: None,
            contents,
            segment_size: (contents.len() > segment_size).then_some(segment_size),
            src_ip: None,
        };
        // A full buffer empties by itself; anything else is a loss, which the receiver counts.
        while let Err(error) = state.try_send(socket.into(), &transmit)
            && error.kind() == io::ErrorKind::WouldBlock
        {
            std::thread::yield_now();
        }
    }

    /// Hands what has come in to `each`; does not wait.
    pub fn receive(&self, mut each: impl FnMut(&[u8])) {
        let mut room = [0; ROOM];
        for (socket, _) in &self.sockets {
            while let Ok(len) = socket.recv(&mut room) {
                each(&room[..len]);
            }
        }
    }
}
