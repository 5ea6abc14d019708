//! Real datagrams over loopback, without privileges.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use wgbind_tunnel::{DatagramIn, Ecn, LocalAddress, Transmit};

use super::*;
use crate::latch::Latch;
use crate::testing;

const SEGMENT: usize = 1200;

fn slots() -> Vec<DatagramIn> {
    std::iter::repeat_with(DatagramIn::default)
        .take(RECEIVE_BATCH)
        .collect()
}

fn bound() -> UdpSockets {
    bound_without(&[])
}

fn bound_without(names: &[&str]) -> UdpSockets {
    let features = Features::without(names).expect("known");
    UdpSockets::bind(0, 0, features).expect("a free port")
}

fn loopback(family: Family, port: u16) -> SocketAddr {
    match family {
        Family::V4 => SocketAddr::from(([127, 0, 0, 1], port)),
        Family::V6 => SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)),
    }
}

/// Both families; only IPv4 where this machine has no IPv6, which is a case of its own.
fn families() -> Vec<Family> {
    let has_v6 = std::net::UdpSocket::bind("[::1]:0").is_ok();
    if has_v6 {
        vec![Family::V4, Family::V6]
    } else {
        vec![Family::V4]
    }
}

/// A run of `len` bytes that count up.
fn run(destination: SocketAddr, len: usize) -> DatagramsOut {
    DatagramsOut {
        buffer: (0..len).map(|i| (i % 251) as u8).collect(),
        runs: vec![Transmit {
            range: 0..len,
            segment_size: SEGMENT,
            destination,
            local: None,
            traffic_class: 0,
        }],
        ..DatagramsOut::default()
    }
}

