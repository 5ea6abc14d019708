//! Whether the addresses of ours that peers know still lead to them.
//!
//! An answer leaves from the address, and by the interface, that the peer's message came in by. When
//! routes or addresses change that may be a dead end, or a better way may be there: then the routing
//! table decides, until the peer shows what it knows (kernel `send4` and `send6`, `socket.c`, look
//! with each packet; wireguard-go's `sticky_linux.go` listens as we do).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use wgbind_tunnel::LocalAddress;

use crate::remote::Remote;
use crate::sys;

/// A change is seldom alone: what follows in this time is looked at together.
const SETTLING: Duration = Duration::from_millis(20);

/// Between two looks at all peers.
const REST: Duration = Duration::from_secs(1);

/// Looks after a change, at most. What was under way to the old address teaches it again; where the
/// peer's own way is another one than ours, that does not end.
const LOOKS: usize = 5;

/// Addresses, routes, rules and interfaces of both families (`RTMGRP_*`, linux/rtnetlink.h).
const GROUPS: u32 = (libc::RTMGRP_LINK
    | libc::RTMGRP_IPV4_IFADDR
    | libc::RTMGRP_IPV4_ROUTE
    | libc::RTMGRP_IPV4_RULE
    | libc::RTMGRP_IPV6_IFADDR
    | libc::RTMGRP_IPV6_ROUTE) as u32
    | 1 << (libc::RTNLGRP_IPV6_RULE - 1);

/// Bytes of an answer about one route; what does not fit is cut off.
const ANSWER: usize = 4096;

/// Bytes of `struct nlmsghdr`, of `struct rtmsg` and of `struct rtattr`.
const MESSAGE_HEADER: usize = 16;
const ROUTE_HEADER: usize = 12;
const ATTRIBUTE_HEADER: usize = 4;

/// Hears of changes in the network namespace in which it is opened.
pub(crate) struct RouteWatch {
    changes: OwnedFd,
    questions: OwnedFd,
}

impl RouteWatch {
    pub(crate) fn open() -> io::Result<Self> {
        let open = |groups: u32| {
            let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK;
            let socket = sys::socket(libc::AF_NETLINK, kind)?;
            // struct sockaddr_nl: family, padding, our number (the kernel gives one), groups.
            let mut address = [0; 12];
            address[..2].copy_from_slice(&(libc::AF_NETLINK as u16).to_ne_bytes());
            address[8..].copy_from_slice(&groups.to_ne_bytes());
            sys::bind(socket.as_fd(), &address)?;
            io::Result::Ok(socket)
        };
        Ok(Self {
            changes: open(GROUPS)?,
            questions: open(0)?,
        })
    }

    /// Looks after the peers' ways until the device has ended.
    pub(crate) fn serve(&self, remote: &Remote) {
        while self.wait(remote, Some(&self.changes), None) {
            self.wait(remote, None, Some(SETTLING));
            for _ in 0..LOOKS {
                self.forget_changes();
                let Some(found) = self.look(remote) else {
                    return;
                };
                if !self.wait(remote, None, Some(REST)) {
                    return;
                }
                if !found {
                    break;
                }
            }
        }
    }

    /// Waits for a socket or for some time; false if the device has ended.
    fn wait(&self, remote: &Remote, socket: Option<&OwnedFd>, time: Option<Duration>) -> bool {
        let wanted = [Some(remote.closing().as_fd()), socket.map(AsFd::as_fd)]
            .map(|descriptor| (descriptor, libc::POLLIN));
        match sys::poll(wanted, time) {
            Ok([closing, _]) => closing == 0,
            // For want of memory; it may pass.
            Err(_) => {
                std::thread::sleep(REST);
                true
            }
        }
    }

