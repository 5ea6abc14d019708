//! Two tunnels that share a device, and the porter before them, without the device: what one hands
//! over, the other takes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use wgbind_tunnel::{
    AllowedIpChange, DatagramIn, Event, EventKind, Handover, Hub, Now, Outbox, PacketIn,
    PeerChange, Porter, PrivateKey, Share, Tunnel, TunnelChange,
};

const WORKERS: usize = 2;

/// Time goes on from call to call, by more than handshakes wait for each other.
fn now() -> Now {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    Now {
        instant: Instant::now() + Duration::from_millis(1) * CALLS.fetch_add(1, Ordering::Relaxed),
        unix: Duration::from_secs(1_800_000_000),
    }
}

fn outbox(workers: usize) -> Outbox {
    Outbox {
        handovers: (0..workers).map(|_| Handover::default()).collect(),
        ..Outbox::default()
    }
}

fn change(private_key: Option<&PrivateKey>, peers: &[PeerChange]) -> TunnelChange {
    TunnelChange {
        private_key: private_key.map(|key| Some(key.clone())),
        peers: peers.to_vec(),
        ..TunnelChange::default()
    }
}

fn apply(tunnel: &mut Tunnel, private_key: Option<&PrivateKey>, peers: &[PeerChange]) {
    let change = change(private_key, peers);
    tunnel
        .apply(change, now(), &mut Outbox::default())
        .expect("applied");
}

fn datagrams(out: &Outbox) -> Vec<Vec<u8>> {
    let bytes = |run: &wgbind_tunnel::Transmit| {
        out.datagrams.buffer[run.range.clone()]
            .chunks(run.segment_size)
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    };
    out.datagrams.runs.iter().flat_map(bytes).collect()
}

fn packets(out: &Outbox) -> Vec<Vec<u8>> {
    let bytes = |range: &std::ops::Range<usize>| out.packets.buffer[range.clone()].to_vec();
    out.packets.packets.iter().map(bytes).collect()
}

fn slot(source: SocketAddr, message: &[u8]) -> DatagramIn {
    let mut slot = DatagramIn {
        len: message.len(),
        segment_size: message.len(),
        source,
        ..DatagramIn::default()
    };
    slot.buffer[..message.len()].copy_from_slice(message);
    slot
}

fn deliver(tunnel: &mut Tunnel, source: SocketAddr, message: &[u8], out: &mut Outbox) {
    tunnel.handle_datagrams(&mut [slot(source, message)], now(), out);
}

fn send(tunnel: &mut Tunnel, packet: &[u8], out: &mut Outbox) {
    let mut slot = PacketIn {
        len: packet.len(),
        ..PacketIn::default()
    };
    slot.buffer[..packet.len()].copy_from_slice(packet);
    tunnel.handle_packets(&mut [slot], now(), out);
}

/// An IPv4 packet from and to hosts of 10.0.0.0/24, of a protocol that nobody looks into.
fn packet(from: u8, to: u8) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 24, 0, 0, 0, 0, 64, 253, 0, 0];
    packet.extend([10, 0, 0, from, 10, 0, 0, to, 1, 2, 3, 4]);
    packet
}

/// A server of two workers, and a client that knows it.
struct World {
    server: Vec<Tunnel>,
    porter: Porter,
    clients: Vec<Client>,
}

struct Client {
    tunnel: Tunnel,
    host: u8,
    address: SocketAddr,
    owner: usize,
}

