//! The text of the answer to `get`, in wireguard-go's order.

use std::fmt::{self, Write};
use std::time::Duration;

use wgbind_tunnel::{PeerStatus, PresharedKey};

use crate::worker::Summary;

pub(super) fn write_device(out: &mut impl Write, summary: &Summary) -> fmt::Result {
    if let Some(private_key) = &summary.private_key {
        write_key(out, "private_key", &private_key.reveal())?;
    }
    writeln!(out, "listen_port={}", summary.listen_port)?;
    if summary.fwmark != 0 {
        writeln!(out, "fwmark={}", summary.fwmark)?;
    }
    Ok(())
}

pub(super) fn write_peer(out: &mut impl Write, peer: &PeerStatus) -> fmt::Result {
    write_key(out, "public_key", peer.public_key.as_bytes())?;
    let preshared_key = peer.preshared_key.as_ref().map(PresharedKey::reveal);
    write_key(out, "preshared_key", preshared_key.unwrap_or(&[0; 32]))?;
    writeln!(out, "protocol_version=1")?;
    if let Some(endpoint) = peer.endpoint {
        writeln!(out, "endpoint={endpoint}")?;
    }
    let handshake = peer.last_handshake.unwrap_or(Duration::ZERO);
    writeln!(out, "last_handshake_time_sec={}", handshake.as_secs())?;
    writeln!(out, "last_handshake_time_nsec={}", handshake.subsec_nanos())?;
    writeln!(out, "tx_bytes={}", peer.tx_bytes)?;
    writeln!(out, "rx_bytes={}", peer.rx_bytes)?;
    writeln!(
        out,
        "persistent_keepalive_interval={}",
        peer.persistent_keepalive
    )?;
    for allowed_ip in &peer.allowed_ips {
        writeln!(out, "allowed_ip={allowed_ip}")?;
    }
    Ok(())
}

fn write_key(out: &mut impl Write, name: &str, key: &[u8; 32]) -> fmt::Result {
    write!(out, "{name}=")?;
    for byte in key {
        write!(out, "{byte:02x}")?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use wgbind_tunnel::{Drops, HandshakeStats, PrivateKey, PublicKey};

    use super::*;
    use crate::device::IoDrops;
    use crate::features::Features;

    fn summary() -> Summary {
        Summary {
            name: None,
            private_key: None,
            listen_port: 51820,
            fwmark: 0,
            mtu: 1420,
            features: Features::default(),
            drops: Drops::default(),
            io_drops: IoDrops::default(),
            handshakes: HandshakeStats::default(),
            cpu: Duration::ZERO,
        }
    }

    fn device(summary: &Summary) -> String {
        let mut out = String::new();
        write_device(&mut out, summary).expect("a string takes all");
        out
    }

    fn peer(status: &PeerStatus) -> String {
        let mut out = String::new();
        write_peer(&mut out, status).expect("a string takes all");
        out
    }

    #[test]
    fn a_device_says_what_it_has() {
        assert_eq!(device(&summary()), "listen_port=51820\n");
        let full = Summary {
            private_key: Some(PrivateKey::from_bytes([0x48; 32])),
            fwmark: 51820,
            ..summary()
        };
        let key = "48".repeat(32);
        assert_eq!(
            device(&full),
            format!("private_key={key}\nlisten_port=51820\nfwmark=51820\n")
        );
    }

    #[test]
    fn a_peer_is_written_in_the_order_of_wireguard_go() {
        let mut status = PeerStatus {
            public_key: PublicKey::from_bytes([0xab; 32]),
            preshared_key: None,
            endpoint: None,
            allowed_ips: Vec::new(),
            last_handshake: None,
            initiating_since: None,
            rx_bytes: 0,
            tx_bytes: 0,
            persistent_keepalive: 0,
        };
        let (public, zero) = ("ab".repeat(32), "00".repeat(32));
        assert_eq!(
            peer(&status),
            format!(
                "public_key={public}\npreshared_key={zero}\nprotocol_version=1\n\
                 last_handshake_time_sec=0\nlast_handshake_time_nsec=0\ntx_bytes=0\nrx_bytes=0\n\
                 persistent_keepalive_interval=0\n"
            )
        );
        status.preshared_key = Some(PresharedKey::from_bytes([1; 32]));
        status.endpoint = Some("[fe80::1%2]:7".parse().expect("an endpoint"));
        status.allowed_ips = ["10.0.0.2/32", "2001:db8::/64"]
            .map(|net| net.parse().expect(net))
            .to_vec();
        status.last_handshake = Some(Duration::new(1_700_000_000, 5));
        (
            status.rx_bytes,
            status.tx_bytes,
            status.persistent_keepalive,
        ) = (1, u64::MAX, 25);
        let preshared = "01".repeat(32);
        assert_eq!(
            peer(&status),
            format!(
                "public_key={public}\npreshared_key={preshared}\nprotocol_version=1\n\
                 endpoint=[fe80::1%2]:7\nlast_handshake_time_sec=1700000000\n\
                 last_handshake_time_nsec=5\ntx_bytes=18446744073709551615\nrx_bytes=1\n\
                 persistent_keepalive_interval=25\nallowed_ip=10.0.0.2/32\n\
                 allowed_ip=2001:db8::/64\n"
            )
        );
    }
}
