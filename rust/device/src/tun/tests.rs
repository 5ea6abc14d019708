//! A real TUN interface, in a network namespace of the test's own.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use wgbind_tunnel::batch::SLACK;

use super::*;
use crate::testing::{self, Namespace, ip};

const NAME: &str = "wgt0";
/// The interface's address, and one behind it.
const HERE: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 2);

fn open() -> Tun {
    open_with(Features::default())
}

fn open_with(wanted: Features) -> Tun {
    let name = InterfaceName::parse(NAME).expect("a name");
    let tun = Tun::open(&name, 1400, wanted).expect("an interface");
    ip(&format!("address add {HERE}/24 dev {NAME}"));
    ip(&format!("link set {NAME} up"));
    tun
}

/// Reads until a UDP packet comes; the kernel says hello to the network by itself.
fn read_udp(tun: &mut Tun) -> PacketIn {
    let mut slots = [PacketIn::default()];
    let deadline = Instant::now() + testing::PATIENCE;
    loop {
        let read = tun.read(&mut slots).expect("the interface is there");
        let packet = &slots[0].buffer[..slots[0].len];
        if read == 1 && packet[0] >> 4 == 4 && packet[9] == 17 {
            let [slot] = slots;
            return slot;
        }
        assert!(Instant::now() < deadline, "no packet came");
        thread::sleep(Duration::from_millis(1));
    }
}

/// An IPv4 packet with a UDP datagram from THERE to HERE, and its checksums.
fn packet(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let udp_len = (8 + payload.len()) as u16;
    let mut udp = [
        from.to_be_bytes(),
        to.to_be_bytes(),
        udp_len.to_be_bytes(),
        [0; 2],
    ]
    .concat();
    udp.extend(payload);
    let pseudo = [
        &THERE.octets()[..],
        &HERE.octets(),
        &[0, 17],
        &udp_len.to_be_bytes(),
    ]
    .concat();
    let sum = checksum(&[pseudo, udp.clone()].concat());
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    let mut ip = vec![0x45, 0];
    ip.extend((20 + udp_len).to_be_bytes());
    ip.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    ip.extend(THERE.octets());
    ip.extend(HERE.octets());
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    [ip, udp].concat()
}

/// RFC 1071, the slow way.
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// Packets to HERE, one for each payload.
fn packets(to: u16, payloads: &[Vec<u8>]) -> PacketsOut {
    let mut out = PacketsOut::default();
    for payload in payloads {
        let start = out.buffer.len();
        out.buffer.extend(packet(7777, to, payload));
        out.packets.push(start..out.buffer.len());
        out.buffer.extend([0; SLACK]);
    }
    out
}

fn listen() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind((HERE, 0)).expect("a socket");
    socket
        .set_read_timeout(Some(testing::PATIENCE))
        .expect("a timeout");
    let port = socket.local_addr().expect("an address").port();
    (socket, port)
}

fn assert_received(socket: &UdpSocket, payloads: &[Vec<u8>]) {
    let mut buffer = [0; 2048];
    for payload in payloads {
        let (len, from) = socket.recv_from(&mut buffer).expect("a datagram");
        assert_eq!(&buffer[..len], payload);
        assert_eq!(from, SocketAddr::from((THERE, 7777)));
    }
}

#[test]
fn packets_come_out_and_go_in() {
    testing::run_isolated(|| {
        let mut tun = open();
        let (socket, port) = listen();
        socket.send_to(b"out", (THERE, 9)).expect("sent");
        let read = read_udp(&mut tun);
        assert_eq!(read.header.gso_type, GsoType::None);
        assert_eq!(&read.buffer[16..20], &THERE.octets());
        assert_eq!(&read.buffer[28..read.len], b"out");

        let payloads = [b"in".to_vec(), b"and again".to_vec()];
        tun.write(&mut packets(port, &payloads))
            .expect("the interface is there");
        assert_received(&socket, &payloads);
        assert_eq!(tun.drops, 0);
    });
}