impl World {
    /// One client for each worker.
    fn new() -> Self {
        let key = PrivateKey::generate();
        let mut server: Vec<_> = Share::split(WORKERS)
            .map(|share| Tunnel::shared(1420, share))
            .collect();
        let mut porter = Porter::new(WORKERS);
        porter.apply(&change(Some(&key), &[]));
        let peers = (2..255).map(|host| ([10, 0, 0, host].into(), 0));
        let hub = Arc::new(Hub::new(peers, [(0, 0)]));
        for tunnel in &mut server {
            apply(tunnel, Some(&key), &[]);
            let change = TunnelChange {
                hub: Some(hub.clone()),
                ..TunnelChange::default()
            };
            tunnel
                .apply(change, now(), &mut Outbox::default())
                .expect("applied");
        }
        let share = Share::split(WORKERS).next().expect("a share");
        let clients = (0..WORKERS)
            .map(|owner| {
                let host = (2..)
                    .find(|host| share.owner_of_address([10, 0, 0, *host].into()) == owner)
                    .expect("an address for each worker");
                let private_key = PrivateKey::generate();
                let allowed =
                    |prefix: String| vec![AllowedIpChange::add(prefix.parse().expect("a prefix"))];
                let peer = PeerChange {
                    allowed_ips: allowed(format!("10.0.0.{host}/32")),
                    ..PeerChange::new(private_key.public_key())
                };
                for tunnel in &mut server {
                    apply(tunnel, None, std::slice::from_ref(&peer));
                }
                porter.apply(&change(None, std::slice::from_ref(&peer)));
                let mut tunnel = Tunnel::new(1420);
                let to_server = PeerChange {
                    allowed_ips: allowed("10.0.0.0/24".to_owned()),
                    endpoint: Some(([192, 0, 2, 1], 51820).into()),
                    ..PeerChange::new(key.public_key())
                };
                apply(&mut tunnel, Some(&private_key), &[to_server]);
                Client {
                    tunnel,
                    host,
                    address: ([198, 51, 100, host], 4000).into(),
                    owner,
                }
            })
            .collect();
        Self {
            server,
            porter,
            clients,
        }
    }

    /// Has a worker take what the other one handed over; nothing is left for a second time.
    fn pass(&mut self, out: &mut Outbox, to: usize) -> Outbox {
        let mut taken = outbox(WORKERS);
        assert!(!out.handovers[to].is_empty(), "nothing for worker {to}");
        self.server[to].handle_handover(&mut out.handovers[to], now(), &mut taken);
        // An initiation waits for its turn.
        self.server[to].handle_timeout(now(), &mut taken);
        assert!(taken.handovers.iter().all(Handover::is_empty));
        taken
    }

    /// A handshake of a client, whose messages all arrive at one worker; returns the client's
    /// first data message.
    fn connect(&mut self, client: usize, arrival: usize) -> Vec<u8> {
        let Client {
            host,
            address,
            owner,
            ..
        } = self.clients[client];
        let mut sent = outbox(0);
        let first = packet(host, 1);
        send(&mut self.clients[client].tunnel, &first, &mut sent);
        let [initiation] = datagrams(&sent).try_into().expect("an initiation");
        let mut out = outbox(WORKERS);
        deliver(&mut self.server[arrival], address, &initiation, &mut out);
        let out = if arrival == owner {
            out
        } else {
            assert!(out.is_empty(), "nothing but what is handed over");
            self.pass(&mut out, owner)
        };
        let [response] = datagrams(&out).try_into().expect("a response");
        let index = u32::from_le_bytes(response[4..8].try_into().expect("four bytes"));
        let share = Share::split(WORKERS).next().expect("a share");
        assert_eq!(share.owner_of_index(index), owner);
        let mut sent = outbox(0);
        let server = ([192, 0, 2, 1], 51820).into();
        deliver(
            &mut self.clients[client].tunnel,
            server,
            &response,
            &mut sent,
        );
        datagrams(&sent).pop().expect("the packet that waited")
    }
}

#[test]
fn a_handshake_completes_wherever_its_initiation_arrives() {
    for arrival in 0..WORKERS {
        let mut world = World::new();
        for client in 0..WORKERS {
            let Client {
                owner,
                address,
                host,
                ..
            } = world.clients[client];
            let data = world.connect(client, arrival);
            // In one train with another's message it comes to the wrong worker, too.
            let mut out = outbox(WORKERS);
            deliver(&mut world.server[arrival], address, &data, &mut out);
            let out = if arrival == owner {
                out
            } else {
                world.pass(&mut out, owner)
            };
            assert_eq!(packets(&out), [packet(host, 1)]);
        }
        // Each peer is told of by its own worker, and by no other.
        for (worker, tunnel) in world.server.iter().enumerate() {
            let (peers, more) = tunnel.peers(0, 100);
            assert_eq!((peers.len(), more), (1, None));
            assert_eq!(peers[0].endpoint, Some(world.clients[worker].address));
            assert!(peers[0].last_handshake.is_some());
            let drops: u64 = tunnel.drops().iter().map(|(_, count)| count).sum();
            assert_eq!(drops, 0);
        }
    }
}

