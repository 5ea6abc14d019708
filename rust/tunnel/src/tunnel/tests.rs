//! What a tunnel does by itself, with other implementations' messages for input. How two tunnels get
//! on with each other is simulated in `tests/simulation`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use boringtun::noise::{Tunn, TunnResult};

use super::*;
use crate::batch::PacketIn;
use crate::change::{AllowedIpChange, PeerChange, TunnelChange};
use crate::key::PresharedKey;
use crate::packet::sample::Sample;

const OURS: &str = "10.6.0.1";

/// A server's tunnel and what came of the last thing that was done with it.
struct Server {
    tunnel: Tunnel,
    key: PrivateKey,
    now: Now,
    out: Outbox,
}

impl Server {
    fn new() -> Self {
        let mut server = Self {
            tunnel: Tunnel::new(1420),
            key: PrivateKey::generate(),
            now: Now {
                instant: Instant::now(),
                unix: Duration::from_secs(1_800_000_000),
            },
            out: Outbox::default(),
        };
        server.set_key(server.key.clone());
        server
    }

    fn set_key(&mut self, key: PrivateKey) {
        self.apply(TunnelChange {
            private_key: Some(Some(key)),
            ..TunnelChange::default()
        });
    }

    fn apply(&mut self, change: TunnelChange) {
        self.out.clear();
        let applied = self.tunnel.apply(change, self.now, &mut self.out);
        applied.expect("a few peers");
    }

    fn apply_peer(&mut self, change: PeerChange) {
        self.apply(TunnelChange {
            peers: vec![change],
            ..TunnelChange::default()
        });
    }

    fn add(&mut self, client: &Client, allowed_ip: &str, endpoint: Option<&str>) {
        let mut change = PeerChange::new(client.key.public_key());
        let prefix = allowed_ip.parse().expect(allowed_ip);
        change.allowed_ips = vec![AllowedIpChange::add(prefix)];
        change.endpoint = endpoint.map(|endpoint| endpoint.parse().expect(endpoint));
        self.apply_peer(change);
    }

    fn receive(&mut self, message: &[u8], from: &str) {
        let mut slot = DatagramIn {
            len: message.len(),
            segment_size: message.len(),
            source: from.parse().expect(from),
            local: Some(local()),
            ..DatagramIn::default()
        };
        slot.buffer[..message.len()].copy_from_slice(message);
        self.out.clear();
        let out = &mut self.out;
        self.tunnel.handle_datagrams(&mut [slot], self.now, out);
    }

    fn send(&mut self, packet: &[u8]) {
        let mut slot = PacketIn {
            len: packet.len(),
            ..PacketIn::default()
        };
        slot.buffer[..packet.len()].copy_from_slice(packet);
        self.out.clear();
        let out = &mut self.out;
        self.tunnel.handle_packets(&mut [slot], self.now, out);
    }

    /// Does the errands that were lent, and hands them back.
    fn run_errands(&mut self) -> usize {
        let errands = std::mem::take(&mut self.out.errands);
        let count = errands.len();
        self.out.clear();
        for mut errand in errands {
            errand.run();
            self.tunnel.handle_errand(errand, self.now, &mut self.out);
        }
        count
    }

    /// The only datagram that is to be sent.
    fn datagram(&self) -> Vec<u8> {
        let [run] = &self.out.datagrams.runs[..] else {
            panic!("{:?}", self.out.datagrams.runs);
        };
        self.out.datagrams.buffer[run.range.clone()].to_vec()
    }

    fn is_silent(&self) -> bool {
        self.out.datagrams.runs.is_empty()
    }
}

/// A client as others write it.
struct Client {
    key: PrivateKey,
    tunn: Tunn,
}

impl Client {
    fn new(server: &Server) -> Self {
        let key = PrivateKey::generate();
        let (secret, server) = (key.as_secret().clone(), server.key.public_key());
        let tunn = Tunn::new(secret, server.to_x25519(), None, None, 1, None);
        Self { key, tunn }
    }

