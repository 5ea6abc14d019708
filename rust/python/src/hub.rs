//! Which peers reach each other inside the device.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use pyo3::prelude::*;

use crate::error::bad_value;

/// Addresses in classes, and the pairs of classes whose traffic with each other goes straight.
#[pyclass(frozen, module = "wgbind._native")]
pub(crate) struct Hub(pub(crate) Arc<wgbind_tunnel::Hub>);

#[pymethods]
impl Hub {
    #[new]
    #[pyo3(signature = (classes, links))]
    fn new(classes: HashMap<IpAddr, i64>, links: Vec<(i64, i64)>) -> PyResult<Self> {
        let classes = classes
            .into_iter()
            .map(|(address, class)| Ok((address, parse_class(class)?)))
            .collect::<PyResult<Vec<_>>>()?;
        let links = links
            .into_iter()
            .map(|(one, other)| Ok((parse_class(one)?, parse_class(other)?)))
            .collect::<PyResult<Vec<_>>>()?;
        Ok(Self(Arc::new(wgbind_tunnel::Hub::new(classes, links))))
    }
}

fn parse_class(value: i64) -> PyResult<u8> {
    u8::try_from(value).map_err(|_| {
        bad_value(
            "hub class",
            &value.to_string(),
            "give a whole number from 0 to 255",
        )
    })
}
