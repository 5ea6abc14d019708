//! What a device and its peers are, at one moment.

use std::collections::BTreeMap;
use std::iter;

use pyo3::prelude::*;
use wgbind_device::Snapshot;

use crate::key::{PresharedKey, PublicKey};

/// What the device knows of one peer at one moment.
#[pyclass(frozen, module = "wgbind._native")]
pub(crate) struct PeerStatus(wgbind_tunnel::PeerStatus);

#[pymethods]
impl PeerStatus {
    #[getter]
    fn public_key(&self) -> PublicKey {
        PublicKey(self.0.public_key)
    }

    #[getter]
    fn has_preshared_key(&self) -> bool {
        self.0.preshared_key.is_some()
    }

    #[getter]
    fn preshared_key(&self) -> Option<PresharedKey> {
        self.0.preshared_key.clone().map(PresharedKey)
    }

    #[getter]
    fn endpoint(&self) -> Option<(String, u16)> {
        let endpoint = self.0.endpoint?;
        Some((endpoint.ip().to_string(), endpoint.port()))
    }

    #[getter]
    fn allowed_ips(&self) -> Vec<String> {
        self.0.allowed_ips.iter().map(ToString::to_string).collect()
    }

    #[getter]
    fn last_handshake(&self) -> Option<f64> {
        self.0.last_handshake.map(|unix| unix.as_secs_f64())
    }

    #[getter]
    fn initiating_since(&self) -> Option<f64> {
        self.0.initiating_since.map(|unix| unix.as_secs_f64())
    }

    #[getter]
    fn rx_bytes(&self) -> u64 {
        self.0.rx_bytes
    }

    #[getter]
    fn tx_bytes(&self) -> u64 {
        self.0.tx_bytes
    }

    #[getter]
    fn persistent_keepalive(&self) -> u16 {
        self.0.persistent_keepalive
    }

    fn __repr__(&self) -> String {
        format!("PeerStatus(public_key={:?})", self.0.public_key.to_string())
    }
}

/// What a device is and has done, at one moment.
#[pyclass(frozen, module = "wgbind._native")]
pub(crate) struct DeviceStatus {
    snapshot: Snapshot,
    public_key: Option<wgbind_tunnel::PublicKey>,
}

impl From<Snapshot> for DeviceStatus {
    fn from(mut snapshot: Snapshot) -> Self {
        // The private key goes no further than here.
        let public_key = snapshot.private_key.take().map(|key| key.public_key());
        Self {
            snapshot,
            public_key,
        }
    }
}

#[pymethods]
impl DeviceStatus {
    #[getter]
    fn name(&self) -> &str {
        &self.snapshot.name
    }

    #[getter]
    fn public_key(&self) -> Option<PublicKey> {
        self.public_key.map(PublicKey)
    }

    #[getter]
    fn listen_port(&self) -> u16 {
        self.snapshot.listen_port
    }

    #[getter]
    fn fwmark(&self) -> u32 {
        self.snapshot.fwmark
    }

    #[getter]
    fn mtu(&self) -> u16 {
        self.snapshot.mtu
    }

    #[getter]
    fn features(&self) -> BTreeMap<&'static str, &'static str> {
        let Snapshot {
            wanted, features, ..
        } = &self.snapshot;
        iter::zip(wanted.iter(), features.iter())
            .map(|((name, wanted), (_, used))| match (wanted, used) {
                (false, _) => (name, "off"),
                (true, false) => (name, "refused"),
                (true, true) => (name, "on"),
            })
            .collect()
    }

    #[getter]
    fn peers(&self) -> Vec<PeerStatus> {
        self.snapshot
            .peers
            .iter()
            .cloned()
            .map(PeerStatus)
            .collect()
    }

    #[getter]
    fn drops(&self) -> BTreeMap<&'static str, u64> {
        self.snapshot
            .drops
            .iter()
            .chain(self.snapshot.io_drops.iter())
            .collect()
    }

    #[getter]
    fn handshakes(&self) -> BTreeMap<&'static str, u64> {
        self.snapshot.handshakes.iter().collect()
    }

    #[getter]
    fn cpu_seconds(&self) -> f64 {
        self.snapshot.cpu.as_secs_f64()
    }

    fn __repr__(&self) -> String {
        let peers = self.snapshot.peers.len();
        format!("DeviceStatus(name={:?}, peers={peers})", self.snapshot.name)
    }
}
