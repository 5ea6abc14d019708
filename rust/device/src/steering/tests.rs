//! The kernel and [`Share`] agree on who owns what.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use wgbind_tunnel::{DatagramIn, PacketIn, Share};

use super::*;
use crate::features::Features;
use crate::name::InterfaceName;
use crate::testing::{ip, run_isolated, wait_until};
use crate::tun::Tun;
use crate::udp::{RECEIVE_BATCH, UdpSockets};

const WORKERS: usize = 3;

fn share() -> Share {
    Share::split(WORKERS).next().expect("a share")
}

#[test]
fn packets_are_read_by_the_owner_of_their_destination() {
    run_isolated(|| {
        let name = InterfaceName::parse("wgq0").expect("a name");
        let mut refused = None;
        let steer = |queue: BorrowedFd<'_>, workers| {
            steer_packets(queue, workers).inspect_err(|error| refused = error.raw_os_error())
        };
        let mut queues =
            Tun::open_queues(&name, 1420, Features::default(), WORKERS, steer).expect("open");
        if refused == Some(libc::EPERM) {
            return; // root of a user namespace only may load no program (bpf(2))
        }
        ip("address add 10.9.0.1/16 dev wgq0");
        ip("link set wgq0 up");
        ip("address add fd09::1/64 dev wgq0 nodad");
        let mut slots = [PacketIn::default(), PacketIn::default()];
        for host in 2..60_u16 {
            let v6 = 0xfd09_u128 << 112 | u128::from(host) << 7;
            for to in [
                IpAddr::from([10, 9, (host >> 8) as u8, host as u8]),
                IpAddr::from(v6.to_be_bytes()),
            ] {
                let socket = UdpSocket::bind(if to.is_ipv4() {
                    "10.9.0.1:0"
                } else {
                    "[fd09::1]:0"
                })
                .expect("a socket");
                socket.send_to(b"whose", (to, 9)).expect("sent");
                let owner = share().owner_of_address(to);
                wait_until("the owner reads it", || {
                    let read = queues[owner].read(&mut slots).expect("not removed");
                    slots[..read].iter().any(|slot| is_to(slot, to))
                });
                // What the kernel has to say on its own account is for a multicast group.
                for queue in &mut queues {
                    let read = queue.read(&mut slots).expect("not removed");
                    assert!(!slots[..read].iter().any(|slot| is_to(slot, to)));
                }
            }
        }
    });
}

fn is_to(slot: &PacketIn, to: IpAddr) -> bool {
    match to {
        IpAddr::V4(to) => slot.buffer[16..20] == to.octets(),
        IpAddr::V6(to) => slot.buffer[24..40] == to.octets(),
    }
}

#[test]
fn data_goes_to_the_owner_of_its_receiver_index_and_handshakes_to_the_porter() {
    run_isolated(|| {
        let group =
            UdpSockets::bind_group(0, 0, WORKERS, Features::default()).expect("a free port");
        let port = group[0].port();
        let senders: Vec<_> = ["127.0.0.1:0", "[::1]:0"]
            .iter()
            .filter_map(|address| UdpSocket::bind(address).ok())
            .collect();
        let mut slots: Vec<_> = std::iter::repeat_with(DatagramIn::default)
            .take(RECEIVE_BATCH)
            .collect();
        for sender in &senders {
            let ip = sender.local_addr().expect("an address").ip();
            let to = SocketAddr::new(ip, port);
            for top in 0..=u8::MAX {
                let index = u32::from_be_bytes([top, 0x12, 0x34, top ^ 0xff]);
                let owner = share().owner_of_index(index);
                // The type, the length of such a message, and whose it is.
                for (kind, len, owner) in [
                    (1, 148, WORKERS),
                    (2, 92, WORKERS),
                    (3, 64, WORKERS),
                    (top | 8, 40, WORKERS),
                    (4, 32, owner),
                    (4, 1452, owner),
                ] {
                    let mut message = vec![0xff; len];
                    message[0] = kind;
                    message[4..8].copy_from_slice(&index.to_le_bytes());
                    sender.send_to(&message, to).expect("sent");
                    wait_until("its owner gets it", || {
                        let mut sockets = group[owner].iter();
                        sockets.any(|socket| socket.receive(&mut slots) == 1)
                    });
                }
            }
        }
    });
}

#[test]
fn what_is_too_short_comes_to_somebody() {
    run_isolated(|| {
        let group =
            UdpSockets::bind_group(0, 0, WORKERS, Features::default()).expect("a free port");
        let to = SocketAddr::from(([127, 0, 0, 1], group[0].port()));
        let mut slots: Vec<_> = std::iter::repeat_with(DatagramIn::default)
            .take(RECEIVE_BATCH)
            .collect();
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for message in [[4].as_slice(), &[4, 0, 0, 0, 1, 2, 3], &[2], &[9; 3]] {
            sender.send_to(message, to).expect("sent");
            wait_until("somebody gets it", || {
                let mut sockets = group.iter().flat_map(UdpSockets::iter);
                sockets.any(|socket| socket.receive(&mut slots) == 1)
            });
        }
    });
}

#[test]
fn a_program_that_the_kernel_does_not_take_is_an_error() {
    let file = std::fs::File::open("/dev/null").expect("a file");
    assert!(steer_packets(file.as_fd(), WORKERS).is_err());
    assert!(steer_datagrams(file.as_fd(), WORKERS).is_err());
    let endless = packet_program(WORKERS).map(|instruction| Instruction {
        code: 0x05,
        offset: -1,
        ..instruction
    });
    assert!(load(&endless).is_err());
}
