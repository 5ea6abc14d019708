//! Many WireGuard clients, and plain UDP at a pace: the traffic of `make bench`.
//!
//!     load peers COUNT                                the clients as `wg addconf` wants them
//!     load connect SERVER KEY COUNT [hold]            all at once; prints the seconds it took
//!     load handshakes SERVER KEY COUNT SECONDS        prints handshakes a second
//!     load talk SERVER KEY COUNT BURST SIZE SECONDS TO
//!         TO is an address behind the server, or `peers`; prints "ready", waits for a line,
//!         then sends as fast as it can and prints packets sent
//!     load flood SERVER KEY RATE SECONDS              initiations of nobody from 10.128.0.0/9, each
//!         with a right MAC1; prints how many
//!     load pace ADDRESS RATE SIZE SECONDS             UDP; prints packets sent
//!
//! SERVER and ADDRESS are IPv4 addresses with a port, KEY is the server's public key.

mod client;
mod flood;
mod sockets;

use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, BufRead as _, Write as _};
use std::mem;
use std::net::{Ipv4Addr, UdpSocket};
use std::str::FromStr;
use std::time::{Duration, Instant};

use client::{Client, Outcome};
use sockets::Sockets;

/// Initiations under way when the server is not to be put under load.
const WINDOW: usize = 64;

/// When a client tries again (the paper, section 6.1: Rekey-Timeout).
const REKEY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long clients that have nothing to send wait for an answer: real ones would not keep a core
/// of the server's machine busy meanwhile.
const PATIENCE: Duration = Duration::from_millis(1);

/// The pace of the pacer: a burst this often.
const BEAT: Duration = Duration::from_micros(200);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["peers", count] => {
            let peers: String = (0..parse(count)?).map(client::configuration).collect();
            print!("{peers}");
        }
        ["connect", server, key, count, ref hold @ ..] => {
            let mut fleet = Fleet::new(server, key, count)?;
            let start = Instant::now();
            fleet.connect(usize::MAX)?;
            say(start.elapsed().as_secs_f64())?;
            if !hold.is_empty() {
                wait_for_line()?;
            }
        }
        ["handshakes", server, key, count, seconds] => {
            let mut fleet = Fleet::new(server, key, count)?;
            let seconds = parse(seconds)?;
            say(fleet.shake_hands(Duration::from_secs_f64(seconds))? as f64 / seconds)?;
        }
        ["talk", server, key, count, burst, size, seconds, to] => {
            let mut fleet = Fleet::new(server, key, count)?;
            fleet.connect(WINDOW)?;
            fleet.address_packets(parse(size)?, parse(to).ok());
            say("ready")?;
            wait_for_line()?;
            say(fleet.talk(parse(burst)?, Duration::from_secs_f64(parse(seconds)?)))?;
        }
        ["flood", server, key, rate, seconds] => {
            let duration = Duration::from_secs_f64(parse(seconds)?);
            let key = client::parse_key(key);
            say(flood::flood(parse(server)?, &key, parse(rate)?, duration)?)?;
        }
        ["pace", address, rate, size, seconds] => {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.connect(address)?;
            let duration = Duration::from_secs_f64(parse(seconds)?);
            say(pace(&socket, parse(rate)?, parse(size)?, duration))?;
        }
        _ => return Err("wrong arguments: see the head of main.rs".into()),
    }
    Ok(())
}

fn parse<T: FromStr<Err: Error + 'static>>(word: &str) -> Result<T, Box<dyn Error>> {
    Ok(word.parse()?)
}

fn say(what: impl std::fmt::Display) -> io::Result<()> {
    println!("{what}");
    io::stdout().flush()
}

fn wait_for_line() -> io::Result<()> {
    io::stdin().lock().read_line(&mut String::new()).map(drop)
}

/// Sends datagrams of `size` bytes at an even pace; returns how many.
fn pace(socket: &UdpSocket, rate: f64, size: usize, duration: Duration) -> u64 {
    let payload = vec![0; size];
    let (start, mut sent) = (Instant::now(), 0);
    while start.elapsed() < duration {
        let due = (start.elapsed().as_secs_f64() * rate) as u64;
        while sent < due {
            // A full queue is a loss like any other.
            let _ = socket.send(&payload);
            sent += 1;
        }
        std::thread::sleep(BEAT);
    }
    sent
}

