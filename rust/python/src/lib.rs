//! The binding crate: the only one that knows Python. Parse, release the GIL,
//! call, map the error; `python/wgbind/_native.pyi` is the documented contract.

mod change;
mod device;
mod error;
mod event;
mod foreign;
mod hub;
mod key;
mod log;
mod status;

#[pyo3::pymodule(gil_used = false)]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::change::PeerChange;
    #[pymodule_export]
    use crate::device::Device;
    #[pymodule_export]
    use crate::event::Event;
    #[pymodule_export]
    use crate::foreign::ForeignChanges;
    #[pymodule_export]
    use crate::hub::Hub;
    #[pymodule_export]
    use crate::key::{PresharedKey, PrivateKey, PublicKey};
    #[pymodule_export]
    use crate::log::log_to_stderr;
    #[pymodule_export]
    use crate::status::{DeviceStatus, PeerStatus};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
