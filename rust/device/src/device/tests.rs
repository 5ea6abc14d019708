//! Whole devices, in network namespaces of the test's own.

use std::net::{SocketAddr, UdpSocket};

use wgbind_tunnel::{AllowedIpChange, PeerChange, PublicKey};

use super::*;
use crate::remote::PEERS_PAGE;
use crate::testing::{Namespace, PATIENCE, ip, run_isolated, wait_until, wait_until_gone};

mod events;
mod sharing;
mod ways;

fn open(name: &str) -> Device {
    Device::open(DeviceConfig {
        name: name.to_owned(),
        mtu: 1420,
        control_socket: false,
        workers: Some(1),
        features: Features::default(),
    })
    .expect("a device")
}

fn port(device: &Device) -> u16 {
    device.snapshot().expect("running").listen_port
}

fn key_change(private_key: &PrivateKey) -> DeviceChange {
    DeviceChange {
        tunnel: TunnelChange {
            private_key: Some(Some(private_key.clone())),
            ..TunnelChange::default()
        },
        ..DeviceChange::default()
    }
}

fn peer_change(public_key: PublicKey, allowed_ip: &str, port: Option<u16>) -> DeviceChange {
    DeviceChange {
        tunnel: TunnelChange {
            peers: vec![PeerChange {
                endpoint: port.map(|port| SocketAddr::from(([127, 0, 0, 1], port))),
                allowed_ips: vec![AllowedIpChange {
                    prefix: allowed_ip.parse().expect("a prefix"),
                    remove: false,
                }],
                ..PeerChange::new(public_key)
            }],
            ..TunnelChange::default()
        },
        ..DeviceChange::default()
    }
}

/// Two devices with their UDP sockets in one namespace; the second's interface moves to another,
/// as in the kernel's own `netns.sh`.
#[test]
fn packets_go_from_device_to_device() {
    run_isolated(|| {
        let (here, there) = (open("wgd0"), open("wgd1"));
        let other = Namespace::new();
        ip(&format!("link set wgd1 netns {}", other.id()));
        ip("address add 10.7.0.1/24 dev wgd0");
        ip("link set wgd0 up");
        other.run(|| {
            ip("address add 10.7.0.2/24 dev wgd1");
            ip("link set wgd1 up");
        });
        let keys = [PrivateKey::generate(), PrivateKey::generate()];
        here.set(key_change(&keys[0])).expect("applied");
        there.set(key_change(&keys[1])).expect("applied");
        let public_keys = keys.map(|key| key.public_key());
        here.set(peer_change(
            public_keys[1],
            "10.7.0.2/32",
            Some(port(&there)),
        ))
        .expect("applied");
        there
            .set(peer_change(public_keys[0], "10.7.0.1/32", None))
            .expect("applied");

        let server = other.run(|| {
            let socket = UdpSocket::bind("10.7.0.2:0").expect("a socket");
            socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            socket
        });
        let client = UdpSocket::bind("10.7.0.1:0").expect("a socket");
        client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        client
            .connect(server.local_addr().expect("an address"))
            .expect("connected");
        let mut buffer = [0; 2048];
        for i in 0..100_u8 {
            client.send(&[i; 1300]).expect("sent");
            let (len, from) = server.recv_from(&mut buffer).expect("there");
            assert_eq!(buffer[..len], [i; 1300]);
            server.send_to(&buffer[..len], from).expect("sent");
            assert_eq!(client.recv(&mut buffer).expect("back"), 1300);
        }

        let seen = there.snapshot().expect("running");
        assert_eq!(seen.name, "wgd1");
        assert_eq!(seen.io_drops, IoDrops::default());
        let [peer] = seen.peers.as_slice() else {
            panic!("one peer: {:?}", seen.peers);
        };
        assert_eq!(peer.endpoint, Some(([127, 0, 0, 1], port(&here)).into()));
        assert!(peer.last_handshake.is_some());
        assert!(
            peer.rx_bytes > 130_000 && peer.tx_bytes > 130_000,
            "{peer:?}"
        );
        // A peer that is removed is gone when the call returns.
        let mut removal = peer_change(public_keys[1], "10.7.0.2/32", None);
        removal.tunnel.peers[0].remove = true;
        here.set(removal).expect("applied");
        assert!(here.snapshot().expect("running").peers.is_empty());
    });
}