    /// Reads what was told: that something was is all that matters.
    fn forget_changes(&self) {
        let mut nobody = [0; ANSWER];
        loop {
            match sys::receive(self.changes.as_fd(), &mut nobody) {
                Ok(_) => {}
                // More came than there was room for.
                Err(error) if sys::errno(&error) == libc::ENOBUFS => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// Looks at the ways of all peers, and whether some were wrong; none if the device has ended.
    fn look(&self, remote: &Remote) -> Option<bool> {
        let fwmark = remote.summary().ok()?.fwmark;
        let mut known = HashMap::new();
        let mut found = false;
        for page in remote.ways() {
            let gone: Vec<_> = page
                .ok()?
                .into_iter()
                .filter(|way| {
                    // Peers behind one address are one question.
                    let (to, local) = (way.0.ip(), way.1);
                    !*known
                        .entry((to, local.ip, local.interface))
                        .or_insert_with(|| self.leads(way.0, local, fwmark))
                })
                .collect();
            if !gone.is_empty() {
                tracing::debug!("{} ways to peers have changed", gone.len());
                remote.forget(&gone).ok()?;
                found = true;
            }
        }
        Some(found)
    }

    /// Whether the routing table would send from this address of ours by the same interface.
    fn leads(&self, to: SocketAddr, local: LocalAddress, fwmark: u32) -> bool {
        // The interface is a part of such an address: there is nothing to choose.
        if matches!(to, SocketAddr::V6(to) if to.scope_id() != 0) {
            return true;
        }
        match self.interface_towards(to.ip(), local.ip, fwmark) {
            Ok(interface) => interface == Some(local.interface),
            // Not for sure, so it stays: what cannot be sent is noticed in sending.
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }

    /// Asks by which interface the kernel sends (`RTM_GETROUTE`, rtnetlink(7)).
    fn interface_towards(&self, to: IpAddr, from: IpAddr, fwmark: u32) -> io::Result<Option<u32>> {
        self.forget_answers();
        sys::send(self.questions.as_fd(), &question(to, from, fwmark))?;
        let mut answer = [0; ANSWER];
        let len = sys::receive(self.questions.as_fd(), &mut answer)?;
        parse_answer(&answer[..len.min(ANSWER)])
    }

    /// The answer to a question that was broken off.
    fn forget_answers(&self) {
        while sys::receive(self.questions.as_fd(), &mut [0; 16]).is_ok() {}
    }
}

fn question(to: IpAddr, from: IpAddr, fwmark: u32) -> Vec<u8> {
    let family = if to.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let bits: u8 = if to.is_ipv4() { 32 } else { 128 };
    let mut message = vec![0; MESSAGE_HEADER];
    message[4..6].copy_from_slice(&libc::RTM_GETROUTE.to_ne_bytes());
    message[6..8].copy_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    // struct rtmsg: family, bits of destination and source; the rest are zeros.
    message.extend([family as u8, bits, bits]);
    message.resize(MESSAGE_HEADER + ROUTE_HEADER, 0);
    let mut push = |kind: u16, data: &[u8]| {
        let len = (ATTRIBUTE_HEADER + data.len()) as u16;
        message.extend(len.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(data);
    };
    for (kind, address) in [(libc::RTA_DST, to), (libc::RTA_SRC, from)] {
        match address {
            IpAddr::V4(address) => push(kind, &address.octets()),
            IpAddr::V6(address) => push(kind, &address.octets()),
        }
    }
    push(libc::RTA_MARK, &fwmark.to_ne_bytes());
    let len = message.len() as u32;
    message[..4].copy_from_slice(&len.to_ne_bytes());
    message
}

/// The interface that an answer names.
fn parse_answer(answer: &[u8]) -> io::Result<Option<u32>> {
    let Some(kind) = answer.get(4..6) else {
        return Ok(None);
    };
    let body = &answer[MESSAGE_HEADER.min(answer.len())..];
    if kind == (libc::NLMSG_ERROR as u16).to_ne_bytes() {
        let errno = integer(body).unwrap_or(0).cast_signed();
        return Err(io::Error::from_raw_os_error(-errno));
    }
    let mut attributes = body.get(ROUTE_HEADER..).unwrap_or_default();
    while let Some([a, b, c, d]) = attributes.first_chunk() {
        let len = usize::from(u16::from_ne_bytes([*a, *b])).max(ATTRIBUTE_HEADER);
        if u16::from_ne_bytes([*c, *d]) == libc::RTA_OIF {
            return Ok(attributes.get(ATTRIBUTE_HEADER..).and_then(integer));
        }
        attributes = attributes
            .get(len.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    Ok(None)
}

fn integer(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ip, run_isolated};

    fn local(address: &str, interface: &str) -> LocalAddress {
        LocalAddress {
            ip: address.parse().expect(address),
            interface: sys::interface_index(interface).expect(interface),
        }
    }

    #[test]
    fn a_way_leads_where_the_routing_table_does() {
        run_isolated(|| {
            let watch = RouteWatch::open().expect("a netlink socket");
            for name in ["wgr1", "wgr2"] {
                ip(&format!("link add {name} type veth peer name {name}p"));
                ip(&format!("link set {name} up"));
                ip(&format!("link set {name}p up"));
            }
            ip("address add 192.0.2.1/24 dev wgr1");
            ip("address add 198.51.100.1/24 dev wgr2");
            ip("address add 2001:db8:1::1/64 dev wgr1 nodad");
            ip("address add 2001:db8:2::1/64 dev wgr2 nodad");
            ip("rule add fwmark 7 table 77");
            ip("-6 rule add fwmark 7 table 77");
            for (peer, ours, better) in [
                ("192.0.2.9:7", "192.0.2.1", "192.0.2.9/32"),
                ("[2001:db8:1::9]:7", "2001:db8:1::1", "2001:db8:1::9/128"),
            ] {
                let to: SocketAddr = peer.parse().expect(peer);
                let way = local(ours, "wgr1");
                assert!(watch.leads(to, way, 0), "{peer}");
                assert!(!watch.leads(to, local(ours, "wgr2"), 0), "{peer}");
                ip(&format!("route add {better} dev wgr2"));
                assert!(!watch.leads(to, way, 0), "{peer}: a better route");
                // A rule may know better again.
                ip(&format!("route add {better} dev wgr1 table 77"));
                assert!(watch.leads(to, way, 7), "{peer}: marked");
                ip(&format!("route del {better} dev wgr2"));
                assert!(watch.leads(to, way, 0), "{peer}");
            }
            // Of IPv6 the kernel does not say so before something is sent.
            let gone = local("192.0.2.2", "wgr1");
            let to = SocketAddr::from(([192, 0, 2, 9], 7));
            assert!(!watch.leads(to, gone, 0), "not our address");
        });
    }

    #[test]
    fn changes_are_heard_of() {
        run_isolated(|| {
            let watch = RouteWatch::open().expect("a netlink socket");
            watch.forget_changes();
            let mut room = [0; ANSWER];
            assert!(sys::receive(watch.changes.as_fd(), &mut room).is_err());
            for command in [
                "link add wgr3 type veth peer name wgr4",
                "link set wgr4 up",
                "link set wgr3 up",
                "address add 192.0.2.1/24 dev wgr3",
                "route add 198.51.100.0/24 dev wgr3",
                "rule add fwmark 9 table 79",
                "-6 address add 2001:db8::1/64 dev wgr3 nodad",
                "-6 route add 2001:db8:9::/64 dev wgr3",
                "-6 rule add fwmark 9 table 79",
            ] {
                ip(command);
                let told = sys::receive(watch.changes.as_fd(), &mut room);
                assert!(told.is_ok(), "{command}");
                watch.forget_changes();
            }
        });
    }
}
