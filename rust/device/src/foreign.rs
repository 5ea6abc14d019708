//! What clients of the control socket changed, for the program that owns the device.
//!
//! Events can be lost, and tell of each change; this is what has come of all of them, and is never
//! more than there are peers to name.

use std::collections::HashMap;

use wgbind_tunnel::{Cause, Event, EventKind, PrivateKey, PublicKey};

use crate::device::DeviceChange;

/// What others changed; of several changes of the same, the last.
#[derive(Debug, Default)]
pub struct ForeignChanges {
    /// Another private key; `Some(None)` if it was removed.
    pub private_key: Option<Option<PrivateKey>>,
    /// Another UDP port; 0 if any would do.
    pub listen_port: Option<u16>,
    /// Another firewall mark.
    pub fwmark: Option<u32>,
    /// Peers that were added, changed or removed, and whether they were given another endpoint.
    pub peers: HashMap<PublicKey, bool>,
}

impl ForeignChanges {
    /// Whether nothing was changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.private_key.is_none()
            && self.listen_port.is_none()
            && self.fwmark.is_none()
            && self.peers.is_empty()
    }

    /// Notes what an event tells of.
    pub(crate) fn note(&mut self, event: &Event) {
        if event.cause != Cause::ControlSocket {
            return;
        }
        let endpoint = match event.kind {
            EventKind::Added => event.endpoint.is_some(),
            EventKind::Changed { endpoint } => endpoint,
            EventKind::Removed => false,
            _ => return,
        };
        let noted = self.peers.entry(event.public_key).or_default();
        *noted |= endpoint;
    }
}

/// What a change, when it is applied, has made of the device itself.
pub(crate) struct DeviceNote {
    private_key: Option<Option<PrivateKey>>,
    listen_port: Option<u16>,
    fwmark: Option<u32>,
}

impl DeviceNote {
    /// None for a change of ours, and for one of peers alone.
    pub(crate) fn of(change: &DeviceChange) -> Option<Self> {
        let private_key = &change.tunnel.private_key;
        // A file of `wg setconf` and `syncconf` without FwMark asks for 0 (wireguard-tools,
        // config_read_init), which nobody said; always beside a private key.
        let fwmark = change
            .fwmark
            .filter(|mark| *mark != 0 || private_key.is_none());
        let said = private_key.is_some() || change.listen_port.is_some() || fwmark.is_some();
        (said && change.tunnel.cause == Cause::ControlSocket).then(|| Self {
            private_key: private_key.clone(),
            listen_port: change.listen_port,
            fwmark,
        })
    }

    pub(crate) fn note_in(self, changes: &mut ForeignChanges) {
        changes.private_key = self.private_key.or(changes.private_key.take());
        changes.listen_port = self.listen_port.or(changes.listen_port);
        changes.fwmark = self.fwmark.or(changes.fwmark);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use wgbind_tunnel::TunnelChange;

    use super::*;

    fn event(number: u8, kind: EventKind, cause: Cause) -> Event {
        Event {
            at: Duration::ZERO,
            public_key: PublicKey::from_bytes([number; 32]),
            kind,
            cause,
            endpoint: Some(SocketAddr::from(([192, 0, 2, 1], 1))),
        }
    }

    #[test]
    fn what_others_configured_is_noted_and_nothing_else() {
        let mut changes = ForeignChanges::default();
        let changed = EventKind::Changed { endpoint: false };
        for (number, kind, cause) in [
            (1, EventKind::Added, Cause::ControlSocket),
            (2, changed, Cause::ControlSocket),
            (3, EventKind::Removed, Cause::ControlSocket),
            (
                2,
                EventKind::Changed { endpoint: true },
                Cause::ControlSocket,
            ),
            (2, changed, Cause::ControlSocket),
            (4, EventKind::Added, Cause::Configuration),
            (5, EventKind::Connected, Cause::PeerHandshake),
            (6, EventKind::Silent, Cause::ControlSocket),
        ] {
            changes.note(&event(number, kind, cause));
        }
        let mut noted: Vec<_> = changes
            .peers
            .iter()
            .map(|(key, endpoint)| (key.as_bytes()[0], *endpoint))
            .collect();
        noted.sort_unstable();
        assert_eq!(noted, [(1, true), (2, true), (3, false)]);
    }

    fn change(cause: Cause) -> DeviceChange {
        DeviceChange {
            tunnel: TunnelChange {
                cause,
                ..TunnelChange::default()
            },
            ..DeviceChange::default()
        }
    }

    #[test]
    fn the_last_of_what_was_said_of_the_device_counts() {
        let mut changes = ForeignChanges::default();
        let mut said = change(Cause::ControlSocket);
        assert!(DeviceNote::of(&said).is_none());
        for (port, mark) in [(Some(7), Some(1)), (Some(8), None)] {
            said.listen_port = port;
            said.fwmark = mark;
            let note = DeviceNote::of(&said).expect("something was said");
            note.note_in(&mut changes);
        }
        assert_eq!((changes.listen_port, changes.fwmark), (Some(8), Some(1)));
        let mut ours = change(Cause::Configuration);
        ours.listen_port = Some(9);
        assert!(DeviceNote::of(&ours).is_none());
    }

    #[test]
    fn a_file_without_a_mark_says_nothing_of_it() {
        let mut file = change(Cause::ControlSocket);
        file.fwmark = Some(0);
        let alone = DeviceNote::of(&file).expect("said alone");
        assert_eq!(alone.fwmark, Some(0));
        file.tunnel.private_key = Some(None);
        let unsaid = DeviceNote::of(&file).expect("a key is said");
        assert_eq!((unsaid.fwmark, unsaid.private_key), (None, Some(None)));
    }
}
