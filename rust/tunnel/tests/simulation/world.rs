//! The world: nodes, the link between them, and time.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};
use std::{iter, mem, slice};

use mock_instant::MockClock;
use wgbind_tunnel::{
    AllowedIpChange, DatagramIn, Drops, Ecn, Event, Handover, Now, Outbox, PacketIn, PeerChange,
    PeerStatus, Porter, PrivateKey, PublicKey, Transmit, Tunnel, TunnelChange, VirtioHeader,
};

/// One way through the link.
pub(crate) const LATENCY: Duration = Duration::from_millis(10);

/// What kind of message a datagram is, by its first byte (the paper, section 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Initiation,
    Response,
    Cookie,
    Keepalive,
    Data,
    Other,
}

impl Kind {
    fn of(datagram: &[u8]) -> Self {
        match (datagram.first(), datagram.len()) {
            (Some(1), 148) => Self::Initiation,
            (Some(2), 92) => Self::Response,
            (Some(3), 64) => Self::Cookie,
            (Some(4), 32) => Self::Keepalive,
            (Some(4), 33..) => Self::Data,
            _ => Self::Other,
        }
    }
}

/// A datagram that the eavesdropper saw.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Duration,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) kind: Kind,
    pub(crate) bytes: Vec<u8>,
}

/// A tunnel with an address on the link.
pub(crate) struct Node {
    pub(crate) tunnel: Tunnel,
    /// Who takes its handshake messages, if that is not the tunnel itself.
    porter: Option<Porter>,
    pub(crate) public_key: PublicKey,
    pub(crate) address: SocketAddr,
    /// Packets that came out of the tunnel, oldest first.
    pub(crate) received: Vec<Vec<u8>>,
    /// ICMP errors that its tunnel made, oldest first.
    pub(crate) told: Vec<Vec<u8>>,
    /// What its tunnel told of its peers, oldest first.
    pub(crate) events: Vec<Event>,
}

impl Node {
    fn poll_timeout(&self) -> Option<Instant> {
        let tunnel = self.tunnel.poll_timeout().map(|(at, _)| at);
        let porter = self.porter.as_ref().and_then(Porter::poll_timeout);
        tunnel.into_iter().chain(porter).min()
    }

    /// What the tunnel and its porter dropped.
    pub(crate) fn drops(&self) -> Drops {
        let mut drops = self.tunnel.drops();
        if let Some(porter) = &self.porter {
            drops += porter.drops();
        }
        drops
    }
}

/// How long a datagram is under way: nothing if it is lost, two times if it arrives twice.
type Link = Box<dyn FnMut(&Seen) -> Vec<Duration>>;

pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    pub(crate) seen: Vec<Seen>,
    pub(crate) link: Link,
    /// By time of arrival, and by order of sending where that is equal.
    in_flight: BTreeMap<(Duration, usize), Seen>,
    sent: usize,
    start: Instant,
    elapsed: Duration,
    /// Which nodes sleep.
    sleepers: Vec<bool>,
    /// What nodes are handed things in, again and again: clearing it takes longer than using it.
    datagram_slot: DatagramIn,
    packet_slot: PacketIn,
}

pub(crate) const MTU: u16 = 1420;

/// The most bytes of a datagram over IPv4.
pub(crate) const MAX_DATAGRAM: usize = 65_507;

impl World {
    pub(crate) fn new() -> Self {
        MockClock::set_time(Duration::ZERO);
        Self {
            nodes: Vec::new(),
            seen: Vec::new(),
            link: Box::new(|_| vec![LATENCY]),
            in_flight: BTreeMap::new(),
            sent: 0,
            start: Instant::now(),
            elapsed: Duration::ZERO,
            sleepers: Vec::new(),
            datagram_slot: DatagramIn::default(),
            packet_slot: PacketIn::default(),
        }
    }

    /// A server (node 0, inner 10.0.0.1) and `clients` that know it (inner 10.0.0.2, ...).
    pub(crate) fn hub(clients: u8) -> Self {
        let mut world = Self::new();
        let server = world.add_node();
        for number in 0..clients {
            let client = world.add_node();
            world.acquaint(server, client, &format!("10.0.0.{}/32", number + 2), false);
            world.acquaint(client, server, "10.0.0.0/24", true);
        }
        world
    }