/// All clients and their sockets.
struct Fleet {
    clients: Vec<Client>,
    sockets: Sockets,
}

impl Fleet {
    fn new(server: &str, key: &str, count: &str) -> Result<Self, Box<dyn Error>> {
        let (key, count) = (client::parse_key(key), parse(count)?);
        Ok(Self {
            clients: (0..count).map(|number| Client::new(number, key)).collect(),
            sockets: Sockets::open(count as usize, server.parse()?)?,
        })
    }

    /// Connects all clients, `window` of them at a time.
    fn connect(&mut self, window: usize) -> io::Result<()> {
        let mut waiting: VecDeque<usize> = (0..self.clients.len()).collect();
        let mut asked: VecDeque<(Instant, usize)> = VecDeque::new();
        let mut missing = self.clients.len();
        while missing > 0 {
            while let Some(&(when, number)) = asked.front()
                && (self.clients[number].connected || when.elapsed() >= REKEY_TIMEOUT)
            {
                asked.pop_front();
                if !self.clients[number].connected {
                    waiting.push_back(number);
                }
            }
            // A few between two looks at what came, as many machines would.
            let mut wait = PATIENCE;
            for _ in 0..WINDOW.min(window.saturating_sub(asked.len())) {
                let Some(number) = waiting.pop_front() else {
                    break;
                };
                let message = self.clients[number].initiate();
                self.sockets.send(number, &message, message.len());
                asked.push_back((Instant::now(), number));
                wait = Duration::ZERO;
            }
            for number in self.receive(wait)? {
                // An answer to an earlier try may come late.
                missing -= usize::from(!mem::replace(&mut self.clients[number].connected, true));
            }
        }
        Ok(())
    }

    /// Shakes hands, client after client, for as long as `duration`; returns how often.
    fn shake_hands(&mut self, duration: Duration) -> io::Result<usize> {
        let (start, mut done, mut under_way) = (Instant::now(), 0, 0);
        let (mut next, mut last) = (0, Instant::now());
        while start.elapsed() < duration {
            while under_way < WINDOW {
                let message = self.clients[next].initiate();
                self.sockets.send(next, &message, message.len());
                next = (next + 1) % self.clients.len();
                under_way += 1;
            }
            let answered = self.receive(PATIENCE)?.len();
            done += answered;
            under_way -= answered.min(under_way);
            if answered > 0 {
                last = Instant::now();
            } else if last.elapsed() > Duration::from_millis(20) {
                // What is missing was dropped.
                (under_way, last) = (0, Instant::now());
            }
        }
        Ok(done)
    }

    /// Handles what has come in, waiting for it so long at most; returns whose handshakes it
    /// completed.
    fn receive(&mut self, wait: Duration) -> io::Result<Vec<usize>> {
        let clients = &mut self.clients;
        let mut connected = Vec::new();
        self.sockets.receive(wait, |sockets, message| {
            let Some(number) = client::addressee(message) else {
                return;
            };
            match clients[number].handle(message) {
                Outcome::Connected(answer) => {
                    sockets.send(number, &answer, answer.len());
                    connected.push(number);
                }
                Outcome::Again(initiation) => {
                    sockets.send(number, &initiation, initiation.len());
                }
                Outcome::Nothing => {}
            }
        })?;
        Ok(connected)
    }

    /// Gives each client its packet: to `to`, or to another client.
    fn address_packets(&mut self, size: usize, to: Option<Ipv4Addr>) {
        let count = self.clients.len() as u32;
        for (number, client) in (0..count).zip(&mut self.clients) {
            let to = to.unwrap_or_else(|| client::address((number + count / 2) % count));
            client.packet = client::packet(client::address(number), to, size);
        }
    }

    /// Sends bursts, client after client; returns how many packets.
    fn talk(&mut self, burst: usize, duration: Duration) -> usize {
        let (start, mut sent) = (Instant::now(), 0);
        let mut buffer = vec![0; burst * client::ROOM];
        while start.elapsed() < duration {
            for (number, client) in self.clients.iter_mut().enumerate() {
                let (mut end, mut size) = (0, 0);
                for _ in 0..burst {
                    size = client.seal(&mut buffer[end..]);
                    end += size;
                }
                self.sockets.send(number, &buffer[..end], size);
                sent += burst;
            }
        }
        sent
    }
}