#[test]
fn packets_for_the_other_worker_s_peer_are_sealed_there() {
    let mut world = World::new();
    for client in 0..WORKERS {
        let owner = world.clients[client].owner;
        let (data, address) = (world.connect(client, owner), world.clients[client].address);
        deliver(&mut world.server[owner], address, &data, &mut outbox(0));
        let host = world.clients[client].host;
        let mut out = outbox(WORKERS);
        for _ in 0..3 {
            send(&mut world.server[1 - owner], &packet(1, host), &mut out);
        }
        assert!(out.is_empty());
        let out = world.pass(&mut out, owner);
        let server = ([192, 0, 2, 1], 51820).into();
        let mut received = outbox(0);
        for datagram in datagrams(&out) {
            let tunnel = &mut world.clients[client].tunnel;
            deliver(tunnel, server, &datagram, &mut received);
        }
        assert_eq!(packets(&received), vec![packet(1, host); 3]);
    }
}

#[test]
fn packets_cross_from_peer_to_peer_or_go_by_the_kernel() {
    let mut world = World::new();
    let server = ([192, 0, 2, 1], 51820).into();
    let data = world.connect(0, 0);
    deliver(
        &mut world.server[0],
        world.clients[0].address,
        &data,
        &mut outbox(WORKERS),
    );
    let hosts = [world.clients[0].host, world.clients[1].host];
    let cross = |world: &mut World| {
        let mut sent = outbox(0);
        send(
            &mut world.clients[0].tunnel,
            &packet(hosts[0], hosts[1]),
            &mut sent,
        );
        let mut out = outbox(WORKERS);
        for datagram in datagrams(&sent) {
            deliver(
                &mut world.server[0],
                world.clients[0].address,
                &datagram,
                &mut out,
            );
        }
        assert!(packets(&out).is_empty());
        world.pass(&mut out, 1)
    };
    // Without a session with the other one the kernel has it.
    let out = cross(&mut world);
    assert_eq!(packets(&out), [packet(hosts[0], hosts[1])]);
    let data = world.connect(1, 1);
    deliver(
        &mut world.server[1],
        world.clients[1].address,
        &data,
        &mut outbox(WORKERS),
    );
    let out = cross(&mut world);
    assert!(packets(&out).is_empty());
    let [datagram] = datagrams(&out).try_into().expect("one datagram");
    let mut received = outbox(0);
    deliver(
        &mut world.clients[1].tunnel,
        server,
        &datagram,
        &mut received,
    );
    let [packet] = packets(&received).try_into().expect("one packet");
    assert_eq!(packet[8], 63, "one hop");
}

#[test]
fn each_event_is_told_by_the_peer_s_worker_alone() {
    let kinds = |events: &[Event]| events.iter().map(|event| event.kind).collect::<Vec<_>>();
    for arrival in 0..WORKERS {
        let mut world = World::new();
        let Client { owner, address, .. } = world.clients[0];
        let data = world.connect(0, arrival);
        let mut out = outbox(WORKERS);
        deliver(&mut world.server[arrival], address, &data, &mut out);
        if arrival != owner {
            assert_eq!(kinds(&out.events), []);
            out = world.pass(&mut out, owner);
        }
        assert_eq!(kinds(&out.events), [EventKind::Connected]);
        let public_key = out.events[0].public_key;
        for (worker, tunnel) in world.server.iter_mut().enumerate() {
            let removal = TunnelChange {
                peers: vec![PeerChange {
                    remove: true,
                    ..PeerChange::new(public_key)
                }],
                ..TunnelChange::default()
            };
            let mut out = outbox(WORKERS);
            tunnel.apply(removal, now(), &mut out).expect("applied");
            let expected: &[_] = match worker == owner {
                true => &[EventKind::Silent, EventKind::Removed],
                false => &[],
            };
            assert_eq!(kinds(&out.events), expected);
        }
    }
}