    /// ... where a porter stands before the server, as in a device.
    pub(crate) fn guarded_hub(clients: u8) -> Self {
        let mut world = Self::hub(clients);
        let server = &mut world.nodes[0];
        let mut porter = Porter::new(1);
        porter.apply(&TunnelChange {
            private_key: Some(server.tunnel.private_key().cloned()),
            peers: (server.tunnel.peers(0, usize::MAX).0.iter())
                .map(|peer| PeerChange::new(peer.public_key))
                .collect(),
            ..Default::default()
        });
        server.tunnel.set_porter(true);
        server.porter = Some(porter);
        world
    }

    pub(crate) fn add_node(&mut self) -> usize {
        let number = self.nodes.len() as u8;
        let private_key = PrivateKey::generate();
        let public_key = private_key.public_key();
        self.nodes.push(Node {
            tunnel: Tunnel::new(MTU),
            porter: None,
            public_key,
            address: SocketAddr::from(([192, 0, 2, number + 1], 51820)),
            received: Vec::new(),
            told: Vec::new(),
            events: Vec::new(),
        });
        self.apply(
            number.into(),
            TunnelChange {
                private_key: Some(Some(private_key)),
                ..Default::default()
            },
        );
        number.into()
    }

    /// Makes `peer` a peer of `node`.
    pub(crate) fn acquaint(&mut self, node: usize, peer: usize, allowed_ip: &str, endpoint: bool) {
        let mut change = self.change_of(peer);
        change.allowed_ips = vec![allowed(allowed_ip)];
        change.endpoint = endpoint.then_some(self.nodes[peer].address);
        self.apply_peer(node, change);
    }

    pub(crate) fn change_of(&self, peer: usize) -> PeerChange {
        PeerChange::new(self.nodes[peer].public_key)
    }

    pub(crate) fn apply_peer(&mut self, node: usize, change: PeerChange) {
        self.apply(
            node,
            TunnelChange {
                peers: vec![change],
                ..Default::default()
            },
        );
    }