#[test]
fn a_super_packet_comes_out_whole() {
    testing::run_isolated(|| {
        let mut tun = open();
        let (socket, _) = listen();
        let kernel_has_uso = tun.offloads.udp;
        sys::set_option(socket.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 500).expect("GSO");
        socket.send_to(&[7; 2100], (THERE, 9)).expect("sent");
        let read = read_udp(&mut tun);
        if kernel_has_uso {
            assert_eq!(
                (read.header.gso_type, read.header.gso_size),
                (GsoType::UdpL4, 500)
            );
            assert_eq!(read.len, 28 + 2100);
        } else {
            assert_eq!((read.header.gso_type, read.len), (GsoType::None, 28 + 500));
        }
    });
}

/// What the kernel is not to hand over whole, it cuts itself.
#[test]
fn a_super_packet_comes_out_in_pieces_where_it_is_not_wanted() {
    for (name, vnet_hdr) in [("tun_uso", true), ("tun_vnet_hdr", false)] {
        testing::run_isolated(|| {
            let wanted = Features::without(&[name]).expect("known");
            let mut tun = open_with(wanted);
            assert_eq!(tun.features(), wanted);
            assert_eq!(tun.header_len > 0, vnet_hdr);
            let (socket, _) = listen();
            sys::set_option(socket.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 500).expect("GSO");
            socket.send_to(&[7; 1200], (THERE, 9)).expect("sent");
            for len in [500, 500, 200] {
                let read = read_udp(&mut tun);
                assert_eq!((read.header.gso_type, read.len), (GsoType::None, 28 + len));
            }
        });
    }
}

#[test]
fn nothing_is_joined_that_is_not_wanted_so() {
    for name in ["tun_gro", "tun_vnet_hdr"] {
        testing::run_isolated(|| {
            let wanted = Features::without(&[name]).expect("known");
            let mut tun = open_with(wanted);
            let (socket, port) = listen();
            tun.write(&mut packets(port, &equal_payloads()))
                .expect("the interface is there");
            assert_received(&socket, &equal_payloads());
            assert_eq!((tun.tcp, tun.udp), (Latch::Off, Latch::Off));
            assert_eq!((tun.features(), tun.drops), (wanted, 0));
        });
    }
}

fn equal_payloads() -> Vec<Vec<u8>> {
    (0..20).map(|i| vec![i; 1000]).collect()
}

#[test]
fn joined_packets_arrive_one_by_one() {
    testing::run_isolated(|| {
        let mut tun = open();
        let (socket, port) = listen();
        tun.write(&mut packets(port, &equal_payloads()))
            .expect("the interface is there");
        assert_received(&socket, &equal_payloads());
        assert_eq!(tun.drops, 0);
        let expected = if tun.offloads.udp {
            Latch::Works
        } else {
            Latch::Off
        };
        assert_eq!(tun.udp, expected);
    });
}

/// Where the kernel takes none, and where it refuses one: this kernel takes them, so the refusal
/// is brought about by a header that is not sound.
#[test]
fn what_cannot_be_joined_is_written_singly() {
    testing::run_isolated(|| {
        let mut tun = open();
        let (socket, port) = listen();
        tun.udp = Latch::Off;
        tun.write(&mut PacketsOut::default())
            .expect("the interface is there");
        assert!(!tun.offloads.udp);
        assert!(!tun.features().tun_gro);
        tun.write(&mut packets(port, &equal_payloads()))
            .expect("the interface is there");
        assert_received(&socket, &equal_payloads());
        assert_eq!(tun.udp, Latch::Off);

        let mut out = packets(port, &equal_payloads());
        let mut coalescer = Coalescer::new(Offloads {
            tcp: true,
            udp: true,
        });
        for write in coalescer.plan(&mut out.buffer, &out.packets) {
            assert_eq!(write.header.gso_type, GsoType::UdpL4);
            let pieces = || write.ranges.iter().map(|range| &out.buffer[range.clone()]);
            let unsound = VirtioHeader {
                gso_size: 0,
                ..write.header
            };
            let unsound = unsound.encode();
            let refused = write_vectored(&tun.file, &unsound, pieces).expect_err("refused");
            assert_eq!(sys::errno(&refused), libc::EINVAL);
            assert_eq!(write_singly(&tun.file, write.header, pieces()), 0);
        }
        assert_received(&socket, &equal_payloads());
    });
}

