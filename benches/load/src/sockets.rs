//! The clients' UDP sockets, one each: to a server two clients behind one address and port are one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::time::Duration;

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use quinn_udp::{Transmit, UdpSocketState};

use crate::client::ROOM;

pub struct Sockets {
    sockets: Vec<(UdpSocket, UdpSocketState)>,
    server: SocketAddr,
    poll: Poll,
    events: Events,
}

impl Sockets {
    pub fn open(clients: usize, server: SocketAddr) -> io::Result<Self> {
        rlimit::increase_nofile_limit(u64::MAX)?;
        let poll = Poll::new()?;
        let open = |client| {
            let mut socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0).into())?;
            poll.registry()
                .register(&mut socket, Token(client), Interest::READABLE)?;
            let state = UdpSocketState::new((&socket.as_fd()).into())?;
            Ok((socket, state))
        };
        Ok(Self {
            sockets: (0..clients).map(open).collect::<io::Result<_>>()?,
            server,
            poll,
            events: Events::with_capacity(1024),
        })
    }

    /// Sends a client's datagrams, all of `segment_size` bytes, in one call.
    pub fn send(&self, client: usize, contents: &[u8], segment_size: usize) {
        let (socket, state) = &self.sockets[client];
        let transmit = Transmit {
            destination: self.server,
            ecn: None,
            contents,
            segment_size: (contents.len() > segment_size).then_some(segment_size),
            src_ip: None,
        };
        // A full buffer empties by itself; anything else is a loss, which the receiver counts.
        while let Err(error) = state.try_send((&socket.as_fd()).into(), &transmit)
            && error.kind() == io::ErrorKind::WouldBlock
        {
            std::thread::yield_now();
        }
    }

    /// Hands what has come in to `each`, with the way to answer; waits for it so long at most.
    pub fn receive(
        &mut self,
        wait: Duration,
        mut each: impl FnMut(&Self, &[u8]),
    ) -> io::Result<()> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        self.poll.poll(&mut events, Some(wait))?;
        let mut room = [0; ROOM];
        for event in &events {
            let Token(client) = event.token();
            while let Ok(len) = self.sockets[client].0.recv(&mut room) {
                each(self, &room[..len]);
            }
        }
        self.events = events;
        Ok(())
    }
}
