//! How datagrams go out: trains and batches where the kernel can, single ones where it cannot.

use std::io;
use std::iter;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

use wgbind_tunnel::{LocalAddress, Transmit};

use super::MAX_GONE;
use super::address::Name;
use super::control::Control;
use super::socket::{EMPTY_VECTOR, Family, Socket, empty_message};
use crate::latch::Latch;
use crate::sys;

/// Messages of one `sendmmsg`.
const SEND_BATCH: usize = 32;

/// A datagram, or a train of datagrams of `segment_size` bytes (the last may be shorter).
#[derive(Clone, Copy)]
struct Message<'a> {
    bytes: &'a [u8],
    segment_size: usize,
    destination: SocketAddr,
    local: Option<LocalAddress>,
    traffic_class: u8,
}

impl<'a> Message<'a> {
    fn datagrams(&self) -> u64 {
        self.bytes.len().div_ceil(self.segment_size.max(1)) as u64
    }

    fn is_train(&self) -> bool {
        self.bytes.len() > self.segment_size
    }

    /// The datagrams of a train.
    fn singles(self) -> impl Iterator<Item = Self> + use<'a> {
        self.bytes
            .chunks(self.segment_size.max(1))
            .map(move |bytes| Message { bytes, ..self })
    }
}

/// How many datagrams a run is.
pub(super) fn datagrams(run: &Transmit) -> u64 {
    run.range.len().div_ceil(run.segment_size.max(1)) as u64
}

/// What to do about the first message of a batch that was refused.
enum Remedy {
    TryAgain,
    WithoutLocal,
    Singly,
    GiveUp,
    Skip,
}

