//! Changes of peers, parsed.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use pyo3::prelude::*;
use wgbind_tunnel::AllowedIpChange;

use crate::error::bad_value;
use crate::key::{PresharedKey, PublicKey};

/// A change of one peer; what is left out stays as it is, and so does the peer's session.
#[pyclass(frozen, module = "wgbind._native")]
pub(crate) struct PeerChange(pub(crate) wgbind_tunnel::PeerChange);

#[pymethods]
impl PeerChange {
    #[new]
    #[pyo3(signature = (
        public_key,
        *,
        remove = false,
        update_only = false,
        preshared_key = None,
        clear_preshared_key = false,
        endpoint = None,
        persistent_keepalive = None,
        replace_allowed_ips = false,
        allowed_ips = Vec::new(),
    ), text_signature = "(public_key, *, remove=False, update_only=False, preshared_key=None, \
        clear_preshared_key=False, endpoint=None, persistent_keepalive=None, \
        replace_allowed_ips=False, allowed_ips=())")]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments of the Python constructor"
    )]
    fn new(
        public_key: &PublicKey,
        remove: bool,
        update_only: bool,
        preshared_key: Option<&PresharedKey>,
        clear_preshared_key: bool,
        endpoint: Option<(String, i64)>,
        persistent_keepalive: Option<i64>,
        replace_allowed_ips: bool,
        allowed_ips: Vec<String>,
    ) -> PyResult<Self> {
        let preshared_key = match preshared_key {
            Some(key) => Some(Some(key.0.clone())),
            None => clear_preshared_key.then_some(None),
        };
        let persistent_keepalive = persistent_keepalive
            .map(|seconds| parse_u16("persistent_keepalive", seconds))
            .transpose()?;
        Ok(Self(wgbind_tunnel::PeerChange {
            public_key: public_key.0,
            remove,
            update_only,
            preshared_key,
            endpoint: endpoint.map(parse_endpoint).transpose()?,
            persistent_keepalive,
            replace_allowed_ips,
            allowed_ips: allowed_ips
                .iter()
                .map(|text| parse_prefix(text).map(AllowedIpChange::add))
                .collect::<PyResult<_>>()?,
        }))
    }

    #[getter]
    fn public_key(&self) -> PublicKey {
        PublicKey(self.0.public_key)
    }

    fn __repr__(&self) -> String {
        format!("PeerChange(public_key={:?})", self.0.public_key.to_string())
    }
}

/// A whole number from 0 to 65535.
pub(crate) fn parse_u16(field: &str, value: i64) -> PyResult<u16> {
    u16::try_from(value).map_err(|_| {
        bad_value(
            field,
            &value.to_string(),
            "give a whole number from 0 to 65535",
        )
    })
}

fn parse_endpoint((host, port): (String, i64)) -> PyResult<SocketAddr> {
    let address: IpAddr = host.parse().map_err(|_| {
        bad_value(
            "endpoint",
            &host,
            "give an IPv4 or IPv6 address; names are not resolved here",
        )
    })?;
    match parse_u16("endpoint port", port)? {
        0 => Err(bad_value(
            "endpoint port",
            "0",
            "give a port from 1 to 65535",
        )),
        port => Ok(SocketAddr::new(address, port)),
    }
}

/// An IPv4 or IPv6 prefix, with its host bits; an address is the prefix of itself.
fn parse_prefix(text: &str) -> PyResult<IpNet> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| {
            bad_value(
                "allowed_ips",
                text,
                "give a prefix such as 10.0.0.2/32 or fd00::/64",
            )
        })
}
