//! The binding crate: the only one that knows Python. Parse, release the GIL,
//! call, map the error; `python/wgbind/_native.pyi` is the documented contract.

use pyo3::prelude::*;

mod error;
mod key;

#[pymodule(gil_used = false)]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::key::{PresharedKey, PrivateKey, PublicKey};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