/// Receives until `wanted` bytes are in; returns the datagrams and the last slot's details.
fn receive(sockets: &UdpSockets, wanted: usize) -> (Vec<Vec<u8>>, DatagramIn) {
    let mut slots = slots();
    let mut datagrams: Vec<Vec<u8>> = Vec::new();
    let mut last = DatagramIn::default();
    let deadline = Instant::now() + testing::PATIENCE;
    while datagrams.iter().map(Vec::len).sum::<usize>() < wanted {
        assert!(
            Instant::now() < deadline,
            "datagrams are missing: {}",
            datagrams.len()
        );
        for socket in sockets.iter() {
            let received = socket.receive(&mut slots);
            for slot in &mut slots[..received] {
                let bytes = &slot.buffer[..slot.len];
                datagrams.extend(bytes.chunks(slot.segment_size).map(<[u8]>::to_vec));
                last = std::mem::take(slot);
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    (datagrams, last)
}

fn assert_train_arrives(sender: &mut UdpSockets, family: Family) -> DatagramIn {
    let receiver = bound();
    let len = 9 * SEGMENT + 100;
    let out = run(loopback(family, receiver.port()), len);
    assert_eq!(sender.send(&out), 0);
    let (datagrams, last) = receive(&receiver, len);
    let sizes: Vec<_> = datagrams.iter().map(Vec::len).collect();
    assert_eq!(sizes, [[SEGMENT; 9].as_slice(), &[100]].concat());
    assert_eq!(datagrams.concat(), out.buffer);
    assert_eq!(last.source, loopback(family, sender.port()));
    last
}

#[test]
fn a_train_is_cut_and_joined_by_the_kernel() {
    for family in families() {
        let mut sender = bound();
        let last = assert_train_arrives(&mut sender, family);
        assert_eq!(
            sender
                .iter()
                .filter(|socket| socket.gso == Latch::Works)
                .count(),
            1
        );
        assert_eq!(
            last.len,
            9 * SEGMENT + 100,
            "{family:?}: one slot took the train"
        );
        assert_eq!(last.segment_size, SEGMENT);
    }
}

#[test]
fn a_train_goes_out_singly_where_the_kernel_cannot_cut() {
    for family in families() {
        let mut sender = bound_without(&["udp_gso"]);
        let last = assert_train_arrives(&mut sender, family);
        assert_eq!(last.len, last.segment_size);
        assert!(sender.iter().all(|socket| socket.gso == Latch::Off));
    }
}

#[test]
fn a_train_comes_in_singly_where_the_kernel_does_not_join() {
    for family in families() {
        let receiver = bound_without(&["udp_gro"]);
        let out = run(loopback(family, receiver.port()), 3 * SEGMENT);
        assert_eq!(bound().send(&out), 0);
        let (datagrams, last) = receive(&receiver, 3 * SEGMENT);
        assert_eq!(datagrams.concat(), out.buffer);
        assert_eq!((last.len, last.segment_size), (SEGMENT, SEGMENT));
        assert!(!receiver.features().udp_gro && bound().features().udp_gro);
    }
}

/// 65 datagrams and more are refused with EINVAL by kernels that cut 64, and those that cut 128
/// refuse 129: the socket learns it, and everything arrives.
#[test]
fn a_train_that_the_kernel_refuses_goes_out_singly() {
    let receiver = bound();
    let mut sender = bound();
    let mut out = run(loopback(Family::V4, receiver.port()), 129 * 20);
    out.runs[0].segment_size = 20;
    assert_eq!(sender.send(&out), 0);
    let (datagrams, _) = receive(&receiver, 129 * 20);
    assert_eq!(datagrams.len(), 129);
    assert_eq!(datagrams.concat(), out.buffer);
    assert_eq!(
        sender.sockets[0].as_ref().map(|socket| socket.gso),
        Some(Latch::Off)
    );
    // Once it is known to work, a refusal is about one train.
    let mut sender = bound();
    assert_train_arrives(&mut sender, Family::V4);
    assert_eq!(sender.send(&out), 0);
    assert_eq!(
        sender.sockets[0].as_ref().map(|socket| socket.gso),
        Some(Latch::Works)
    );
}

/// The route's MTU may shrink at any time: the kernel cuts no train into fragments, but single
/// datagrams it does.
#[test]
fn datagrams_above_the_path_mtu_go_out_singly() {
    testing::run_isolated(|| {
        for family in families() {
            testing::ip("link set lo mtu 65536");
            let mut sender = bound();
            assert_train_arrives(&mut sender, family);
            testing::ip("link set lo mtu 1280");
            let receiver = bound();
            let mut out = run(loopback(family, receiver.port()), 9 * 1400);
            out.runs[0].segment_size = 1400;
            assert_eq!(sender.send(&out), 0);
            let (datagrams, last) = receive(&receiver, 9 * 1400);
            assert_eq!(datagrams.concat(), out.buffer);
            assert_eq!((last.len, last.segment_size), (1400, 1400));
            assert!(sender.features().udp_gso, "of use to all other peers");
        }
    });
}

#[test]
fn many_runs_of_both_families_keep_their_order() {
    let families = families();
    let receiver = bound();
    let mut sender = bound();
    let mut out = DatagramsOut::default();
    for i in 0..200_u8 {
        let start = out.buffer.len();
        out.buffer.extend([i; 40]);
        out.runs.push(Transmit {
            range: start..start + 40,
            segment_size: 40,
            destination: loopback(families[usize::from(i) % families.len()], receiver.port()),
            local: None,
            traffic_class: 0,
        });
    }
    assert_eq!(sender.send(&out), 0);
    let (datagrams, _) = receive(&receiver, out.buffer.len());
    for remainder in 0..families.len() {
        let order: Vec<_> = datagrams
            .iter()
            .map(|datagram| usize::from(datagram[0]))
            .filter(|i| i % families.len() == remainder)
            .collect();
        assert!(
            order.is_sorted() && order.len() == 200 / families.len(),
            "{order:?}"
        );
    }
}

#[test]
fn the_local_address_and_ecn_are_told_and_obeyed() {
    for family in families() {
        let receiver = bound();
        let mut sender = bound();
        let mut out = run(loopback(family, receiver.port()), 3 * SEGMENT);
        out.runs[0].traffic_class = 0x88 | Ecn::Capable1 as u8;
        assert_eq!(sender.send(&out), 0);
        let (_, last) = receive(&receiver, 3 * SEGMENT);
        let local = last.local.expect("packet info");
        assert_eq!(local.ip, loopback(family, 0).ip());
        assert_ne!(local.interface, 0);
        assert_eq!(last.ecn, Ecn::Capable1);
        // All of 127.0.0.0/8 is this host's: leave from another address than the usual.
        let from = match family {
            Family::V4 => LocalAddress {
                ip: [127, 9, 8, 7].into(),
                ..local
            },
            Family::V6 => local,
        };
        out.runs[0].local = Some(from);
        assert_eq!(sender.send(&out), 0);
        let (_, last) = receive(&receiver, 3 * SEGMENT);
        assert_eq!(last.source.ip(), from.ip);
    }
}

#[test]
fn a_local_address_that_went_away_is_left_out() {
    for family in families() {
        let receiver = bound();
        let mut sender = bound();
        for len in [100, 3 * SEGMENT] {
            for interface in [0, 0x7fff_fff0] {
                let mut out = run(loopback(family, receiver.port()), len);
                let ip = match family {
                    Family::V4 => [192, 0, 2, 1].into(),
                    Family::V6 => "2001:db8::1".parse().expect("an address"),
                };
                out.runs[0].local = Some(LocalAddress { ip, interface });
                assert_eq!(sender.send(&out), 0, "{family:?} {len} {interface}");
                let (datagrams, last) = receive(&receiver, len);
                assert_eq!(datagrams.concat(), out.buffer);
                assert_eq!(last.source.ip(), loopback(family, 0).ip());
                let wanted = out.runs[0].local.expect("set above");
                let gone = std::mem::take(&mut sender.gone);
                assert_eq!(gone, [(out.runs[0].destination, wanted)], "once");
            }
        }
    }
}

#[test]
fn what_cannot_be_sent_is_counted_and_the_rest_goes_out() {
    let receiver = bound();
    let mut sender = bound();
    let mut out = run(loopback(Family::V4, receiver.port()), 3 * SEGMENT);
    // Datagrams to a broadcast address need SO_BROADCAST: EACCES.
    let refused = Transmit {
        destination: SocketAddr::from(([255, 255, 255, 255], 9)),
        ..out.runs[0].clone()
    };
    out.runs.insert(0, refused.clone());
    out.runs.push(refused);
    assert_eq!(sender.send(&out), 6);
    assert_eq!(receive(&receiver, 3 * SEGMENT).0.len(), 3);
}

#[test]
fn empty_datagrams_are_passed_over() {
    let receiver = bound();
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let to = loopback(Family::V4, receiver.port());
    for datagram in [&b""[..], b"one", b"", b"two"] {
        sender.send_to(datagram, to).expect("sent");
    }
    let (datagrams, _) = receive(&receiver, 6);
    assert_eq!(datagrams, [b"one", b"two"]);
}

/// Bytes of memory that the datagrams take which wait in the IPv4 socket of a port.
fn waiting(port: u16) -> u64 {
    let table = std::fs::read_to_string("/proc/thread-self/net/udp").expect("procfs");
    let mut lines = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|line| line[1].ends_with(&format!(":{port:04X}")));
    let queues = line.expect("the socket")[4];
    let received = queues.split(':').next_back().expect("two sizes");
    u64::from_str_radix(received, 16).expect("a number")
}

#[test]
fn a_crowd_of_single_datagrams_comes_in_larger_batches() {
    let receiver = bound();
    let to = loopback(Family::V4, receiver.port());
    let senders: Vec<_> = (0..60)
        .map(|_| std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket"))
        .collect();
    let mut first = 0;
    for (number, sender) in senders.iter().enumerate() {
        sender.send_to(&[number as u8; 100], to).expect("sent");
        // A busy kernel leaves loopback's packets to a thread of its own.
        testing::wait_until("it is there to be received", || {
            let waiting = waiting(receiver.port());
            if number == 0 {
                first = waiting;
            }
            waiting > 0 && waiting == first * (number as u64 + 1)
        });
    }
    let mut slots = slots();
    let socket = receiver.iter().next().expect("IPv4");
    let mut came = Vec::new();
    let batches: Vec<_> = std::iter::repeat_with(|| {
        let received = socket.receive(&mut slots);
        came.extend(slots[..received].iter().map(|slot| slot.buffer[0]));
        received
    })
    .take_while(|received| *received > 0)
    .collect();
    assert_eq!(batches, [8, 16, 16, 16, 4]);
    assert_eq!(came, (0..60).collect::<Vec<u8>>());
}

#[test]
fn both_families_have_the_same_port_and_a_taken_one_is_refused() {
    let sockets = bound();
    for socket in sockets.iter() {
        assert_eq!(socket.port().expect("a port"), sockets.port());
    }
    let Err(error) = UdpSockets::bind(sockets.port(), 0, Features::default()) else {
        panic!("bound twice");
    };
    assert!(matches!(error, Error::InUse { .. }), "{error}");
}

#[test]
fn a_host_without_ipv6_sends_what_it_can() {
    let receiver = bound();
    let mut sender = bound_without(&["udp_ipv6"]);
    assert!(!sender.features().udp_ipv6);
    assert_train_arrives(&mut sender, Family::V4);
    let out = run(loopback(Family::V6, receiver.port()), 3 * SEGMENT);
    assert_eq!(sender.send(&out), 3);
    assert!(unless_unsupported(Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT))).is_ok());
    assert!(unless_unsupported(Err(io::Error::from_raw_os_error(libc::EADDRINUSE))).is_err());
}
