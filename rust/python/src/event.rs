//! What happens to peers.

use std::net::SocketAddr;

use pyo3::prelude::*;
use wgbind_device::Delivery;
use wgbind_tunnel::EventKind;

use crate::key::PublicKey;

/// Something that happened to one peer.
#[pyclass(frozen, module = "wgbind._native")]
pub(crate) struct Event {
    event: wgbind_tunnel::Event,
    lost: u64,
}

/// The events of a delivery; what was lost was lost before the first of them.
pub(crate) fn from_delivery(Delivery { lost, events }: Delivery) -> Vec<Event> {
    let losses = std::iter::once(lost).chain(std::iter::repeat(0));
    std::iter::zip(events, losses)
        .map(|(event, lost)| Event { event, lost })
        .collect()
}

#[pymethods]
impl Event {
    #[getter]
    fn at(&self) -> f64 {
        self.event.at.as_secs_f64()
    }

    #[getter]
    fn public_key(&self) -> PublicKey {
        PublicKey(self.event.public_key)
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.event.kind.name()
    }

    #[getter]
    fn cause(&self) -> &'static str {
        self.event.cause.name()
    }

    #[getter]
    fn endpoint(&self) -> Option<(String, u16)> {
        self.event.endpoint.map(to_python)
    }

    #[getter]
    fn previous_endpoint(&self) -> Option<(String, u16)> {
        match self.event.kind {
            EventKind::Roamed { from } => Some(to_python(from)),
            _ => None,
        }
    }

    #[getter]
    fn lost(&self) -> u64 {
        self.lost
    }

    fn __repr__(&self) -> String {
        let (kind, key) = (self.event.kind.name(), self.event.public_key.to_string());
        format!("Event(kind={kind:?}, public_key={key:?})")
    }
}

fn to_python(endpoint: SocketAddr) -> (String, u16) {
    (endpoint.ip().to_string(), endpoint.port())
}
