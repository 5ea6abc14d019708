//! Devices of several workers. The server's interface is in the test's own namespace, and each
//! client's in one of the client's own.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::PathBuf;

use wgbind_tunnel::Hub;

use super::*;
use crate::sys;

const WORKERS: usize = 2;
const CLIENTS: u8 = 6;
/// A window that is lost holds up the rest of its flow for so long only.
const STALL: Duration = Duration::from_secs(2);

struct Client {
    device: Device,
    namespace: Namespace,
    public_key: PublicKey,
    /// The first is the one that its worker's queue is steered by, the second one's packets are
    /// steered to the other worker.
    addresses: [Ipv4Addr; 2],
}

struct Star {
    server: Device,
    clients: Vec<Client>,
}

fn config(name: &str, workers: usize) -> DeviceConfig {
    DeviceConfig {
        name: name.to_owned(),
        mtu: 1420,
        control_socket: false,
        workers: Some(workers),
        features: Features::default(),
    }
}

/// An address of the network that packets to are read by that worker.
fn address_of(worker: usize, hosts: Range<u8>) -> Ipv4Addr {
    let share = Share::split(WORKERS).next().expect("a share");
    hosts
        .map(|host| Ipv4Addr::new(10, 7, 0, host))
        .find(|address| share.owner_of_address(IpAddr::V4(*address)) == worker)
        .expect("an address for each worker")
}

impl Star {
    /// A server that has sessions with clients, whose endpoints it has learned.
    fn new(server: Device, name: &str) -> Self {
        ip(&format!("address add 10.7.0.1/24 dev {name}"));
        ip(&format!("link set {name} up"));
        let key = PrivateKey::generate();
        server.set(key_change(&key)).expect("applied");
        let clients = (0..CLIENTS)
            .map(|number| {
                Client::new(
                    format!("{name}c{number}"),
                    number,
                    &server,
                    key.public_key(),
                )
            })
            .collect();
        let star = Self { server, clients };
        for device in star.clients.iter().map(|client| &client.device) {
            pin(device.name());
        }
        pin(name);
        for client in &star.clients {
            star.assert_talks(client);
        }
        star
    }

    fn assert_talks(&self, client: &Client) {
        for address in client.addresses {
            let echo = client.echo(address);
            assert_eq!(exchange(address, echo, 1, 1, PATIENCE), 1, "{address}");
        }
    }

    fn endpoint(&self, client: &Client) -> Option<SocketAddr> {
        let peers = self.server.snapshot().expect("running").peers;
        let peer = peers
            .iter()
            .find(|peer| peer.public_key == client.public_key);
        peer.and_then(|peer| peer.endpoint)
    }
}

impl Client {
    fn new(name: String, number: u8, server: &Device, server_key: PublicKey) -> Self {
        let key = PrivateKey::generate();
        let device = Device::open(config(&name, 1)).expect("a device");
        device.set(key_change(&key)).expect("applied");
        let change = peer_change(server_key, "10.7.0.0/24", Some(port(server)));
        device.set(change).expect("applied");
        let namespace = Namespace::new();
        ip(&format!("link set {name} netns {}", namespace.id()));
        let hosts = 10 * number + 10..10 * number + 20;
        let owner = usize::from(number) % WORKERS;
        let addresses = [owner, 1 - owner].map(|worker| address_of(worker, hosts.clone()));
        namespace.run(move || {
            for address in addresses {
                ip(&format!("address add {address}/24 dev {name}"));
            }
            ip(&format!("link set {name} up"));
        });
        let prefix = |address| format!("{address}/32").parse().expect("a prefix");
        let mut change = peer_change(key.public_key(), "10.7.0.0/32", None);
        change.tunnel.peers[0].allowed_ips = addresses.map(prefix).map(AllowedIpChange::add).into();
        server.set(change).expect("applied");
        let client = Self {
            device,
            namespace,
            public_key: key.public_key(),
            addresses,
        };
        // Nobody else knows where it is.
        client.namespace.run(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.send_to(b"hello", "10.7.0.1:9").expect("sent");
        });
        wait_until("the server knows the client", || {
            let peers = server.snapshot().expect("running").peers;
            let known = |peer: &PeerStatus| peer.public_key == client.public_key;
            peers
                .iter()
                .any(|peer| known(peer) && peer.last_handshake.is_some())
        });
        client
    }

    /// A socket at one of its addresses that returns every datagram, until it is told to stop or
    /// nothing comes; returns its port.
    fn echo(&self, address: Ipv4Addr) -> u16 {
        self.namespace.run(move || {
            let socket = UdpSocket::bind((address, 0)).expect("a socket");
            socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            let port = socket.local_addr().expect("an address").port();
            thread::spawn(move || {
                let mut buffer = [0; 2048];
                while let Ok((len, from)) = socket.recv_from(&mut buffer)
                    && len > 0
                {
                    let _ = socket.send_to(&buffer[..len], from);
                }
            });
            port
        })
    }
}