    pub(crate) fn apply(&mut self, node: usize, change: TunnelChange) {
        let now = self.now();
        let mut out = self.outbox(node);
        let Node { tunnel, porter, .. } = &mut self.nodes[node];
        if let Some(porter) = porter {
            porter.apply(&change);
        }
        tunnel.apply(change, now, &mut out).unwrap();
        self.take(node, out);
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            instant: self.start + self.elapsed,
            unix: Duration::from_secs(1_800_000_000) + self.elapsed,
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Loses the datagrams of which `is_lost` says so; the others take `LATENCY`.
    pub(crate) fn lose(&mut self, is_lost: impl Fn(&Seen) -> bool + 'static) {
        self.link = Box::new(move |seen| match is_lost(seen) {
            true => Vec::new(),
            false => vec![LATENCY],
        });
    }

    /// Starts `node` again with nothing but its configuration, in which only `endpoints` says
    /// where its peers are.
    pub(crate) fn restart(&mut self, node: usize, endpoints: bool) {
        let before = mem::replace(&mut self.nodes[node].tunnel, Tunnel::new(MTU));
        let mut change = TunnelChange {
            private_key: Some(before.private_key().cloned()),
            ..Default::default()
        };
        for peer in before.peers(0, usize::MAX).0 {
            change.peers.push(PeerChange {
                preshared_key: Some(peer.preshared_key),
                endpoint: peer.endpoint.filter(|_| endpoints),
                persistent_keepalive: Some(peer.persistent_keepalive),
                allowed_ips: peer
                    .allowed_ips
                    .into_iter()
                    .map(AllowedIpChange::add)
                    .collect(),
                ..PeerChange::new(peer.public_key)
            });
        }
        self.apply(node, change);
    }

    // --- Packets.

    /// Hands `node` a packet from its TUN device.
    pub(crate) fn send(&mut self, node: usize, packet: &[u8]) {
        self.send_offloaded(node, VirtioHeader::default(), packet);
    }

    /// Hands `node` a packet that its virtio header says how to complete or to split.
    pub(crate) fn send_offloaded(&mut self, node: usize, header: VirtioHeader, packet: &[u8]) {
        let now = self.now();
        let mut out = self.outbox(node);
        let slot = &mut self.packet_slot;
        (slot.header, slot.len) = (header, packet.len());
        slot.buffer[..packet.len()].copy_from_slice(packet);
        self.nodes[node]
            .tunnel
            .handle_packets(slice::from_mut(slot), now, &mut out);
        let received = self.nodes[node].received.len();
        self.take(node, out);
        // What comes back from there at once are errors.
        let node = &mut self.nodes[node];
        node.told.extend(node.received.drain(received..));
    }

    /// Sends a packet, gives it time to arrive, and answers it if it did; whether both came through.
    pub(crate) fn ping(&mut self, from: usize, to: usize) -> bool {
        let (source, destination) = (inner(from), inner(to));
        let before = self.nodes[to].received.len();
        self.send(from, &packet(source, destination, b"ping"));
        self.run(3 * LATENCY);
        if self.nodes[to].received.len() == before {
            return false;
        }
        let before = self.nodes[from].received.len();
        self.send(to, &packet(destination, source, b"pong"));
        self.run(3 * LATENCY);
        self.nodes[from].received.len() > before
    }

    /// Delivers a datagram to a node at once, as if it came from `source`.
    pub(crate) fn deliver(&mut self, node: usize, source: SocketAddr, bytes: &[u8]) {
        self.deliver_train(node, source, bytes, bytes.len(), Ecn::NotCapable);
    }

    /// Delivers datagrams of `segment_size` bytes that one receive call brings.
    pub(crate) fn deliver_train(
        &mut self,
        node: usize,
        source: SocketAddr,
        bytes: &[u8],
        segment_size: usize,
        ecn: Ecn,
    ) {
        let now = self.now();
        let mut out = self.outbox(node);
        let slot = &mut self.datagram_slot;
        (slot.len, slot.segment_size) = (bytes.len(), segment_size);
        (slot.source, slot.ecn) = (source, ecn);
        slot.buffer[..bytes.len()].copy_from_slice(bytes);
        let batch = slice::from_mut(slot);
        let Node { tunnel, porter, .. } = &mut self.nodes[node];
        match porter {
            // So the kernel gives them to the sockets of a device.
            Some(porter) if bytes.first() != Some(&4) => {
                porter.handle_datagrams(batch, now, &mut out);
            }
            _ => tunnel.handle_datagrams(batch, now, &mut out),
        }
        self.take(node, out);
    }

    /// Delivers an initiation from so many places at once that the node asks for cookies.
    pub(crate) fn crowd(&mut self, node: usize, initiation: &[u8]) {
        for number in 0..13_000u16 {
            let [high, low] = number.to_be_bytes();
            self.deliver(node, address([198, 18, high, low], 9), initiation);
        }
    }

    fn outbox(&self, node: usize) -> Outbox {
        let others = if self.nodes[node].porter.is_some() {
            2
        } else {
            0
        };
        Outbox {
            handovers: iter::repeat_with(Handover::default).take(others).collect(),
            ..Outbox::default()
        }
    }

    /// Gives to the tunnel what is for it, and to the porter behind it what is for that.
    fn hand_over(&mut self, node: usize, batches: Vec<Handover>) {
        let now = self.now();
        for (to, mut batch) in batches.into_iter().enumerate() {
            if batch.is_empty() {
                continue;
            }
            let mut out = self.outbox(node);
            let Node { tunnel, porter, .. } = &mut self.nodes[node];
            match porter {
                Some(porter) if to == 1 => porter.handle_handover(&mut batch, now, &mut out),
                _ => tunnel.handle_handover(&mut batch, now, &mut out),
            }
            self.take(node, out);
        }
        let Node { tunnel, porter, .. } = &mut self.nodes[node];
        if let Some(porter) = porter {
            porter.set_waiting(tunnel.waiting());
        }
    }

    /// Puts what a tunnel wants sent on the link.
    fn take(&mut self, node: usize, mut out: Outbox) {
        self.hand_over(node, mem::take(&mut out.handovers));
        self.nodes[node].events.extend(&out.events);
        for run in &out.datagrams.runs {
            let Transmit {
                range,
                segment_size,
                destination,
                ..
            } = run;
            for datagram in out.datagrams.buffer[range.clone()].chunks(*segment_size) {
                let seen = Seen {
                    at: self.elapsed,
                    source: self.nodes[node].address,
                    destination: *destination,
                    kind: Kind::of(datagram),
                    bytes: datagram.to_vec(),
                };
                // The kernel takes no longer ones (EMSGSIZE).
                let delays = match seen.bytes.len() <= MAX_DATAGRAM {
                    true => (self.link)(&seen),
                    false => Vec::new(),
                };
                for delay in delays {
                    self.sent += 1;
                    self.in_flight
                        .insert((self.elapsed + delay, self.sent), seen.clone());
                }
                self.seen.push(seen);
            }
        }
        for packet in &out.packets.packets {
            let packet = out.packets.buffer[packet.clone()].to_vec();
            self.nodes[node].received.push(packet);
        }
    }

    // --- Time.

    /// Lets time pass, with everything that happens in it.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.elapsed + duration;
        loop {
            let arrival = self.in_flight.keys().next().map(|(at, _)| *at);
            let timeouts = (0..self.nodes.len())
                .filter(|node| self.is_awake(*node))
                .filter_map(|node| self.nodes[node].poll_timeout())
                .map(|at| at.saturating_duration_since(self.start));
            let next = timeouts.chain(arrival).min().filter(|at| *at <= end);
            let Some(next) = next else { break };
            self.advance_to(next);
            for node in 0..self.nodes.len() {
                if !self.is_awake(node) {
                    continue;
                }
                let now = self.now();
                let mut out = self.outbox(node);
                if let Some(porter) = &mut self.nodes[node].porter {
                    porter.handle_timeout(now, &mut out);
                }
                self.nodes[node].tunnel.handle_timeout(now, &mut out);
                self.take(node, out);
            }
            while let Some(entry) = self.in_flight.first_entry()
                && entry.key().0 <= next
            {
                let seen = entry.remove();
                let target = self
                    .nodes
                    .iter()
                    .position(|node| node.address == seen.destination);
                if let Some(node) = target
                    && self.is_awake(node)
                {
                    self.deliver(node, seen.source, &seen.bytes);
                }
            }
        }
        self.advance_to(end);
    }

