//! What clients of the control socket changed.

use pyo3::prelude::*;

use crate::key::{PrivateKey, PublicKey};

/// What clients of the control socket changed.
#[pyclass(frozen, module = "wgbind._native")]
pub(crate) struct ForeignChanges(pub(crate) wgbind_device::ForeignChanges);

#[pymethods]
impl ForeignChanges {
    #[getter]
    fn private_key(&self) -> Option<PrivateKey> {
        self.0.private_key.clone().flatten().map(PrivateKey)
    }

    #[getter]
    fn listen_port(&self) -> Option<u16> {
        self.0.listen_port
    }

    #[getter]
    fn fwmark(&self) -> Option<u32> {
        self.0.fwmark
    }

    #[getter]
    fn peers(&self) -> Vec<(PublicKey, bool)> {
        self.0
            .peers
            .iter()
            .map(|(key, endpoint)| (PublicKey(*key), *endpoint))
            .collect()
    }
}
