//! Explicit congestion notification through the tunnel (RFC 6040).

use crate::batch::Ecn;
use crate::packet::ip;

/// The outer traffic class for an inner packet: its ECN bits copied out (RFC 6040, section 4.1,
/// normal mode) and DSCP 0, which tells an observer nothing.
#[inline]
#[must_use]
pub fn outer_traffic_class(packet: &[u8]) -> u8 {
    inner(packet).map_or(0, |ecn| ecn as u8)
}

/// Brings what the outer header met on its way into the inner packet (RFC 6040, section 4.2,
/// figure 4). False when the packet must be dropped: congestion was marked on a flow that would
/// not understand the mark. What is no IP packet stays as it is.
#[inline]
#[must_use]
pub fn decapsulate(outer: Ecn, packet: &mut [u8]) -> bool {
    let Some(inner) = inner(packet) else {
        return true;
    };
    match (outer, inner) {
        (Ecn::Congestion, Ecn::NotCapable) => return false,
        (Ecn::Congestion, Ecn::Capable0 | Ecn::Capable1) => set(packet, Ecn::Congestion),
        (Ecn::Capable1, Ecn::Capable0) => set(packet, Ecn::Capable1),
        _ => {}
    }
    true
}

/// The ECN bits of an IP packet.
#[inline]
fn inner(packet: &[u8]) -> Option<Ecn> {
    let byte = match ip::version(packet) {
        4 if packet.len() >= ip::HEADER_LEN_4 => packet[1],
        6 if packet.len() >= ip::HEADER_LEN_6 => packet[1] >> 4,
        _ => return None,
    };
    Some(Ecn::from_traffic_class(byte))
}

/// Writes the ECN bits of a packet in which [`inner`] found some.
fn set(packet: &mut [u8], ecn: Ecn) {
    if ip::version(packet) == 6 {
        packet[1] = packet[1] & !0b0011_0000 | (ecn as u8) << 4;
        return;
    }
    let old = ip::u16_at(packet, 0);
    packet[1] = packet[1] & !0b11 | ecn as u8;
    ip::update_checksum_4(packet, old, ip::u16_at(packet, 0));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::packet::checksum;

    const ALL: [Ecn; 4] = [
        Ecn::NotCapable,
        Ecn::Capable0,
        Ecn::Capable1,
        Ecn::Congestion,
    ];

    fn v4(dscp: u8, ecn: Ecn, identification: u16) -> Vec<u8> {
        let mut packet = vec![0; 28];
        packet[0] = 0x45;
        packet[1] = dscp << 2 | ecn as u8;
        packet[8] = 64;
        packet[9] = 17;
        ip::rewrite(&mut packet[..20], 28, identification);
        packet
    }

    fn v6(dscp: u8, ecn: Ecn) -> Vec<u8> {
        let mut packet = vec![0; 48];
        let class = dscp << 2 | ecn as u8;
        packet[0] = 0x60 | class >> 4;
        packet[1] = class << 4 | 0x0a;
        packet[7] = 64;
        packet
    }

    /// RFC 6040, figure 4: rows are the inner header, columns the outer; none is "drop".
    fn figure_4(outer: Ecn, inner: Ecn) -> Option<Ecn> {
        use Ecn::{Capable0, Capable1, Congestion, NotCapable};
        let row = match inner {
            NotCapable => [Some(NotCapable), Some(NotCapable), Some(NotCapable), None],
            Capable0 => [
                Some(Capable0),
                Some(Capable0),
                Some(Capable1),
                Some(Congestion),
            ],
            Capable1 => [
                Some(Capable1),
                Some(Capable1),
                Some(Capable1),
                Some(Congestion),
            ],
            Congestion => [Some(Congestion); 4],
        };
        row[ALL.iter().position(|ecn| *ecn == outer).unwrap()]
    }

    #[test]
    fn inner_bits_go_out_without_the_dscp() {
        for ecn in ALL {
            assert_eq!(outer_traffic_class(&v4(0x2e, ecn, 0)), ecn as u8);
            assert_eq!(outer_traffic_class(&v6(0x2e, ecn)), ecn as u8);
        }
    }

    #[test]
    fn decapsulation_is_figure_4() {
        for outer in ALL {
            for inner in ALL {
                for (before, wanted) in [
                    (
                        v4(0x2e, inner, 7),
                        figure_4(outer, inner).map(|ecn| v4(0x2e, ecn, 7)),
                    ),
                    (
                        v6(0x2e, inner),
                        figure_4(outer, inner).map(|ecn| v6(0x2e, ecn)),
                    ),
                ] {
                    let mut packet = before.clone();
                    let kept = decapsulate(outer, &mut packet);
                    assert_eq!(kept, wanted.is_some(), "outer {outer:?}, inner {inner:?}");
                    assert_eq!(
                        packet,
                        wanted.unwrap_or(before),
                        "outer {outer:?}, inner {inner:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_bad_header_checksum_is_not_repaired() {
        let mut packet = v4(0, Ecn::Capable0, 7);
        packet[10] ^= 0x40;
        assert!(decapsulate(Ecn::Congestion, &mut packet));
        assert_ne!(checksum::sum(&packet[..20]), 0xffff);
    }

    #[test]
    fn what_is_no_packet_passes_unchanged() {
        for bytes in [vec![], vec![0x45; 19], vec![0x60; 39], vec![0x52; 60]] {
            let mut packet = bytes.clone();
            assert!(decapsulate(Ecn::Congestion, &mut packet));
            assert_eq!(packet, bytes);
            assert_eq!(outer_traffic_class(&packet), 0);
        }
    }

    proptest! {
        #[test]
        fn header_checksums_stay_right(
            dscp in 0u8..64, identification: u16, outer in 0usize..4, inner in 0usize..4,
        ) {
            let mut packet = v4(dscp, ALL[inner], identification);
            if decapsulate(ALL[outer], &mut packet) {
                prop_assert_eq!(checksum::sum(&packet[..20]), 0xffff);
                prop_assert_eq!(packet[1] >> 2, dscp);
            }
        }
    }
}
