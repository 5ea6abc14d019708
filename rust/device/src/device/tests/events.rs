//! What a device tells of its peers, with real sockets and real time.

use std::time::SystemTime;

use wgbind_tunnel::{Cause, Event, EventKind};

use super::*;

/// The next event, and how long after it happened it is here.
fn next(device: &Device, waiting: &mut Vec<Event>) -> (Event, Duration) {
    if waiting.is_empty() {
        let delivery = device.events(Some(PATIENCE)).expect("running");
        assert_eq!(delivery.lost, 0);
        waiting.extend(delivery.events);
    }
    assert!(!waiting.is_empty(), "no event came");
    let event = waiting.remove(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    (event, now.expect("later").saturating_sub(event.at))
}

#[test]
fn a_client_is_told_of_from_its_first_handshake_to_its_end() {
    run_isolated(|| {
        let (server, client) = (open("wgd9"), open("wgd10"));
        ip("address add 10.7.1.2/24 dev wgd10");
        ip("link set wgd10 up");
        ip("link set wgd9 up");
        let keys = [PrivateKey::generate(), PrivateKey::generate()];
        server.set(key_change(&keys[0])).expect("applied");
        client.set(key_change(&keys[1])).expect("applied");
        let [server_key, client_key] = keys.map(|key| key.public_key());
        let nothing = server.events(Some(Duration::ZERO)).expect("running");
        assert_eq!(nothing, Delivery::default());
        let mut waiting = Vec::new();

        server
            .set(peer_change(client_key, "10.7.1.2/32", None))
            .expect("applied");
        let added = next(&server, &mut waiting).0;
        assert_eq!(
            (added.public_key, added.kind),
            (client_key, EventKind::Added)
        );
        assert_eq!((added.cause, added.endpoint), (Cause::Configuration, None));

        client
            .set(peer_change(server_key, "10.7.1.0/24", Some(port(&server))))
            .expect("applied");
        let socket = UdpSocket::bind("10.7.1.2:0").expect("a socket");
        let say = || socket.send_to(b"hello", "10.7.1.1:9").expect("sent");
        say();
        let at = |port| Some(SocketAddr::from(([127, 0, 0, 1], port)));
        let mut place = port(&client);
        let (connected, late) = next(&server, &mut waiting);
        assert_eq!(connected.kind, EventKind::Connected);
        assert_eq!(connected.cause, Cause::PeerHandshake);
        assert_eq!(connected.endpoint, at(place));
        let mut delays = vec![late];

        for pause in [0, 1_100] {
            thread::sleep(Duration::from_millis(pause));
            client
                .set(DeviceChange {
                    listen_port: Some(0),
                    ..DeviceChange::default()
                })
                .expect("applied");
            say();
            let (roamed, late) = next(&server, &mut waiting);
            delays.push(late);
            let from = at(place).expect("an endpoint");
            assert_eq!(roamed.kind, EventKind::Roamed { from });
            place = port(&client);
            assert_eq!((roamed.cause, roamed.endpoint), (Cause::Message, at(place)));
        }
        // What else the machine does has no part in the shortest.
        let shortest = delays.iter().min().expect("three");
        assert!(*shortest < Duration::from_millis(100), "{delays:?}");

        let mut removal = peer_change(client_key, "10.7.1.2/32", None);
        removal.tunnel.peers[0].remove = true;
        server.set(removal).expect("applied");
        let silent = next(&server, &mut waiting).0;
        assert_eq!(
            (silent.kind, silent.cause),
            (EventKind::Silent, Cause::Configuration)
        );
        assert_eq!(next(&server, &mut waiting).0.kind, EventKind::Removed);
        assert_eq!(waiting, []);
    });
}

#[test]
fn the_end_of_the_device_wakes_who_waits_for_events() {
    run_isolated(|| {
        let device = open("wgd11");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| device.events(None));
            device.close();
            let ended = waiting.join().expect("no panic").expect_err("ended");
            assert_eq!(ended.to_string(), "the device has ended: closed");
        });
    });
}