/// Sends numbered datagrams to an echo, `window` of them ahead; returns how many came back, in
/// order. What has not come after `patience` is lost.
fn exchange(address: Ipv4Addr, port: u16, count: u32, window: u32, patience: Duration) -> u32 {
    let socket = UdpSocket::bind("10.7.0.1:0").expect("a socket");
    socket.connect((address, port)).expect("connected");
    socket.set_read_timeout(Some(patience)).expect("a timeout");
    let (mut sent, mut received, mut next) = (0, 0, 0);
    let mut buffer = [0; 2048];
    while next < count {
        while sent < count.min(next + window) {
            let len = 100 + 7 * (sent as usize % 100);
            buffer[..4].copy_from_slice(&sent.to_be_bytes());
            socket.send(&buffer[..len]).expect("sent");
            sent += 1;
        }
        match socket.recv(&mut buffer) {
            Ok(_) => {
                let number = u32::from_be_bytes(*buffer.first_chunk().expect("a number"));
                assert!(number >= next, "{address}: {number} came after {next}");
                (received, next) = (received + 1, number + 1);
            }
            Err(_) => next = sent,
        }
    }
    let _ = socket.send(&[]);
    received
}

/// Sends and takes back so many bytes over TCP.
fn transfer(client: &Client, address: Ipv4Addr, bytes: usize) {
    let port = client.namespace.run(move || {
        let listener = TcpListener::bind((address, 0)).expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("read");
            stream.write_all(&all).expect("written");
        });
        port
    });
    let mut stream = TcpStream::connect((address, port)).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let all: Vec<u8> = (0..bytes).map(|i| (i % 251) as u8).collect();
    stream.write_all(&all).expect("written");
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("shut down");
    let mut back = Vec::new();
    stream.read_to_end(&mut back).expect("read");
    assert!(back == all, "{address}: {} bytes came back", back.len());
}

/// How often TCP in this namespace has seen that its segments were reordered.
fn reorderings() -> u64 {
    let table = std::fs::read_to_string("/proc/thread-self/net/netstat").expect("procfs");
    let mut lines = table.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let counts: BTreeMap<_, _> = names.split(' ').zip(values.split(' ')).collect();
    ["TCPSACKReorder", "TCPTSReorder"]
        .iter()
        .map(|name| counts[name].parse::<u64>().expect("a number"))
        .sum()
}

/// The threads of a device's workers, in the order of their numbers.
fn workers(name: &str) -> Vec<PathBuf> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("procfs");
    let mut workers = BTreeMap::new();
    for task in tasks {
        let task = task.expect("a task").path();
        let comm = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
        if comm.starts_with("worker ") && comm.trim().ends_with(name) {
            workers.insert(comm, task);
        }
    }
    workers.into_values().collect()
}

/// Nanoseconds of CPU time that each worker has taken.
fn busy(name: &str) -> Vec<u64> {
    let of = |task: &PathBuf| {
        let stat = std::fs::read_to_string(task.join("schedstat")).expect("procfs");
        let nanoseconds = stat.split(' ').next().expect("a field");
        nanoseconds.parse().expect("a number")
    };
    workers(name).iter().map(of).collect()
}

/// Keeps each worker on one core. The loopback interface has a queue for each core: what a thread
/// sends before and after it moves to another one may arrive in any order.
fn pin(name: &str) {
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: a set is plain data; all zeros are the empty one.
    let mut allowed: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most `size` bytes, which is what the set has.
    sys::check(unsafe { libc::sched_getaffinity(0, size, &raw mut allowed) }).expect("cores");
    let cores: Vec<usize> = (0..libc::CPU_SETSIZE as usize)
        // SAFETY: the set has a bit for each of these numbers.
        .filter(|core| unsafe { libc::CPU_ISSET(*core, &allowed) })
        .collect();
    for (task, core) in workers(name).iter().zip(cores.iter().cycle()) {
        let id = task.file_name().and_then(|id| id.to_str()?.parse().ok());
        // SAFETY: as above.
        let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: the set has a bit for this number, which is that of a core.
        unsafe { libc::CPU_SET(*core, &mut one) };
        // SAFETY: the kernel reads `size` bytes, which is what the set has.
        sys::check(unsafe { libc::sched_setaffinity(id.expect("a number"), size, &raw const one) })
            .expect("pinned");
    }
}