/// A persistent keepalive is the owner's business, also when a new private key asks for handshakes.
#[test]
fn only_the_owner_starts_handshakes() {
    let mut world = World::new();
    let later = Now {
        instant: now().instant + Duration::from_secs(60),
        ..now()
    };
    for client in 0..WORKERS {
        let Client { owner, address, .. } = world.clients[client];
        let peer = world.server[owner].peers(0, 100).0.remove(0);
        let change = TunnelChange {
            peers: vec![PeerChange {
                endpoint: Some(address),
                persistent_keepalive: Some(25),
                ..PeerChange::new(peer.public_key)
            }],
            ..TunnelChange::default()
        };
        for (worker, tunnel) in world.server.iter_mut().enumerate() {
            let mut out = outbox(WORKERS);
            tunnel
                .apply(change.clone(), now(), &mut out)
                .expect("applied");
            assert_eq!(datagrams(&out).len(), usize::from(worker == owner));
        }
    }
    let key = PrivateKey::generate();
    for tunnel in &mut world.server {
        apply(tunnel, Some(&key), &[]);
        let mut out = outbox(WORKERS);
        tunnel.handle_timeout(later, &mut out);
        assert_eq!(datagrams(&out).len(), 1, "one peer each");
    }
}

/// One worker knows of a change that the other has yet to hear of: nothing goes in circles, and
/// nothing to the peer that had the address before.
#[test]
fn what_changed_hands_on_the_way_is_dropped() {
    let mut world = World::new();
    let (zero, one) = (world.clients[0].host, world.clients[1].host);
    let mut out = outbox(WORKERS);
    send(&mut world.server[0], &packet(1, one), &mut out);
    // The address goes to the peer of the worker that has just handed the packet over.
    let taker = world.server[0].peers(0, 100).0.remove(0);
    let change = PeerChange {
        allowed_ips: vec![AllowedIpChange::add(
            format!("10.0.0.{one}/32").parse().expect("a prefix"),
        )],
        ..PeerChange::new(taker.public_key)
    };
    apply(&mut world.server[1], None, &[change]);
    let taken = world.pass(&mut out, 1);
    assert!(taken.is_empty());
    assert_eq!(world.server[1].drops().handover, 1);
    // A full batch takes no more, and says so.
    let mut out = outbox(WORKERS);
    for _ in 0..10_000 {
        send(&mut world.server[1], &packet(1, zero), &mut out);
    }
    let dropped = world.server[1].drops().handover - 1;
    assert!((1..10_000).contains(&dropped), "{dropped}");
    let mut out = outbox(WORKERS);
    let unknown = [4_u8, 0, 0, 0, 0, 0, 0, 0].repeat(4);
    deliver(
        &mut world.server[0],
        ([192, 0, 2, 9], 9).into(),
        &unknown,
        &mut out,
    );
    assert!(out.handovers.iter().all(Handover::is_empty));
    assert_eq!(world.server[0].drops().unknown_index, 1);
}

impl World {
    /// Has a client begin a handshake; returns its initiation.
    fn initiation(&mut self, client: usize) -> Vec<u8> {
        let host = self.clients[client].host;
        let mut sent = outbox(0);
        send(
            &mut self.clients[client].tunnel,
            &packet(host, 1),
            &mut sent,
        );
        let [initiation] = datagrams(&sent).try_into().expect("an initiation");
        initiation
    }

    /// Gives a message to the porter and lets it find out who is the next to be answered.
    fn call(&mut self, source: SocketAddr, message: &[u8]) -> Outbox {
        let mut out = outbox(WORKERS + 1);
        let batch = [slot(source, message)];
        self.porter.handle_datagrams(&batch, now(), &mut out);
        self.porter.handle_timeout(now(), &mut out);
        out
    }
}

