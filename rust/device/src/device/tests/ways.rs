//! Which of our addresses a peer is sent to from, and by which interface (the kernel's `netns.sh`:
//! "sticky but not too sticky", "a better route appears").

use super::*;

/// A server here and its client in another namespace, with two wires between them.
struct Wires {
    server: Device,
    client: Device,
    far: Namespace,
    socket: UdpSocket,
}

impl Wires {
    fn new(names: [&str; 2]) -> Self {
        let far = Namespace::new();
        for wire in ["wgv1", "wgv2"] {
            let netns = far.id();
            ip(&format!(
                "link add {wire} type veth peer name {wire}f netns {netns}"
            ));
            ip(&format!("link set {wire} up"));
        }
        ip("address add 192.0.2.1/24 dev wgv1");
        ip("address add 198.51.100.1/24 dev wgv2");
        let server = open(names[0]);
        ip(&format!("address add 10.7.2.1/24 dev {}", names[0]));
        ip(&format!("link set {} up", names[0]));
        let name = names[1].to_owned();
        let client = far.run(move || {
            for (wire, address) in [("wgv1f", "192.0.2.2"), ("wgv2f", "198.51.100.2")] {
                ip(&format!("address add {address}/24 dev {wire}"));
                ip(&format!("link set {wire} up"));
            }
            let client = open(&name);
            ip(&format!("address add 10.7.2.2/24 dev {name}"));
            ip(&format!("link set {name} up"));
            client
        });
        let keys = [PrivateKey::generate(), PrivateKey::generate()];
        let [server_key, client_key] = [&keys[0], &keys[1]].map(PrivateKey::public_key);
        server.set(key_change(&keys[0])).expect("applied");
        server
            .set(peer_change(client_key, "10.7.2.2/32", None))
            .expect("applied");
        client.set(key_change(&keys[1])).expect("applied");
        let mut change = peer_change(server_key, "10.7.2.0/24", None);
        let endpoint = SocketAddr::from(([192, 0, 2, 1], port(&server)));
        change.tunnel.peers[0].endpoint = Some(endpoint);
        // Sent at once: the server learns where the client is and which address it knows.
        change.tunnel.peers[0].persistent_keepalive = Some(3600);
        client.set(change).expect("applied");
        wait_until("they talk", || {
            let peers = server.snapshot().expect("running").peers;
            peers[0].last_handshake.is_some()
        });
        let socket = UdpSocket::bind("10.7.2.1:0").expect("a socket");
        Self {
            server,
            client,
            far,
            socket,
        }
    }

    /// Waits until the client is sent to from this address, and by an interface that reaches it.
    fn wait_for(&self, address: [u8; 4]) {
        let wanted = SocketAddr::from((address, port(&self.server)));
        wait_until(&format!("it comes from {wanted}"), || {
            let sent = self.socket.send_to(b"hello", "10.7.2.2:9");
            sent.expect("sent");
            let peers = self.client.snapshot().expect("running").peers;
            peers[0].endpoint == Some(wanted)
        });
    }
}

#[test]
fn a_better_route_is_taken() {
    run_isolated(|| {
        let wires = Wires::new(["wgd11", "wgd12"]);
        wires.wait_for([192, 0, 2, 1]);
        ip("route add 192.0.2.2/32 dev wgv2 src 198.51.100.1");
        wires.wait_for([198, 51, 100, 1]);
    });
}

#[test]
fn an_address_that_goes_away_is_forgotten() {
    run_isolated(|| {
        let wires = Wires::new(["wgd13", "wgd14"]);
        wires.wait_for([192, 0, 2, 1]);
        ip("address del 192.0.2.1/24 dev wgv1");
        ip("address add 192.0.2.3/24 dev wgv1");
        wires.wait_for([192, 0, 2, 3]);
    });
}

/// The kernel would take the destination for a neighbour there (`ip_route_output_key`).
#[test]
fn an_interface_without_a_route_is_left() {
    run_isolated(|| {
        let wires = Wires::new(["wgd15", "wgd16"]);
        wires.wait_for([192, 0, 2, 1]);
        // The address stays, on an interface that leads nowhere.
        ip("route add 192.0.2.2/32 dev wgv2");
        wires.far.run(|| ip("link set wgv1f down"));
        let before = || wires.client.snapshot().expect("running").peers[0].rx_bytes;
        let heard = before();
        wait_until("it comes by the other wire", || {
            let sent = wires.socket.send_to(b"hello", "10.7.2.2:9");
            sent.expect("sent");
            before() > heard
        });
    });
}