impl Socket {
    /// Sends runs of this socket's family in order; returns how many datagrams could not be sent, and
    /// notes in `gone` where they could not be sent from the address that was wanted.
    pub(super) fn send<'a>(
        &mut self,
        buffer: &[u8],
        runs: impl Iterator<Item = &'a Transmit>,
        gone: &mut Vec<(SocketAddr, LocalAddress)>,
    ) -> u64 {
        self.blocked = false;
        let messages = runs.map(|run| Message {
            bytes: &buffer[run.range.clone()],
            segment_size: run.segment_size,
            destination: run.destination,
            local: run.local,
            traffic_class: run.traffic_class,
        });
        if self.gso.is_usable() {
            self.send_messages(messages, gone)
        } else {
            self.send_messages(messages.flat_map(Message::singles), gone)
        }
    }

    fn send_messages<'a>(
        &mut self,
        mut messages: impl Iterator<Item = Message<'a>>,
        gone: &mut Vec<(SocketAddr, LocalAddress)>,
    ) -> u64 {
        let Some(first) = messages.next() else {
            return 0;
        };
        let mut batch = [first; SEND_BATCH];
        let mut filled = 1;
        let mut drops = 0;
        loop {
            for (slot, message) in iter::zip(&mut batch[filled..], &mut messages) {
                *slot = message;
                filled += 1;
            }
            if filled == 0 {
                return drops;
            }
            drops += self.send_batch(&batch[..filled], gone);
            filled = 0;
        }
    }

    fn send_batch(
        &mut self,
        batch: &[Message<'_>],
        gone: &mut Vec<(SocketAddr, LocalAddress)>,
    ) -> u64 {
        let mut drops = 0;
        let mut rest = batch;
        while let [first, others @ ..] = rest {
            if self.blocked {
                return drops + rest.iter().map(Message::datagrams).sum::<u64>();
            }
            // An error is always about the first message: after a later one the call returns how
            // many went out, and the next call meets that error again.
            let error = match self.system_send(rest) {
                Ok(sent) => {
                    if first.is_train() {
                        self.gso.worked();
                    }
                    rest = &rest[sent..];
                    continue;
                }
                Err(error) => error,
            };
            match self.remedy(first, &error) {
                Remedy::TryAgain => continue,
                Remedy::GiveUp => {
                    self.blocked = true;
                    continue;
                }
                Remedy::WithoutLocal => {
                    if let Some(local) = first.local
                        && gone.len() < MAX_GONE
                        && !gone.contains(&(first.destination, local))
                    {
                        gone.push((first.destination, local));
                    }
                    let without = Message {
                        local: None,
                        ..*first
                    };
                    drops += self.send_batch(&[without], gone);
                }
                Remedy::Singly => drops += self.send_messages(first.singles(), gone),
                Remedy::Skip => drops += first.datagrams(),
            }
            rest = others;
        }
        drops
    }

    fn remedy(&mut self, message: &Message<'_>, error: &io::Error) -> Remedy {
        match sys::errno(error) {
            libc::EINTR => Remedy::TryAgain,
            libc::EAGAIN => Remedy::GiveUp,
            // The way out cannot checksum for us (kernel udp_send_skb): it will not learn it.
            libc::EIO if message.is_train() => {
                self.switch_gso_off();
                Remedy::Singly
            }
            // A datagram is larger than the path's MTU, which a train may not be and a single
            // datagram may. Before Linux 6.14 that is EINVAL.
            libc::EMSGSIZE if message.is_train() => Remedy::Singly,
            libc::EINVAL if message.is_train() => {
                if self.gso.refused() {
                    self.switch_gso_off();
                }
                Remedy::Singly
            }
            // The address or its interface went away, or leads nowhere any more.
            libc::EINVAL
            | libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::EADDRNOTAVAIL
            | libc::ENODEV
                if message.local.is_some() =>
            {
                Remedy::WithoutLocal
            }
            _ => Remedy::Skip,
        }
    }

    fn switch_gso_off(&mut self) {
        self.gso = Latch::Off;
        tracing::warn!("the kernel refuses UDP_SEGMENT: datagrams are sent one at a time");
    }

    /// One `sendmmsg` of at most [`SEND_BATCH`] messages; returns how many went out.
    fn system_send(&self, batch: &[Message<'_>]) -> io::Result<usize> {
        let mut names = [Name::default(); SEND_BATCH];
        let mut controls = [Control::EMPTY; SEND_BATCH];
        let mut vectors = [EMPTY_VECTOR; SEND_BATCH];
        let mut headers = [empty_message(); SEND_BATCH];
        let count = batch.len().min(SEND_BATCH);
        for (i, message) in batch[..count].iter().enumerate() {
            names[i] = Name::new(message.destination);
            vectors[i] = libc::iovec {
                iov_base: message.bytes.as_ptr().cast_mut().cast(),
                iov_len: message.bytes.len(),
            };
            let control = &mut controls[i];
            if let Some(local) = message.local {
                control.push_local(local);
            }
            if message.traffic_class != 0 {
                control.push_traffic_class(self.family == Family::V6, message.traffic_class);
            }
            if message.is_train() {
                control.push_segment_size(message.segment_size as u16);
            }
            let header = &mut headers[i].msg_hdr;
            header.msg_name = names[i].as_bytes().as_ptr().cast_mut().cast();
            header.msg_namelen = names[i].as_bytes().len() as libc::socklen_t;
            header.msg_iov = &raw mut vectors[i];
            header.msg_iovlen = 1;
            let control = controls[i].as_bytes();
            if !control.is_empty() {
                header.msg_control = control.as_ptr().cast_mut().cast();
                header.msg_controllen = control.len() as _;
            }
        }
        // SAFETY: each of the first `count` headers points to a name, a vector, bytes and control
        // messages with their true sizes; all outlive the call, and the kernel only reads them.
        let sent = sys::check(unsafe {
            libc::sendmmsg(self.inner.as_raw_fd(), headers.as_mut_ptr(), count as _, 0)
        })?;
        Ok(sent as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Features;

    /// A kernel says EIO where the way out has no checksums (before Linux 6.11) or is IPsec's, so
    /// not just anywhere: here is what we make of it.
    #[test]
    fn a_way_out_that_cannot_cut_switches_cutting_off() {
        let bound = Socket::bind(Family::V4, 0, false, Features::default());
        let mut socket = bound.expect("a free port");
        socket.gso.worked();
        let error = io::Error::from_raw_os_error(libc::EIO);
        let message = |segment_size| Message {
            bytes: &[7; 300],
            segment_size,
            destination: SocketAddr::from(([127, 0, 0, 1], 9)),
            local: None,
            traffic_class: 0,
        };
        let remedy = socket.remedy(&message(300), &error);
        assert!(matches!(remedy, Remedy::Skip), "about one datagram");
        assert!(socket.gso.is_usable());
        let remedy = socket.remedy(&message(100), &error);
        assert!(matches!(remedy, Remedy::Singly));
        assert!(!socket.gso.is_usable());
    }

    #[test]
    fn no_error_is_more_than_the_loss_of_a_datagram() {
        let bound = Socket::bind(Family::V4, 0, false, Features::default());
        let mut socket = bound.expect("a free port");
        let mut message = Message {
            bytes: &[7; 300],
            segment_size: 300,
            destination: SocketAddr::from(([127, 0, 0, 1], 9)),
            local: None,
            traffic_class: 0,
        };
        for errno in [
            libc::EMSGSIZE,
            libc::ENOBUFS,
            libc::ECONNREFUSED,
            libc::ENETUNREACH,
            libc::EHOSTUNREACH,
            libc::ENETDOWN,
            libc::EPERM,
            libc::EACCES,
            libc::ENOMEM,
        ] {
            let error = io::Error::from_raw_os_error(errno);
            let remedy = socket.remedy(&message, &error);
            assert!(matches!(remedy, Remedy::Skip), "{error}");
        }
        message.local = Some(LocalAddress {
            ip: [127, 0, 0, 1].into(),
            interface: 1,
        });
        for errno in [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EINVAL] {
            let error = io::Error::from_raw_os_error(errno);
            let remedy = socket.remedy(&message, &error);
            assert!(matches!(remedy, Remedy::WithoutLocal), "{error}");
        }
    }
}