#[test]
fn a_packet_that_the_kernel_refuses_is_counted() {
    testing::run_isolated(|| {
        let mut tun = open();
        let (socket, port) = listen();
        let mut out = packets(port, &[b"last".to_vec()]);
        // Neither IPv4 nor IPv6: EINVAL.
        let start = out.buffer.len();
        out.buffer.extend([0x75; 40]);
        out.packets.insert(0, start..start + 40);
        tun.write(&mut out).expect("the interface is there");
        assert_received(&socket, &[b"last".to_vec()]);
        assert_eq!(tun.drops, 1);
        // An interface that is down takes nothing, and that is no reason to end.
        ip(&format!("link set {NAME} down"));
        tun.write(&mut packets(port, &equal_payloads()))
            .expect("the interface is there");
        assert_eq!(tun.drops, 21);
        assert!(tun.read(&mut [PacketIn::default()]).is_ok());
    });
}

#[test]
fn a_removed_interface_is_noticed() {
    testing::run_isolated(|| {
        let mut tun = open();
        ip(&format!("link del {NAME}"));
        assert!(tun.read(&mut [PacketIn::default()]).is_err());
        assert!(tun.write(&mut packets(1, &[vec![0]])).is_err());
        let [events] = sys::poll([(Some(tun.as_fd()), libc::POLLIN)], None).expect("polled");
        assert_ne!(events, 0, "a worker that waits is woken");
    });
}

#[test]
fn an_interface_goes_with_its_queue() {
    testing::run_isolated(|| {
        let tun = open();
        assert!(testing::has_interface(NAME));
        drop(tun);
        testing::wait_until_gone(NAME);
    });
}

#[test]
fn name_and_mtu_follow_the_interface() {
    testing::run_isolated(|| {
        let mut tun = open();
        assert_eq!(
            (tun.name().expect("a name").as_str(), tun.mtu()),
            (NAME, 1400)
        );
        ip(&format!("link set {NAME} mtu 1300 name wgt1"));
        assert_eq!(
            (tun.name().expect("a name").as_str(), tun.mtu()),
            ("wgt1", 1300)
        );
        let other = Namespace::new();
        ip(&format!("link set wgt1 netns {} name wgt2", other.id()));
        assert_eq!(
            (tun.name().expect("a name").as_str(), tun.mtu()),
            ("wgt2", 1300)
        );
    });
}

#[test]
fn a_name_that_is_taken_is_refused() {
    testing::run_isolated(|| {
        let name = InterfaceName::parse(NAME).expect("a name");
        let _tun = open();
        let refusal = |name: &InterfaceName, mtu| {
            let opened = Tun::open(name, mtu, Features::default());
            opened.err().expect("refused")
        };
        let refused = refusal(&name, 1400);
        assert!(matches!(refused, Error::InUse { .. }), "{refused}");
        let refused = refusal(&InterfaceName::parse("lo").expect("a name"), 1400);
        assert!(matches!(refused, Error::InUse { .. }), "{refused}");
        let name = InterfaceName::parse("wgt1").expect("a name");
        let refused = refusal(&name, 10);
        assert!(
            refused
                .to_string()
                .starts_with("setting the MTU of wgt1 to 10: "),
            "{refused}"
        );
        testing::wait_until_gone("wgt1");
    });
}
