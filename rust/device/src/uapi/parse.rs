//! The text of a `set` operation, as a typed change.

use std::ffi::c_int;
use std::net::{SocketAddr, SocketAddrV6};
use std::str::FromStr;

use ipnet::IpNet;
use wgbind_tunnel::{AllowedIpChange, Cause, PeerChange, PresharedKey, PrivateKey, PublicKey};

use crate::device::DeviceChange;
use crate::sys;

/// Why an operation is refused. The message never repeats what was sent: it may be a secret.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The number that the client is told.
    pub(super) errno: c_int,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn protocol(message: impl Into<String>) -> Self {
        Self {
            errno: libc::EPROTO,
            message: message.into(),
        }
    }

    fn invalid(key: &str, problem: &str) -> Self {
        Self {
            errno: libc::EINVAL,
            message: format!("{key}: {problem}"),
        }
    }
}

/// Takes a `set` operation line by line, without the empty line at its end. Nothing is applied
/// before that line was seen, and each `public_key` starts with nothing of the peer before it.
#[derive(Default)]
pub(super) struct SetParser {
    change: DeviceChange,
}

impl SetParser {
    pub(super) fn line(&mut self, line: &str) -> Result<(), Refusal> {
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| Refusal::protocol("a line without `=`"))?;
        let peers = &mut self.change.tunnel.peers;
        if key == "public_key" {
            let public_key = hex_key(key, value, PublicKey::parse)?;
            peers.push(PeerChange::new(public_key));
            return Ok(());
        }
        match peers.last_mut() {
            Some(peer) => peer_line(peer, key, value),
            None => self.device_line(key, value),
        }
    }

    pub(super) fn finish(mut self) -> DeviceChange {
        self.change.tunnel.cause = Cause::ControlSocket;
        self.change
    }

    fn device_line(&mut self, key: &str, value: &str) -> Result<(), Refusal> {
        match key {
            "private_key" => {
                self.change.tunnel.private_key = Some(unless_zero(value, || {
                    hex_key(key, value, PrivateKey::parse)
                })?);
            }
            "listen_port" => self.change.listen_port = Some(number(key, value)?),
            "fwmark" => self.change.fwmark = Some(number(key, value)?),
            "replace_peers" => self.change.tunnel.replace_peers = only_true(key, value)?,
            _ => return Err(unknown_key("device")),
        }
        Ok(())
    }
}

fn peer_line(peer: &mut PeerChange, key: &str, value: &str) -> Result<(), Refusal> {
    match key {
        "remove" => peer.remove = only_true(key, value)?,
        "update_only" => peer.update_only = only_true(key, value)?,
        "preshared_key" => {
            peer.preshared_key = Some(unless_zero(value, || {
                hex_key(key, value, PresharedKey::parse)
            })?);
        }
        "endpoint" => peer.endpoint = Some(endpoint(key, value)?),
        "persistent_keepalive_interval" => peer.persistent_keepalive = Some(number(key, value)?),
        "replace_allowed_ips" => {
            peer.replace_allowed_ips = only_true(key, value)?;
            // What came before it in the same operation is replaced too.
            peer.allowed_ips.clear();
        }
        "allowed_ip" => peer.allowed_ips.push(allowed_ip(key, value)?),
        "protocol_version" if value == "1" => {}
        "protocol_version" => return Err(Refusal::invalid(key, "only 1 is known")),
        _ => return Err(unknown_key("peer")),
    }
    Ok(())
}

fn unknown_key(of: &str) -> Refusal {
    // Not even the key is repeated: a secret in base64 ends with `=` and looks like one.
    Refusal::invalid(&format!("a line of the {of}"), "unknown key")
}

/// Keys are hexadecimal here; the key types read base64 too.
fn hex_key<T, E>(key: &str, value: &str, parse: fn(&str) -> Result<T, E>) -> Result<T, Refusal> {
    const DIGITS: usize = 64;
    let problem = || Refusal::invalid(key, "not 64 hexadecimal digits");
    if value.len() != DIGITS {
        return Err(problem());
    }
    parse(value).map_err(|_| problem())
}

/// A key of zeros stands for none.
fn unless_zero<T>(
    value: &str,
    parse: impl FnOnce() -> Result<T, Refusal>,
) -> Result<Option<T>, Refusal> {
    let key = parse()?;
    Ok((!value.bytes().all(|byte| byte == b'0')).then_some(key))
}