    /// Lets time pass for all, while the nodes marked in `sleepers` look at nothing, and what is
    /// sent to them is lost.
    pub(crate) fn sleep(&mut self, duration: Duration, sleepers: &[bool]) {
        self.sleepers = sleepers.to_vec();
        self.run(duration);
        self.sleepers.clear();
    }

    fn is_awake(&self, node: usize) -> bool {
        !self.sleepers.get(node).is_some_and(|sleeps| *sleeps)
    }

    fn advance_to(&mut self, elapsed: Duration) {
        if let Some(step) = elapsed.checked_sub(self.elapsed) {
            MockClock::advance(step);
            self.elapsed = elapsed;
        }
    }

    // --- What there is to see.

    /// How many messages of each kind went over the link since `from`.
    pub(crate) fn kinds_since(&self, from: Duration) -> BTreeMap<Kind, usize> {
        let mut kinds = BTreeMap::new();
        for seen in self.seen.iter().filter(|seen| seen.at >= from) {
            *kinds.entry(seen.kind).or_default() += 1;
        }
        kinds
    }

    pub(crate) fn drops(&self, node: usize) -> Drops {
        self.nodes[node].drops()
    }

    pub(crate) fn peer(&self, node: usize, peer: usize) -> PeerStatus {
        self.nodes[node]
            .tunnel
            .peer(&self.nodes[peer].public_key)
            .unwrap()
    }
}

/// The inner address of a node.
pub(crate) fn inner(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, node as u8 + 1)
}

pub(crate) fn allowed(prefix: &str) -> AllowedIpChange {
    AllowedIpChange {
        prefix: prefix.parse().unwrap(),
        remove: false,
    }
}

/// An IPv4 packet of UDP's protocol number with a payload that no one looks at.
pub(crate) fn packet(source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 20];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
    packet[8] = 64;
    packet[9] = 17;
    packet[12..16].copy_from_slice(&source.octets());
    packet[16..20].copy_from_slice(&destination.octets());
    packet.extend_from_slice(payload);
    packet
}

/// An IPv6 packet like those of [`packet`].
pub(crate) fn packet_6(source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([17, 64]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    packet
}

pub(crate) fn address(ip: [u8; 4], port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::from(ip), port)
}