#[test]
fn a_port_that_is_taken_changes_nothing() {
    run_isolated(|| {
        let taken = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        let device = open("wgd2");
        let before = port(&device);
        let mut change = key_change(&PrivateKey::generate());
        change.listen_port = Some(taken.local_addr().expect("an address").port());
        change.fwmark = Some(7);
        let refused = device.set(change).expect_err("taken");
        assert!(matches!(refused, Error::InUse { .. }), "{refused}");
        let after = device.snapshot().expect("running");
        assert_eq!((after.listen_port, after.fwmark), (before, 0));
        assert!(after.private_key.is_none());
    });
}

#[test]
fn port_and_fwmark_change() {
    run_isolated(|| {
        let device = open("wgd3");
        let before = port(&device);
        // All ports of the namespace are free.
        let wanted = 51820;
        let change = |listen_port, fwmark| DeviceChange {
            listen_port,
            fwmark,
            ..DeviceChange::default()
        };
        device
            .set(change(None, Some(0xdead_beef)))
            .expect("applied");
        device.set(change(Some(wanted), None)).expect("applied");
        let after = device.snapshot().expect("running");
        assert_eq!((after.listen_port, after.fwmark), (wanted, 0xdead_beef));
        wait_until("the old port is free again", || {
            UdpSocket::bind(("0.0.0.0", before)).is_ok()
        });
        // The port that it has already is no change.
        device.set(change(Some(wanted), Some(0))).expect("applied");
        assert_eq!(device.snapshot().expect("running").fwmark, 0);
        device.set(change(Some(0), None)).expect("applied");
        assert_ne!(port(&device), wanted);
    });
}

#[test]
fn a_removed_interface_ends_the_device() {
    run_isolated(|| {
        let device = open("wgd4");
        assert_eq!(device.wait(Some(Duration::ZERO)), None);
        ip("link del wgd4");
        let ended = device.wait(Some(PATIENCE));
        assert_eq!(ended, Some(Ended::InterfaceRemoved));
        let refused = device
            .set(DeviceChange::default())
            .expect_err("ended")
            .to_string();
        assert_eq!(refused, "the device has ended: interface removed");
        assert!(device.snapshot().is_err());
        device.close();
        assert_eq!(device.wait(None), Some(Ended::InterfaceRemoved));
    });
}

#[test]
fn closing_removes_the_interface_and_wakes_who_waits() {
    run_isolated(|| {
        let device = open("wgd5");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| device.wait(None));
            device.close();
            assert_eq!(waiting.join().expect("no panic"), Some(Ended::Closed));
        });
        wait_until_gone("wgd5");
        device.close();
        drop(open("wgd5"));
        wait_until_gone("wgd5");
    });
}

#[test]
fn many_callers_are_all_answered() {
    run_isolated(|| {
        let device = open("wgd6");
        thread::scope(|scope| {
            for _ in 0..4 * MAX_COMMANDS {
                scope.spawn(|| {
                    let key = PrivateKey::generate().public_key();
                    device
                        .set(peer_change(key, "10.0.0.0/8", None))
                        .expect("applied");
                    device.snapshot().expect("running");
                });
            }
        });
        assert_eq!(
            device.snapshot().expect("running").peers.len(),
            4 * MAX_COMMANDS
        );
    });
}