fn number<T: FromStr>(key: &str, value: &str) -> Result<T, Refusal> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    value
        .parse()
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| Refusal::invalid(key, "not a decimal number of its range"))
}

fn only_true(key: &str, value: &str) -> Result<bool, Refusal> {
    if value == "true" {
        Ok(true)
    } else {
        Err(Refusal::invalid(key, "only `true` is known"))
    }
}

fn endpoint(key: &str, value: &str) -> Result<SocketAddr, Refusal> {
    value
        .parse()
        .ok()
        .or_else(|| scoped_endpoint(value))
        .ok_or_else(|| Refusal::invalid(key, "not ADDRESS:PORT or [ADDRESS]:PORT"))
}

/// `[ADDRESS%INTERFACE]:PORT`; std reads only the interface's number.
fn scoped_endpoint(value: &str) -> Option<SocketAddr> {
    let (ip, rest) = value.strip_prefix('[')?.split_once('%')?;
    let (interface, port) = rest.split_once("]:")?;
    let scope = sys::interface_index(interface)?;
    Some(SocketAddrV6::new(ip.parse().ok()?, port.parse().ok()?, 0, scope).into())
}

fn allowed_ip(key: &str, value: &str) -> Result<AllowedIpChange, Refusal> {
    let (remove, prefix) = match value.strip_prefix('-') {
        Some(prefix) => (true, prefix),
        None => (false, value),
    };
    let prefix = prefix
        .parse::<IpNet>()
        .map_err(|_| Refusal::invalid(key, "not ADDRESS/LENGTH"))?;
    Ok(AllowedIpChange { prefix, remove })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY_A: &str = "a85bbc9f2cee3a6ae8fc5e0a9c3e9c5a1b5d7d3a6bd7bd3be1a53d2cf1ac6d4c";
    const KEY_B: &str = "b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33";
    const ZERO: &str = "0000000000000000000000000000000000000000000000000000000000000000";

    fn parse(text: &str) -> Result<DeviceChange, Refusal> {
        let mut parser = SetParser::default();
        for line in text.lines() {
            parser.line(line)?;
        }
        Ok(parser.finish())
    }

    fn only_peer(lines: &str) -> PeerChange {
        let change = parse(&format!("public_key={KEY_A}\n{lines}")).expect(lines);
        change.tunnel.peers.into_iter().next().expect("a peer")
    }

    #[test]
    fn a_whole_device_is_read() {
        let change = parse(&format!(
            "private_key={KEY_B}\nlisten_port=51820\nfwmark=4294967295\nreplace_peers=true\n\
             public_key={KEY_A}\nupdate_only=true\npreshared_key={KEY_B}\n\
             endpoint=192.0.2.1:51821\npersistent_keepalive_interval=25\n\
             replace_allowed_ips=true\nallowed_ip=10.0.0.1/8\nallowed_ip=-2001:db8::/32\n\
             protocol_version=1\npublic_key={KEY_B}\nremove=true\n"
        ))
        .expect("a change");
        assert_eq!(change.listen_port, Some(51820));
        assert_eq!(change.fwmark, Some(u32::MAX));
        assert!(change.tunnel.replace_peers);
        let private_key = PrivateKey::parse(KEY_B).expect("a key");
        assert_eq!(change.tunnel.private_key, Some(Some(private_key)));
        let [first, second] = change.tunnel.peers.as_slice() else {
            panic!("two peers");
        };
        assert_eq!(first.public_key, PublicKey::parse(KEY_A).expect("a key"));
        assert!(first.update_only && first.replace_allowed_ips && !first.remove);
        assert!(matches!(first.preshared_key, Some(Some(_))));
        assert_eq!(first.endpoint, Some(([192, 0, 2, 1], 51821).into()));
        assert_eq!(first.persistent_keepalive, Some(25));
        let allowed_ips: Vec<_> = first
            .allowed_ips
            .iter()
            .map(|change| (change.prefix.to_string(), change.remove))
            .collect();
        assert_eq!(
            allowed_ips,
            [
                ("10.0.0.1/8".to_owned(), false),
                ("2001:db8::/32".to_owned(), true)
            ]
        );
        // Nothing of the first peer is left in the second.
        assert!(second.remove && !second.update_only && !second.replace_allowed_ips);
        assert!(second.preshared_key.is_none() && second.endpoint.is_none());
        assert!(second.persistent_keepalive.is_none() && second.allowed_ips.is_empty());
    }

    #[test]
    fn nothing_asked_is_nothing_changed() {
        let change = parse("").expect("no lines");
        assert!(change.listen_port.is_none() && change.fwmark.is_none());
        assert!(change.tunnel.private_key.is_none() && !change.tunnel.replace_peers);
        assert!(change.tunnel.peers.is_empty());
    }

    #[test]
    fn keys_of_zeros_remove() {
        let change = parse(&format!("private_key={ZERO}")).expect("a change");
        assert_eq!(change.tunnel.private_key, Some(None));
        let peer = only_peer(&format!("preshared_key={ZERO}"));
        assert_eq!(peer.preshared_key, Some(None));
    }

    #[test]
    fn replacing_allowed_ips_forgets_those_before_it() {
        let peer = only_peer("allowed_ip=10.0.0.0/8\nreplace_allowed_ips=true\nallowed_ip=::/0");
        assert_eq!(peer.allowed_ips.len(), 1);
        assert_eq!(peer.allowed_ips[0].prefix.to_string(), "::/0");
    }

    #[test]
    fn endpoints_may_be_scoped() {
        for (text, scope) in [
            ("[2001:db8::1]:51820", 0),
            ("[fe80::1%1]:51820", 1),
            ("[fe80::1%lo]:51820", 1),
        ] {
            let peer = only_peer(&format!("endpoint={text}"));
            let Some(SocketAddr::V6(endpoint)) = peer.endpoint else {
                panic!("{text}");
            };
            assert_eq!(
                (endpoint.scope_id(), endpoint.port()),
                (scope, 51820),
                "{text}"
            );
        }
    }

    #[test]
    fn bad_lines_are_refused_with_their_number() {
        let device = [
            "nonsense",
            "private_key",
            "=",
            "unknown=1",
            "private_key=",
            "private_key=abc",
            "private_key=qFu8nyzuOmro/F4KnD6cWhtdfTpr170744U9LPGsbUw=",
            "listen_port=65536",
            "listen_port=-1",
            "listen_port=+1",
            "listen_port=",
            "listen_port= 1",
            "fwmark=0x10",
            "fwmark=4294967296",
            "replace_peers=false",
            "replace_peers=",
            "preshared_key=1",
            "endpoint=192.0.2.1:1",
            "public_key=short",
            "allowed_ip=10.0.0.0/8",
            "protocol_version=1",
            "remove=true",
        ];
        for line in device {
            let refusal = parse(line)
                .err()
                .unwrap_or_else(|| panic!("{line:?} passed"));
            let protocol = !line.contains('=');
            let errno = if protocol { libc::EPROTO } else { libc::EINVAL };
            assert_eq!(refusal.errno, errno, "{line:?}");
        }
        let peer = [
            "listen_port=1",
            "private_key=0",
            "remove=false",
            "update_only=1",
            "endpoint=host:1",
            "endpoint=192.0.2.1",
            "endpoint=2001:db8::1:1",
            "endpoint=[fe80::1%no-such-if]:1",
            "endpoint=[::1]:65536",
            "persistent_keepalive_interval=off",
            "persistent_keepalive_interval=65536",
            "replace_allowed_ips=yes",
            "allowed_ip=10.0.0.1",
            "allowed_ip=10.0.0.0/33",
            "allowed_ip=--10.0.0.0/8",
            "allowed_ip=::/129",
            "allowed_ip=",
            "allowed_ip=+10.0.0.0/8",
            "protocol_version=2",
            "preshared_key=xyz",
        ];
        for line in peer {
            let refusal = parse(&format!("public_key={KEY_A}\n{line}")).err();
            let refusal = refusal.unwrap_or_else(|| panic!("{line:?} passed"));
            assert_eq!(refusal.errno, libc::EINVAL, "{line:?}");
        }
    }

    #[test]
    fn refusals_do_not_repeat_secrets() {
        let almost = &KEY_B[1..];
        for line in [
            format!("private_key={almost}"),
            format!("public_key={KEY_A}\npreshared_key={almost}"),
            format!("{almost}="),
            format!("public_key={KEY_A}\n{almost}="),
            almost.to_owned(),
        ] {
            let refusal = parse(&line).expect_err("refused");
            assert!(
                !refusal.message.contains(&almost[..8]),
                "{}",
                refusal.message
            );
        }
    }
}