    fn initiation(&mut self) -> Vec<u8> {
        let mut room = [0; HANDSHAKE_INITIATION_SIZE];
        match self.tunn.format_handshake_initiation(&mut room, true) {
            TunnResult::WriteToNetwork(message) => message.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    /// What the client says to a message.
    fn answer(&mut self, message: &[u8]) -> Vec<u8> {
        let mut room = vec![0; 2000];
        match self.tunn.decapsulate(None, message, &mut room) {
            TunnResult::WriteToNetwork(answer) => answer.to_vec(),
            other => panic!("{other:?}"),
        }
    }
}

fn local() -> LocalAddress {
    LocalAddress {
        ip: [203, 0, 113, 1].into(),
        interface: 7,
    }
}

/// A UDP packet from us, or from behind us, to an IPv4 address.
fn packet(destination: &str, ports: [u16; 2]) -> Vec<u8> {
    let mut packet = Sample::new(false, false).build();
    let address = |text: &str| match text.parse().expect(text) {
        std::net::IpAddr::V4(address) => address.octets(),
        std::net::IpAddr::V6(address) => panic!("{address}"),
    };
    packet[12..16].copy_from_slice(&address(OURS));
    packet[16..20].copy_from_slice(&address(destination));
    packet[20..22].copy_from_slice(&ports[0].to_be_bytes());
    packet[22..24].copy_from_slice(&ports[1].to_be_bytes());
    packet
}

#[test]
fn who_cannot_be_reached_is_told_of_at_a_bounded_rate() {
    let mut server = Server::new();
    let client = Client::new(&server);
    server.add(&client, "10.0.0.2/32", None);
    let mut told = 0;
    for round in 0..60 {
        // Nobody's address, and one of a peer that has not been heard of yet.
        let destination = ["10.9.9.9", "10.0.0.2"][round % 2];
        server.send(&packet(destination, [1, 2]));
        assert!(server.is_silent());
        for range in &server.out.packets.packets {
            let error = &server.out.packets.buffer[range.clone()];
            let header = ip::Header::parse(error).expect("sound");
            assert_eq!(header.source.to_string(), destination);
            assert_eq!(header.destination.to_string(), OURS);
            assert_eq!(error[20..22], [3, 1]);
            told += 1;
        }
    }
    assert_eq!(told, 50);
    let drops = server.tunnel.drops();
    assert_eq!((drops.no_peer, drops.no_endpoint), (30, 30));
    // A fifth of a second later there are 20 more.
    server.now.instant += Duration::from_millis(200);
    for _ in 0..30 {
        server.send(&packet("10.9.9.9", [1, 2]));
        told += server.out.packets.packets.len();
    }
    assert_eq!(told, 70);
}

#[test]
fn our_own_datagrams_do_not_go_round() {
    let mut server = Server::new();
    server.tunnel.set_listen_port(51820);
    let (a, b) = (Client::new(&server), Client::new(&server));
    // The way to each leads through the other, and A's network has A's own endpoint in it as well.
    server.add(&a, "198.51.100.0/24", Some("192.0.2.2:7"));
    server.add(&b, "192.0.2.0/24", Some("198.51.100.2:7"));
    server.send(&packet("198.51.100.2", [51820, 7]));
    assert!(!server.is_silent(), "to B through A: a tunnel in a tunnel");
    server.send(&packet("192.0.2.2", [51820, 7]));
    assert!(server.is_silent(), "to A through B: round");
    assert_eq!(server.tunnel.drops().looped, 1);
    // Others' datagrams, and those of ours to others, are none of that.
    for ports in [[51821, 7], [51820, 8]] {
        server.now.instant += Duration::from_secs(10);
        server.send(&packet("192.0.2.2", ports));
        assert_eq!(server.tunnel.drops().looped, 1);
    }
    server.add(&a, "192.0.2.0/24", None);
    server.send(&packet("192.0.2.2", [51820, 7]));
    assert_eq!(server.tunnel.drops().looped, 2, "to A through A");
}

#[test]
fn a_peer_begins_at_most_fifty_handshakes_a_second() {
    let mut server = Server::new();
    let mut client = Client::new(&server);
    server.add(&client, "10.0.0.2/32", None);
    let mut answered = 0;
    for _ in 0..100 {
        server.now.instant += Duration::from_millis(5);
        let message = client.initiation();
        server.receive(&message, "192.0.2.2:7");
        answered += server.out.datagrams.runs.len();
    }
    assert_eq!(answered, 25, "in half a second");
    assert_eq!(server.tunnel.drops().initiations, 75);
    assert_eq!(server.tunnel.handshakes().answered, 25);
}

#[test]
fn a_way_that_is_gone_is_left_to_the_routing_table() {
    let mut server = Server::new();
    let mut client = Client::new(&server);
    server.add(&client, "10.0.0.2/32", None);
    let message = client.initiation();
    server.receive(&message, "192.0.2.2:7");
    let answer = client.answer(&server.datagram());
    server.receive(&answer, "192.0.2.2:7");
    let way: (SocketAddr, _) = ("192.0.2.2:7".parse().expect("an address"), local());
    assert_eq!(server.tunnel.ways(0, 10), (vec![way], None));
    let sent_from = |server: &mut Server| {
        server.send(&packet("10.0.0.2", [1, 2]));
        server.out.datagrams.runs[0].local
    };
    assert_eq!(sent_from(&mut server), Some(local()));
    let other = LocalAddress {
        interface: 8,
        ..local()
    };
    server.tunnel.forget_local(&[(way.0, other)]);
    assert_eq!(sent_from(&mut server), Some(local()));
    server.tunnel.forget_local(&[way]);
    assert_eq!(sent_from(&mut server), None);
    assert_eq!(server.tunnel.ways(0, 10), (Vec::new(), None));
}

/// A server whose handshakes are somebody else's arithmetic, a client of it and its initiation.
fn lending() -> (Server, Client) {
    let mut server = Server::new();
    server.tunnel.lend_errands();
    let mut client = Client::new(&server);
    server.add(&client, "10.0.0.2/32", None);
    let message = client.initiation();
    server.receive(&message, "192.0.2.2:7");
    assert!(server.is_silent());
    (server, client)
}

#[test]
fn handshakes_are_answered_elsewhere() {
    let (mut server, mut client) = lending();
    assert_eq!(server.run_errands(), 1, "who it is");
    assert!(server.is_silent());
    assert_eq!(server.tunnel.handshakes().queued, 1);
    assert_eq!(server.run_errands(), 1, "what to answer");
    let answer = client.answer(&server.datagram());
    server.receive(&answer, "192.0.2.2:7");
    let stats = server.tunnel.handshakes();
    assert_eq!((stats.answered, stats.completed, stats.queued), (1, 1, 0));
    server.send(&packet("10.0.0.2", [1, 2]));
    assert!(server.datagram().len() > 100, "a session");
    // With a session the tunnel is needed here: only who it is is found out elsewhere.
    server.now.instant += Duration::from_secs(1);
    let message = client.initiation();
    server.receive(&message, "192.0.2.2:7");
    assert_eq!(server.run_errands(), 1);
    assert_eq!(server.datagram().len(), HANDSHAKE_RESPONSE_SIZE);
}

#[test]
fn what_is_sent_while_an_answer_is_made_follows_it() {
    let (mut server, mut client) = lending();
    server.run_errands();
    let errands = std::mem::take(&mut server.out.errands);
    let mut change = PeerChange::new(client.key.public_key());
    change.endpoint = Some("192.0.2.2:7".parse().expect("an address"));
    change.persistent_keepalive = Some(5);
    server.apply_peer(change);
    server.send(&packet("10.0.0.2", [1, 2]));
    assert!(server.is_silent(), "no handshake crosses it");
    server.out.errands = errands;
    server.run_errands();
    let answer = client.answer(&server.datagram());
    server.receive(&answer, "192.0.2.2:7");
    assert_eq!(server.datagram().len(), DATA_OVERHEAD + 128, "what waited");
}

#[test]
fn an_answer_that_comes_too_late_is_dropped() {
    let remove = |server: &mut Server, client: &Client| {
        let mut change = PeerChange::new(client.key.public_key());
        change.remove = true;
        server.apply_peer(change);
    };
    let rekey = |server: &mut Server, client: &Client| {
        let mut change = PeerChange::new(client.key.public_key());
        change.preshared_key = Some(Some(PresharedKey::generate()));
        server.apply_peer(change);
    };
    let renew = |server: &mut Server, _: &Client| server.set_key(PrivateKey::generate());
    type Change = fn(&mut Server, &Client);
    let changes: [Change; 3] = [remove, rekey, renew];
    for (number, change) in changes.into_iter().enumerate() {
        for steps in 0..2 {
            let (mut server, client) = lending();
            for _ in 0..steps {
                server.run_errands();
            }
            let errands = std::mem::take(&mut server.out.errands);
            assert_eq!(errands.len(), 1);
            change(&mut server, &client);
            server.out.errands = errands;
            let mut is_silent = true;
            while server.run_errands() > 0 {
                is_silent &= server.is_silent();
            }
            // Another preshared key is in time, if the answer was not begun with the old one.
            assert!(is_silent != ((number, steps) == (1, 0)), "{number} {steps}");
            assert_eq!(server.tunnel.handshakes().queued, 0);
        }
    }
}

/// Whoever knows the public keys of both can make us look at its messages, but not more.
#[test]
fn a_forged_initiation_leaves_no_trace() {
    let (mut server, _) = lending();
    let mut forger = Client::new(&server);
    server.add(&forger, "10.0.0.3/32", Some("192.0.2.3:7"));
    server.run_errands();
    server.run_errands();
    let mut message = forger.initiation();
    // The timestamp does not decrypt; MAC1 is right again.
    message[100] ^= 1;
    let checker = crate::cookie::CookieChecker::new(&server.key.public_key());
    checker.sign(&mut message);
    server.now.instant += Duration::from_secs(1);
    server.receive(&message, "192.0.2.66:7");
    assert_eq!(server.run_errands(), 1);
    server.send(&packet("10.0.0.3", [1, 2]));
    assert!(server.is_silent());
    assert_eq!(server.run_errands(), 1);
    // The packet has its own handshake now.
    assert_eq!(server.datagram().len(), HANDSHAKE_INITIATION_SIZE);
    let peer = server
        .tunnel
        .peer(&forger.key.public_key())
        .expect("a peer");
    assert_eq!(peer.endpoint, "192.0.2.3:7".parse().ok());
    assert_eq!((peer.rx_bytes, server.tunnel.drops().handshake), (0, 1));
}
