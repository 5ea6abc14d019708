//! What somebody on the way sees: how many messages of which kind, sizes, indices, addresses.

use std::time::Duration;

use crate::world::{Kind, Seen, World, inner, packet};

/// Fifty packets to the server, all in one second.
fn conversation() -> World {
    let mut world = World::hub(1);
    for len in 0..50 {
        world.send(1, &packet(inner(1), inner(0), &vec![0; len * 28]));
        world.run(Duration::from_millis(20));
    }
    assert_eq!(world.nodes[0].received.len(), 50);
    world
}

fn read_u32(seen: &Seen, at: usize) -> u32 {
    u32::from_le_bytes(seen.bytes[at..at + 4].try_into().unwrap())
}

#[test]
fn a_conversation_is_one_handshake_one_keepalive_and_the_data() {
    let kinds = conversation().kinds_since(Duration::ZERO);
    let wanted = [
        (Kind::Initiation, 1),
        (Kind::Response, 1),
        (Kind::Keepalive, 1),
        (Kind::Data, 50),
    ];
    assert_eq!(kinds, wanted.into_iter().collect());
}

/// The first packet waited for the handshake, and says itself what a keepalive would.
#[test]
fn the_keepalive_is_the_initiators_answer_to_the_response() {
    let world = conversation();
    let kinds: Vec<Kind> = world.seen.iter().take(4).map(|seen| seen.kind).collect();
    let wanted = [
        Kind::Initiation,
        Kind::Response,
        Kind::Keepalive,
        Kind::Data,
    ];
    assert_eq!(kinds, wanted);
    assert_eq!(world.seen[2].source, world.nodes[1].address);
}

#[test]
fn messages_have_the_sizes_and_the_reserved_bytes_of_the_paper() {
    for seen in conversation().seen {
        let len = seen.bytes.len();
        match seen.bytes[..4] {
            [1, 0, 0, 0] => assert_eq!(len, 148),
            [2, 0, 0, 0] => assert_eq!(len, 92),
            [4, 0, 0, 0] => assert!(len >= 32 && (len % 16 == 0 || len == 1_420 + 32), "{len}"),
            ref other => panic!("{other:?}"),
        }
    }
}

#[test]
fn messages_name_the_index_that_their_receiver_chose() {
    let mut world = conversation();
    assert!(world.ping(0, 1));
    let (mut client, mut server) = (0, 0);
    let mut indices = Vec::new();
    let mut check = |seen: &[Seen], client_address| {
        for seen in seen {
            match seen.kind {
                Kind::Initiation => client = read_u32(seen, 4),
                Kind::Response => {
                    server = read_u32(seen, 4);
                    assert_eq!(read_u32(seen, 8), client);
                    indices.extend([client, server]);
                }
                _ if seen.source == client_address => assert_eq!(read_u32(seen, 4), server),
                _ => assert_eq!(read_u32(seen, 4), client),
            }
        }
    };
    let client_address = world.nodes[1].address;
    check(&world.seen, client_address);
    let before = world.seen.len();
    world.run(Duration::from_secs(200));
    assert!(world.ping(1, 0));
    check(&world.seen[before..], client_address);
    indices.sort_unstable();
    indices.dedup();
    assert_eq!(indices.len(), 4, "each session has its own: {indices:x?}");
}

#[test]
fn datagrams_go_to_the_peer_and_to_nobody_else() {
    let world = conversation();
    for seen in &world.seen {
        let to = usize::from(seen.source == world.nodes[0].address);
        assert_eq!(seen.destination, world.nodes[to].address);
    }
}

/// Nothing of the inside shows: not the packet, and not that it is the same one again.
#[test]
fn the_same_packet_looks_different_each_time() {
    let mut world = World::hub(1);
    assert!(world.ping(1, 0));
    let before = world.seen.len();
    let packet = packet(inner(1), inner(0), &[0x5a; 200]);
    for _ in 0..20 {
        world.send(1, &packet);
    }
    let seen = &world.seen[before..];
    assert_eq!(seen.len(), 20);
    for (n, one) in seen.iter().enumerate() {
        assert!(!one.bytes.windows(8).any(|bytes| bytes == [0x5a; 8]));
        assert!(
            seen[..n]
                .iter()
                .all(|other| one.bytes[16..] != other.bytes[16..])
        );
    }
}