/// Many flows at once, of which each comes back in order; half of them cross from worker to worker.
/// Some datagrams are lost, as the queues are full.
fn assert_order(star: &Star) {
    // Each flow begins with a burst, so that a way that changes with the first answer shows.
    const FLOWS: u32 = 30;
    const COUNT: u32 = 150;
    const WINDOW: u32 = 50;
    let before = reorderings();
    thread::scope(|scope| {
        for client in &star.clients {
            for address in client.addresses {
                scope.spawn(move || {
                    let came: u32 = (0..FLOWS)
                        .map(|_| exchange(address, client.echo(address), COUNT, WINDOW, STALL))
                        .sum();
                    assert!(came > FLOWS * COUNT / 2, "{address}: {came} came back");
                });
                scope.spawn(move || transfer(client, address, 2_000_000));
            }
        }
    });
    assert_eq!(reorderings(), before);
    for client in &star.clients {
        assert_eq!(client.namespace.run(reorderings), 0);
    }
}

#[test]
fn many_flows_stay_in_order_and_the_load_spreads() {
    run_isolated(|| {
        let star = Star::new(Device::open(config("wgs0", WORKERS)).expect("open"), "wgs0");
        let before = busy("wgs0");
        assert_order(&star);
        let after = busy("wgs0");
        assert_eq!(after.len(), WORKERS);
        let shares: Vec<_> = after.iter().zip(before).map(|(a, b)| a - b).collect();
        let total: u64 = shares.iter().sum();
        assert!(
            shares.iter().all(|share| share * 4 > total),
            "nanoseconds of each worker: {shares:?}"
        );
        let snapshot = star.server.snapshot().expect("running");
        assert_eq!(snapshot.peers.len(), star.clients.len());
        for peer in snapshot.peers {
            assert!(peer.rx_bytes > 4_000_000 && peer.tx_bytes > 4_000_000);
        }
    });
}

/// As where the program for the queues may not be loaded: in a user namespace, say.
#[test]
fn order_holds_where_queues_cannot_be_steered() {
    run_isolated(|| {
        let name = InterfaceName::parse("wgs1").expect("a name");
        let refuse =
            |_: std::os::fd::BorrowedFd<'_>, _| Err(io::Error::from_raw_os_error(libc::EPERM));
        let config = config("wgs1", WORKERS);
        let tuns = Tun::open_queues(&name, config.mtu, config.features, WORKERS, refuse);
        let server = Device::start(name, &config, tuns.expect("open"), None).expect("started");
        assert_order(&Star::new(server, "wgs1"));
    });
}

#[test]
fn peers_of_different_workers_reach_each_other() {
    run_isolated(|| {
        let star = Star::new(Device::open(config("wgs2", WORKERS)).expect("open"), "wgs2");
        let peers = (2..255).map(|host| ([10, 7, 0, host].into(), 0));
        let hub = DeviceChange {
            tunnel: TunnelChange {
                hub: Some(Arc::new(Hub::new(peers, [(0, 0)]))),
                ..TunnelChange::default()
            },
            ..DeviceChange::default()
        };
        // The server's namespace does not forward: there is no other way.
        star.server.set(hub).expect("applied");
        for pair in star.clients.windows(2) {
            let [one, other] = pair else { continue };
            for (from, to) in [(one, other), (other, one)] {
                let (source, address) = (from.addresses[0], to.addresses[0]);
                let port = to.echo(address);
                let came = from.namespace.run(move || {
                    let socket = UdpSocket::bind((source, 0)).expect("a socket");
                    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                    socket.connect((address, port)).expect("connected");
                    let mut buffer = [0; 64];
                    for number in 0..200_u32 {
                        socket.send(&number.to_be_bytes()).expect("sent");
                        if number % 20 == 19 {
                            for expected in number - 19..=number {
                                let len = socket.recv(&mut buffer).expect("back");
                                assert_eq!(buffer[..len], expected.to_be_bytes());
                            }
                        }
                    }
                    let _ = socket.send(&[]);
                    true
                });
                assert!(came);
            }
        }
    });
}

