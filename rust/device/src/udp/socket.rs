//! One UDP socket: how it is set up, and how datagrams come in.

use std::cell::Cell;
use std::ffi::c_int;
use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;
use std::time::Duration;

use wgbind_tunnel::DatagramIn;

use super::address::Name;
use super::control::Control;
use crate::features::Features;
use crate::latch::Latch;
use crate::sys;

/// Most messages of one `recvmmsg`.
pub(crate) const RECEIVE_BATCH: usize = 16;

/// Messages of one `recvmmsg` while they may be trains of 64 KiB each: more of those would keep
/// what comes from the TUN device waiting.
const TRAIN_BATCH: usize = 8;

/// Longer than this on average, what came were trains.
const SINGLE_BYTES: usize = 4096;

/// What wireguard-go asks for (`socketBufferSize`): a burst of handshakes or a slow turn of the
/// worker must fit.
const BUFFER_SIZE: c_int = 7 << 20;

/// A send may wait this long for room in the socket's buffer; then the datagrams are dropped, as a
/// full queue would drop them.
const SEND_TIMEOUT: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) fn of(address: SocketAddr) -> Self {
        if address.is_ipv4() {
            Self::V4
        } else {
            Self::V6
        }
    }
}

pub(crate) struct Socket {
    pub(super) inner: UdpSocket,
    pub(super) family: Family,
    /// Whether the kernel cuts trains for us (`UDP_SEGMENT`).
    pub(super) gso: Latch,
    /// Whether the kernel joins trains for us (`UDP_GRO`).
    pub(super) gro: bool,
    /// The socket's buffer stayed full: the rest of a batch is not worth waiting for.
    pub(super) blocked: bool,
    /// The last batch was full of single datagrams: more of them may wait.
    crowded: Cell<bool>,
}

impl Socket {
    /// Opens a socket on `port` (0 is any free port) of all addresses of the family. One that
    /// shares the port joins those that share it already.
    pub(super) fn bind(
        family: Family,
        port: u16,
        shares: bool,
        features: Features,
    ) -> io::Result<Self> {
        let (domain, address) = match family {
            Family::V4 => (
                libc::AF_INET,
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
            ),
            Family::V6 => (
                libc::AF_INET6,
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
            ),
        };
        let socket = sys::socket(domain, libc::SOCK_DGRAM)?;
        let set = |level, name, value| sys::set_option(socket.as_fd(), level, name, value);
        match family {
            Family::V4 => {
                set(libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
                set(libc::IPPROTO_IP, libc::IP_RECVTOS, 1)?;
                // The outer packet may be fragmented: a peer's path MTU is not ours to know.
                set(
                    libc::IPPROTO_IP,
                    libc::IP_MTU_DISCOVER,
                    libc::IP_PMTUDISC_DONT,
                )?;
            }
            Family::V6 => {
                set(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
                set(libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
                set(libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)?;
                set(
                    libc::IPPROTO_IPV6,
                    libc::IPV6_MTU_DISCOVER,
                    libc::IPV6_PMTUDISC_DONT,
                )?;
            }
        }
        for (forced, plain) in [
            (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
            (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
        ] {
            // Without CAP_NET_ADMIN the system's limit holds; smaller buffers only cost speed.
            if set(libc::SOL_SOCKET, forced, BUFFER_SIZE).is_err() {
                let _ = set(libc::SOL_SOCKET, plain, BUFFER_SIZE);
            }
        }
        // A kernel that does not know GRO (before Linux 5.0) hands over single datagrams.
        let gro = features.udp_gro && set(libc::SOL_UDP, libc::UDP_GRO, 1).is_ok();
        // Zero leaves sends as they are; the answer tells whether the kernel knows GSO (4.18).
        let gso = features.udp_gso && set(libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok();
        if shares {
            set(libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
        }
        sys::bind(socket.as_fd(), Name::new(address).as_bytes())?;
        let inner = UdpSocket::from(socket);
        inner.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Self {
            inner,
            family,
            gso: Latch::new(gso),
            gro,
            blocked: false,
            crowded: Cell::new(false),
        })
    }

    pub(super) fn port(&self) -> io::Result<u16> {
        Ok(self.inner.local_addr()?.port())
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }

    /// Fills up to [`RECEIVE_BATCH`] slots without waiting; returns how many. Errors that wait on
    /// the socket belong to no datagram that is to come, so they are passed over.
    pub(crate) fn receive(&self, slots: &mut [DatagramIn]) -> usize {
        let filled = if self.crowded.get() {
            self.system_receive::<RECEIVE_BATCH>(slots)
        } else {
            self.system_receive::<TRAIN_BATCH>(slots)
        };
        let bytes: usize = slots[..filled].iter().map(|slot| slot.len).sum();
        let crowded = filled >= TRAIN_BATCH && bytes <= filled * SINGLE_BYTES;
        self.crowded.set(crowded);
        filled
    }

    /// One `recvmmsg` of up to `N` messages.
    fn system_receive<const N: usize>(&self, slots: &mut [DatagramIn]) -> usize {
        let mut names = [Name::default(); N];
        let mut controls = [Control::EMPTY; N];
        let mut vectors = [EMPTY_VECTOR; N];
        let mut messages = [empty_message(); N];
        let count = slots.len().min(N);
        for i in 0..count {
            vectors[i] = libc::iovec {
                iov_base: slots[i].buffer.as_mut_ptr().cast(),
                iov_len: slots[i].buffer.len(),
            };
            let header = &mut messages[i].msg_hdr;
            header.msg_name = names[i].as_mut_bytes().as_mut_ptr().cast();
            header.msg_namelen = Name::ROOM as libc::socklen_t;
            header.msg_iov = &raw mut vectors[i];
            header.msg_iovlen = 1;
            header.msg_control = controls[i].as_mut_bytes().as_mut_ptr().cast();
            header.msg_controllen = Control::ROOM as _;
        }
        // SAFETY: each of the first `count` messages points to a name, a vector, a buffer and
        // control messages that are ours alone and outlive the call, with their true sizes.
        let result = sys::check(unsafe {
            libc::recvmmsg(
                self.inner.as_raw_fd(),
                messages.as_mut_ptr(),
                count as _,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        });
        let received = result.map_or(0, |received| received as usize);
        let mut filled = 0;
        for i in 0..received {
            let len = messages[i].msg_len as usize;
            let Some(source) = names[i].parse().filter(|_| len > 0) else {
                // An empty datagram means nothing to a tunnel.
                continue;
            };
            // A `size_t` with glibc, a `socklen_t` with musl.
            #[allow(clippy::unnecessary_cast)]
            let told = messages[i].msg_hdr.msg_controllen as usize;
            let about = controls[i].parse(told);
            slots.swap(filled, i);
            let slot = &mut slots[filled];
            slot.len = len;
            slot.segment_size = about.segment_size.unwrap_or(len);
            slot.source = source;
            slot.local = about.local;
            slot.ecn = about.ecn;
            filled += 1;
        }
        filled
    }
}

pub(super) const EMPTY_VECTOR: libc::iovec = libc::iovec {
    iov_base: ptr::null_mut(),
    iov_len: 0,
};

/// A message without a name, data and control messages (musl's has private padding, so that there
/// is no writing it down).
pub(super) const fn empty_message() -> libc::mmsghdr {
    // SAFETY: null pointers with lengths of zero, and no flags.
    unsafe { mem::zeroed() }
}
