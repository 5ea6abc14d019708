//! Random schedules on a bad link: ten minutes of traffic, silence, roaming, outages, restarts and
//! changes of the configuration, from a seed. A seed that fails is printed, and replays exactly
//! (`WGBIND_SEED=n`, one schedule).

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use wgbind_tunnel::{PresharedKey, PrivateKey, TunnelChange};

use crate::world::{Kind, LATENCY, World, address, allowed, inner, packet};

const SEEDS: u64 = 1_000;
const SCHEDULE: Duration = Duration::from_secs(600);

/// splitmix64 (Steele, Lea and Flood, 2014): a few lines that give the same numbers for ever.
#[derive(Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.fill_with(|| self.next() as u8);
        bytes
    }
}

/// What happened, by name: schedules that never met a thing prove nothing of it.
#[derive(Clone, Default)]
struct Tally(Rc<RefCell<BTreeMap<&'static str, usize>>>);

impl Tally {
    fn count(&self, what: &'static str) {
        self.add(what, 1);
    }

    fn add(&self, what: &'static str, times: usize) {
        *self.0.borrow_mut().entry(what).or_default() += times;
    }
}

/// A link that loses, doubles and delays `trouble` percent of the datagrams: one that is late is
/// overtaken by others.
fn bad_link(world: &mut World, seed: u64, trouble: u64, tally: &Tally) {
    let (mut random, tally) = (Random(seed), tally.clone());
    world.link = Box::new(move |_| {
        let mut delays = Vec::new();
        if !random.percent(trouble) {
            delays.push(LATENCY);
        }
        if random.percent(trouble) {
            delays.push(LATENCY + Duration::from_micros(random.below(300_000)));
        }
        match delays[..] {
            [] => tally.count("lost"),
            [delay] if delay > LATENCY => tally.count("late"),
            [_] => {}
            _ => tally.count("doubled"),
        }
        delays
    });
}

/// Every packet has a number; what comes out must be one that went in, towards this node, once.
struct Ledger {
    next: u64,
    sent: HashSet<Vec<u8>>,
    seen_of: Vec<usize>,
    delivered: HashSet<Vec<u8>>,
}

impl Ledger {
    fn send(&mut self, world: &mut World, random: &mut Random, from: usize, to: usize) {
        self.next += 1;
        let mut payload = self.next.to_be_bytes().to_vec();
        payload.resize(8 + random.below(1_392) as usize, 0xaa);
        let packet = packet(inner(from), inner(to), &payload);
        self.sent.insert(packet.clone());
        world.send(from, &packet);
    }

    fn check(&mut self, world: &World) {
        for (number, node) in world.nodes.iter().enumerate() {
            for packet in &node.received[self.seen_of[number]..] {
                let destination: [u8; 4] = packet[16..20].try_into().expect("an IPv4 header");
                assert_eq!(Ipv4Addr::from(destination), inner(number), "misrouted");
                assert!(self.sent.contains(packet), "changed or invented");
                assert!(self.delivered.insert(packet.clone()), "delivered twice");
            }
            self.seen_of[number] = node.received.len();
        }
    }
}

/// Changes something about a client, on both sides where both must agree.
///
/// A client is never made anew with its old key on one side alone: boringtun's time stamps begin
/// with the true time, which stands still here, so that its initiations would count as replays.
fn reconfigure(
    world: &mut World,
    random: &mut Random,
    ledger: &mut Ledger,
    client: usize,
) -> &'static str {
    match random.below(6) {
        0 => {
            let stranger = PrivateKey::from_bytes(random.bytes()).public_key();
            let mut change = wgbind_tunnel::PeerChange::new(stranger);
            change.allowed_ips = vec![allowed(&format!("10.0.9.{}/32", random.below(256)))];
            change.remove = random.percent(20);
            world.apply_peer(0, change);
            "another peer"
        }
        1 => {
            let (node, peer) = [(0, client), (client, 0)][random.below(2) as usize];
            let mut change = world.change_of(peer);
            change.persistent_keepalive = Some([0, 5, 25][random.below(3) as usize]);
            world.apply_peer(node, change);
            "another keepalive"
        }
        2 => {
            let key = Some(Some(PresharedKey::from_bytes(random.bytes())));
            for (node, peer) in [(0, client), (client, 0)] {
                let mut change = world.change_of(peer);
                change.preshared_key.clone_from(&key);
                world.apply_peer(node, change);
            }
            // The session goes on until a new one is needed, which would be made with a new tunnel's
            // time stamps: the server has to forget those before.
            for _ in 0..random.below(20) {
                let (from, to) = [(0, client), (client, 0)][random.below(2) as usize];
                ledger.send(world, random, from, to);
                world.run(Duration::from_millis(random.below(8_000)));
            }
            remove(world, client);
            admit(world, client);
            "another preshared key"
        }
        3 => {
            let mut change = world.change_of(client);
            change.replace_allowed_ips = true;
            change.allowed_ips = vec![allowed(&format!("{}/32", inner(client)))];
            world.apply_peer(0, change);
            "the same allowed IPs"
        }
        4 => {
            remove(world, client);
            admit(world, client);
            "removed and back"
        }
        _ => {
            remove(world, client);
            let key = PrivateKey::from_bytes(random.bytes());
            world.nodes[client].public_key = key.public_key();
            world.apply(
                client,
                TunnelChange {
                    private_key: Some(Some(key)),
                    ..Default::default()
                },
            );
            let mut change = world.change_of(0);
            change.preshared_key = Some(None);
            world.apply_peer(client, change);
            admit(world, client);
            "another private key"
        }
    }
}