#[test]
fn a_handshake_passes_the_porter_whoever_begins_it() {
    let mut world = World::new();
    let server: SocketAddr = ([192, 0, 2, 1], 51820).into();
    for tunnel in &mut world.server {
        tunnel.set_porter(true);
    }
    for client in 0..WORKERS {
        let Client {
            owner,
            address,
            host,
            ..
        } = world.clients[client];
        let initiation = world.initiation(client);
        // Also what has come to a worker, in one train with data.
        let mut strayed = outbox(WORKERS + 1);
        deliver(
            &mut world.server[1 - owner],
            address,
            &initiation,
            &mut strayed,
        );
        assert!(strayed.is_empty());
        let mut out = outbox(WORKERS + 1);
        let batch = &mut strayed.handovers[WORKERS];
        world.porter.handle_handover(batch, now(), &mut out);
        world.porter.handle_timeout(now(), &mut out);
        assert!(out.is_empty() && out.handovers[1 - owner].is_empty());
        let out = world.pass(&mut out, owner);
        let [response] = datagrams(&out).try_into().expect("a response");
        let tunnel = &mut world.clients[client].tunnel;
        let mut sent = outbox(0);
        deliver(tunnel, server, &response, &mut sent);
        let data = datagrams(&sent).pop().expect("the packet that waited");
        // Data that comes in one train with a handshake message.
        let mut out = world.call(address, &data);
        assert_eq!(packets(&world.pass(&mut out, owner)), [packet(host, 1)]);

        // The other way round: the server has forgotten the session and begins.
        let peer = world.server[owner].peers(0, 100).0.remove(0);
        let key = world.server[owner].private_key().cloned();
        for key in [None, key] {
            let change = TunnelChange {
                private_key: Some(key),
                ..TunnelChange::default()
            };
            let worker = &mut world.server[owner];
            worker
                .apply(change, now(), &mut outbox(0))
                .expect("applied");
        }
        assert_eq!(peer.endpoint, Some(address));
        let mut sent = outbox(0);
        send(&mut world.server[owner], &packet(1, host), &mut sent);
        let [initiation] = datagrams(&sent).try_into().expect("an initiation");
        let mut answer = outbox(0);
        let tunnel = &mut world.clients[client].tunnel;
        deliver(tunnel, server, &initiation, &mut answer);
        tunnel.handle_timeout(now(), &mut answer);
        let [response] = datagrams(&answer).try_into().expect("a response");
        let mut out = world.call(address, &response);
        let out = world.pass(&mut out, owner);
        let mut received = outbox(0);
        for datagram in datagrams(&out) {
            let tunnel = &mut world.clients[client].tunnel;
            deliver(tunnel, server, &datagram, &mut received);
        }
        assert_eq!(packets(&received), [packet(1, host)]);
    }
    let drops = world.server.iter().map(Tunnel::drops);
    for drops in drops.chain([world.porter.drops()]) {
        assert_eq!(drops, wgbind_tunnel::Drops::default());
    }
}

/// While workers are behind, initiations wait where a cookie can be asked for.
#[test]
fn the_porter_waits_for_the_workers() {
    let mut world = World::new();
    let Client { owner, address, .. } = world.clients[0];
    let initiation = world.initiation(0);
    world.porter.set_waiting(64);
    let out = world.call(address, &initiation);
    assert!(out.handovers.iter().all(Handover::is_empty));
    assert!(world.porter.is_held() && world.porter.poll_timeout().is_none());
    assert_eq!(world.porter.handshakes().queued, 1);
    world.porter.set_waiting(63);
    assert!(!world.porter.is_held() && world.porter.poll_timeout().is_some());
    let mut out = outbox(WORKERS + 1);
    world.porter.handle_timeout(now(), &mut out);
    assert!(!out.handovers[owner].is_empty());
    assert_eq!(world.porter.handshakes().queued, 0);
}