#[test]
fn peers_roam_move_and_go() {
    run_isolated(|| {
        let star = Star::new(Device::open(config("wgs3", WORKERS)).expect("open"), "wgs3");
        for client in &star.clients {
            let before = star.endpoint(client);
            let elsewhere = DeviceChange {
                listen_port: Some(0),
                ..DeviceChange::default()
            };
            client.device.set(elsewhere).expect("applied");
            client.namespace.run(|| {
                let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
                socket.send_to(b"moved", "10.7.0.1:9").expect("sent");
            });
            wait_until("the server follows", || star.endpoint(client) != before);
            assert_eq!(
                star.endpoint(client).map(|endpoint| endpoint.port()),
                Some(port(&client.device))
            );
            star.assert_talks(client);
        }
        // An address moves to a peer of the other worker.
        let (from, to) = (&star.clients[0], &star.clients[1]);
        let address = from.addresses[0];
        let change = peer_change(to.public_key, &format!("{address}/32"), None);
        star.server.set(change).expect("applied");
        let name = to.device.name().to_owned();
        to.namespace
            .run(move || ip(&format!("address add {address}/24 dev {name}")));
        assert_eq!(exchange(address, to.echo(address), 50, 5, PATIENCE), 50);
        // A peer that is removed is gone at every worker.
        let mut removal = peer_change(to.public_key, "10.7.0.0/32", None);
        removal.tunnel.peers[0].remove = true;
        star.server.set(removal).expect("applied");
        assert_eq!(star.endpoint(to), None);
        let before = star.server.snapshot().expect("running").drops.no_peer;
        let socket = UdpSocket::bind("10.7.0.1:0").expect("a socket");
        for address in to.addresses.into_iter().chain([address]) {
            socket.send_to(b"late", (address, 9)).expect("sent");
        }
        wait_until("nobody has its addresses", || {
            star.server.snapshot().expect("running").drops.no_peer >= before + 3
        });
        star.assert_talks(&star.clients[2]);
    });
}

#[test]
fn ports_and_fwmarks_change_at_all_workers_or_at_none() {
    run_isolated(|| {
        let star = Star::new(Device::open(config("wgs4", 3)).expect("open"), "wgs4");
        let before = port(&star.server);
        let taken = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        let change = |listen_port, fwmark| DeviceChange {
            listen_port: Some(listen_port),
            fwmark: Some(fwmark),
            ..DeviceChange::default()
        };
        let taken = taken.local_addr().expect("an address").port();
        let refused = star.server.set(change(taken, 7)).expect_err("taken");
        assert!(matches!(refused, Error::InUse { .. }), "{refused}");
        // The workers share their port among themselves only.
        let second = Device::open(config("wgs5", 3)).expect("open");
        let refused = second.set(change(before, 7)).expect_err("taken");
        assert!(matches!(refused, Error::InUse { .. }), "{refused}");
        let after = star.server.snapshot().expect("running");
        assert_eq!((after.listen_port, after.fwmark), (before, 0));
        for client in &star.clients {
            star.assert_talks(client);
        }
        star.server.set(change(51820, 7)).expect("applied");
        let after = star.server.snapshot().expect("running");
        assert_eq!((after.listen_port, after.fwmark), (51820, 7));
        for client in &star.clients {
            star.assert_talks(client);
        }
        wait_until("the old port is free again", || {
            UdpSocket::bind(("0.0.0.0", before)).is_ok()
        });
    });
}

#[test]
fn a_worker_that_ends_ends_the_device() {
    run_isolated(|| {
        let device = Device::open(config("wgs6", 4)).expect("open");
        // What a worker's thread does when the worker has panicked.
        let failed = Ended::Failed("wrong".to_owned());
        device.remote.note_end(failed.clone());
        assert_eq!(device.wait(Some(PATIENCE)), Some(failed.clone()));
        wait_until_gone("wgs6");
        assert!(device.snapshot().is_err());
        device.close();
        assert_eq!(device.wait(None), Some(failed));

        let device = Device::open(config("wgs6", 4)).expect("open");
        ip("link del wgs6");
        assert_eq!(device.wait(Some(PATIENCE)), Some(Ended::InterfaceRemoved));
        device.close();
    });
}

#[test]
fn an_interface_of_others_is_not_joined() {
    run_isolated(|| {
        let _device = Device::open(config("wgs7", 2)).expect("open");
        for workers in [1, 2] {
            let refused = Device::open(config("wgs7", workers));
            assert!(matches!(refused.err(), Some(Error::InUse { .. })));
        }
        for workers in [0, 17, usize::MAX] {
            let refused = Device::open(config("wgs8", workers)).err();
            assert!(matches!(refused, Some(Error::Workers(_))), "{refused:?}");
        }
        assert!(sys::interface_index("wgs8").is_none());
    });
}
