//! The body of the fuzz target `uapi`: a `set` operation of any text.
//!
//! It is refused, in one line that repeats nothing of it, or means the same when it is written
//! down and read again.

use std::fmt::Write as _;

use wgbind_tunnel::{PeerChange, PresharedKey};

use super::parse::{Refusal, SetParser};
use crate::device::DeviceChange;

/// Of a secret, nobody would have that many digits in a message by accident.
const SECRET: usize = 12;

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match parse(text) {
        Ok(change) => {
            let written = write(&change);
            let again = parse(&written).expect("what is written is read");
            assert_eq!(write(&again), written);
        }
        Err(Refusal { errno, message }) => {
            assert!(errno == libc::EPROTO || errno == libc::EINVAL);
            assert!(message.lines().count() == 1 && message.len() < 100);
            let mut words = message.split(|letter: char| !letter.is_ascii_hexdigit());
            assert!(words.all(|word| word.len() < SECRET), "{message}");
        }
    }
}

fn parse(text: &str) -> Result<DeviceChange, Refusal> {
    let mut parser = SetParser::default();
    for line in text.lines() {
        parser.line(line)?;
    }
    Ok(parser.finish())
}

/// A change, as `wg` would ask for it.
fn write(change: &DeviceChange) -> String {
    let mut text = String::new();
    if let Some(key) = &change.tunnel.private_key {
        let key = key.as_ref().map_or([0; 32], |key| *key.reveal());
        line(&mut text, "private_key", hex(&key));
    }
    optional(&mut text, "listen_port", change.listen_port);
    optional(&mut text, "fwmark", change.fwmark);
    flag(&mut text, "replace_peers", change.tunnel.replace_peers);
    for peer in &change.tunnel.peers {
        write_peer(&mut text, peer);
    }
    text
}

fn write_peer(text: &mut String, peer: &PeerChange) {
    line(text, "public_key", hex(peer.public_key.as_bytes()));
    flag(text, "remove", peer.remove);
    flag(text, "update_only", peer.update_only);
    if let Some(key) = &peer.preshared_key {
        let key = key.as_ref().map_or(&[0; 32], PresharedKey::reveal);
        line(text, "preshared_key", hex(key));
    }
    optional(text, "endpoint", peer.endpoint);
    optional(
        text,
        "persistent_keepalive_interval",
        peer.persistent_keepalive,
    );
    flag(text, "replace_allowed_ips", peer.replace_allowed_ips);
    for change in &peer.allowed_ips {
        let sign = if change.remove { "-" } else { "" };
        line(text, "allowed_ip", format!("{sign}{}", change.prefix));
    }
}

fn line(text: &mut String, key: &str, value: impl std::fmt::Display) {
    writeln!(text, "{key}={value}").expect("a string takes all");
}

fn optional(text: &mut String, key: &str, value: Option<impl std::fmt::Display>) {
    if let Some(value) = value {
        line(text, key, value);
    }
}

fn flag(text: &mut String, key: &str, value: bool) {
    optional(text, key, value.then_some("true"));
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_corpus_replays() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/uapi");
        let files: Vec<_> = fs::read_dir(corpus).expect("a corpus").collect();
        assert!(!files.is_empty());
        for file in files {
            super::run(&fs::read(file.expect("a file").path()).expect("its bytes"));
        }
    }
}