fn remove(world: &mut World, client: usize) {
    let mut change = world.change_of(client);
    change.remove = true;
    world.apply_peer(0, change);
}

/// Makes a client a peer of the server again, with the preshared key that it has.
fn admit(world: &mut World, client: usize) {
    let mut change = world.change_of(client);
    change.preshared_key = Some(world.peer(client, 0).preshared_key);
    change.allowed_ips = vec![allowed(&format!("{}/32", inner(client)))];
    world.apply_peer(0, change);
}

fn schedule(seed: u64, tally: &Tally) -> World {
    let mut random = Random(seed);
    let clients = 1 + random.below(2) as usize;
    let mut world = World::hub(clients as u8);
    let trouble = random.below(30);
    bad_link(&mut world, random.next(), trouble, tally);
    let mut ledger = Ledger {
        next: 0,
        sent: HashSet::new(),
        seen_of: vec![0; clients + 1],
        delivered: HashSet::new(),
    };
    while world.elapsed() < SCHEDULE {
        let client = 1 + random.below(clients as u64) as usize;
        match random.below(26) {
            0..=7 => ledger.send(&mut world, &mut random, client, 0),
            8..=13 => ledger.send(&mut world, &mut random, 0, client),
            14..=15 => {
                for _ in 0..random.below(40) {
                    ledger.send(&mut world, &mut random, client, 0);
                }
            }
            16 => {
                let port = 1_024 + random.below(60_000) as u16;
                world.nodes[client].address = address([198, 51, 100, client as u8], port);
                tally.count("roamed");
            }
            17 => {
                world.lose(|_| true);
                tally.count("cut off");
            }
            18..=20 => bad_link(&mut world, random.next(), trouble, tally),
            21 => {
                world.restart(0, false);
                tally.count("restarted");
            }
            22..=23 => tally.count(reconfigure(&mut world, &mut random, &mut ledger, client)),
            _ => {
                world.run(Duration::from_secs(random.below(200)));
                tally.count("silent");
            }
        }
        world.run(Duration::from_millis(random.below(8_000)));
        ledger.check(&world);
    }
    // The link heals: within one retry each client is back, and stays.
    world.lose(|_| false);
    for client in 1..=clients {
        ledger.send(&mut world, &mut random, client, 0);
    }
    world.run(Duration::from_secs(21));
    ledger.check(&world);
    for client in 1..=clients {
        assert!(world.ping(client, 0), "client {client} is cut off");
        assert!(world.ping(0, client), "client {client} is not reached");
    }
    // Each response makes a session.
    let responses = world.seen.iter().filter(|seen| seen.kind == Kind::Response);
    tally.add("session", responses.count());
    world
}

/// Runs the schedules of some seeds, and returns what happened in them.
fn schedules(seeds: impl Iterator<Item = u64>) -> BTreeMap<&'static str, usize> {
    let tally = Tally::default();
    for seed in seeds {
        let run = || {
            schedule(seed, &tally);
        };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        assert!(outcome.is_ok(), "the schedule of WGBIND_SEED={seed} failed");
    }
    tally.0.take()
}

#[test]
fn random_schedules_keep_every_promise() {
    let only = std::env::var("WGBIND_SEED").ok();
    if let Some(seed) = only.and_then(|seed| seed.parse().ok()) {
        schedules(std::iter::once(seed));
        return;
    }
    let mut total = BTreeMap::new();
    thread::scope(|scope| {
        // Each thread has a virtual clock of its own.
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..workers)
            .map(|first| scope.spawn(move || schedules((first as u64..SEEDS).step_by(workers))))
            .collect();
        for thread in threads {
            match thread.join() {
                Ok(tally) => {
                    for (what, count) in tally {
                        *total.entry(what).or_insert(0) += count;
                    }
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    for what in [
        "lost",
        "late",
        "doubled",
        "roamed",
        "cut off",
        "silent",
        "restarted",
        "another peer",
        "another keepalive",
        "another preshared key",
        "another private key",
        "the same allowed IPs",
        "removed and back",
    ] {
        let times = total.get(what).copied().unwrap_or_default();
        assert!(times as u64 > SEEDS / 10, "{what}: {times} times");
    }
    let sessions = total["session"];
    assert!(sessions as u64 > 4 * SEEDS, "{sessions} sessions");
}

#[test]
fn a_seed_replays_exactly() {
    let trace = |seed| -> Vec<(Duration, SocketAddr, SocketAddr, Kind, usize)> {
        let seen = schedule(seed, &Tally::default()).seen;
        seen.iter()
            .map(|seen| {
                (
                    seen.at,
                    seen.source,
                    seen.destination,
                    seen.kind,
                    seen.bytes.len(),
                )
            })
            .collect()
    };
    for seed in 0..5 {
        assert_eq!(trace(seed), trace(seed), "WGBIND_SEED={seed}");
    }
    assert_ne!(trace(1), trace(2));
}
