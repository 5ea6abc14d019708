//! Keys as Python sees them: opaque, comparable, silent.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use pyo3::prelude::*;

use crate::error::from_tunnel;

/// A Curve25519 private key (RFC 7748), wiped from memory when the object goes.
#[pyclass(frozen, module = "wgbind._native")]
pub(crate) struct PrivateKey(pub(crate) wgbind_tunnel::PrivateKey);

#[pymethods]
impl PrivateKey {
    #[new]
    fn new(text: &str) -> PyResult<Self> {
        wgbind_tunnel::PrivateKey::parse(text)
            .map(Self)
            .map_err(|error| from_tunnel(&error))
    }

    #[staticmethod]
    fn generate() -> Self {
        Self(wgbind_tunnel::PrivateKey::generate())
    }

    fn public_key(&self) -> PublicKey {
        PublicKey(self.0.public_key())
    }

    fn reveal(&self) -> String {
        self.0.reveal_base64().to_string()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other
            .cast::<Self>()
            .is_ok_and(|other| other.get().0 == self.0)
    }

    fn __ne__(&self, other: &Bound<'_, PyAny>) -> bool {
        !self.__eq__(other)
    }

    fn __repr__(&self) -> &'static str {
        "PrivateKey(<redacted>)"
    }
}

/// A Curve25519 public key: who a peer is. `str` gives base64.
#[pyclass(frozen, module = "wgbind._native")]
pub(crate) struct PublicKey(pub(crate) wgbind_tunnel::PublicKey);

#[pymethods]
impl PublicKey {
    #[new]
    fn new(text: &str) -> PyResult<Self> {
        wgbind_tunnel::PublicKey::parse(text)
            .map(Self)
            .map_err(|error| from_tunnel(&error))
    }

    #[getter]
    fn low_order(&self) -> bool {
        self.0.is_low_order()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other
            .cast::<Self>()
            .is_ok_and(|other| other.get().0 == self.0)
    }

    fn __ne__(&self, other: &Bound<'_, PyAny>) -> bool {
        !self.__eq__(other)
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("PublicKey('{}')", self.0)
    }
}

/// A symmetric key that both ends mix into the handshake (the paper, section 5.2).
#[pyclass(frozen, module = "wgbind._native")]
pub(crate) struct PresharedKey(pub(crate) wgbind_tunnel::PresharedKey);

#[pymethods]
impl PresharedKey {
    #[new]
    fn new(text: &str) -> PyResult<Self> {
        wgbind_tunnel::PresharedKey::parse(text)
            .map(Self)
            .map_err(|error| from_tunnel(&error))
    }

    #[staticmethod]
    fn generate() -> Self {
        Self(wgbind_tunnel::PresharedKey::generate())
    }

    fn reveal(&self) -> String {
        self.0.reveal_base64().to_string()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other
            .cast::<Self>()
            .is_ok_and(|other| other.get().0 == self.0)
    }

    fn __ne__(&self, other: &Bound<'_, PyAny>) -> bool {
        !self.__eq__(other)
    }

    fn __repr__(&self) -> &'static str {
        "PresharedKey(<redacted>)"
    }
}