#[test]
fn a_snapshot_has_all_pages_of_peers() {
    run_isolated(|| {
        let device = open("wgd7");
        let count = 2 * PEERS_PAGE + 1;
        let keys: Vec<_> = (0..count)
            .map(|i| {
                let mut bytes = [9; 32];
                bytes[..8].copy_from_slice(&i.to_le_bytes());
                PublicKey::from_bytes(bytes)
            })
            .collect();
        let change = DeviceChange {
            tunnel: TunnelChange {
                peers: keys.iter().copied().map(PeerChange::new).collect(),
                ..TunnelChange::default()
            },
            ..DeviceChange::default()
        };
        device.set(change).expect("applied");
        let snapshot = device.snapshot().expect("running");
        let seen: Vec<_> = snapshot.peers.iter().map(|peer| peer.public_key).collect();
        assert_eq!(seen, keys);
        assert_eq!(device.changes(), 1);

        let stranger = PublicKey::from_bytes([8; 32]);
        let wanted = [&keys[PEERS_PAGE - 1..], &[stranger]].concat();
        let snapshot = device.snapshot_of(&wanted).expect("running");
        let seen: Vec<_> = snapshot.peers.iter().map(|peer| peer.public_key).collect();
        assert_eq!(seen, keys[PEERS_PAGE - 1..]);
    });
}

#[test]
fn an_idle_worker_sleeps() {
    run_isolated(|| {
        let device = open("wgd8");
        device
            .set(key_change(&PrivateKey::generate()))
            .expect("applied");
        let ticks = || {
            let tasks = std::fs::read_dir("/proc/self/task").expect("procfs");
            let worker = tasks
                .map(|task| task.expect("a task").path())
                .find(|task| {
                    let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
                    name.trim() == "worker wgd8"
                })
                .expect("a worker");
            let status = std::fs::read_to_string(worker.join("status")).expect("procfs");
            let switches = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
                .expect("a count");
            switches.trim().parse::<u32>().expect("a number")
        };
        wait_until("it comes to rest", || {
            let before = ticks();
            thread::sleep(Duration::from_millis(200));
            ticks() == before
        });
    });
}

#[test]
fn a_panic_is_told_and_ends_the_device() {
    let told = |ended: Option<Ended>| ended.map(|ended| ended.to_string());
    let ended = until_panic("worker", || panic!("index {} is wrong", 7));
    assert_eq!(
        told(ended).as_deref(),
        Some("worker failed: index 7 is wrong")
    );
    let ended = until_panic("porter", || panic!("plain"));
    assert_eq!(told(ended).as_deref(), Some("porter failed: plain"));
    assert_eq!(
        until_panic("worker", || Some(Ended::Closed)),
        Some(Ended::Closed)
    );
    assert_eq!(until_panic("routes", || None), None);
}

/// Each thread takes all of the device with it: there is no half of one.
#[test]
fn a_thread_that_panics_ends_the_device() {
    run_isolated(|| {
        let device = open("wgd9");
        device.remote.fail();
        let ended = device.wait(Some(PATIENCE));
        let wanted = "worker failed: as a test wants it".to_owned();
        assert_eq!(ended, Some(Ended::Failed(wanted)));
        assert!(device.snapshot().is_err());
        device.close();
        wait_until_gone("wgd9");
        let device = open("wgd9");
        let spawned = device.spawn("helper", |_| panic!("so does a helper"));
        spawned.expect("a thread");
        let ended = device.wait(Some(PATIENCE));
        let wanted = "helper failed: so does a helper".to_owned();
        assert_eq!(ended, Some(Ended::Failed(wanted)));
        device.close();
        wait_until_gone("wgd9");
    });
}

#[test]
fn a_bad_name_is_refused_before_anything_is_done() {
    let refused = Device::open(DeviceConfig {
        name: "sixteen-letters-".to_owned(),
        mtu: 1420,
        control_socket: true,
        workers: None,
        features: Features::default(),
    });
    assert!(matches!(refused.err(), Some(Error::Name { .. })));
}
