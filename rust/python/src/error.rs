//! The one place where Rust errors become Python exceptions (`wgbind.errors`).

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// The exception of `wgbind.errors` called `class`, with one line of text.
pub(crate) fn raise(class: &str, message: String) -> PyErr {
    Python::attach(|py| {
        let error = py
            .import("wgbind.errors")
            .and_then(|errors| errors.getattr(class)?.call1((&message,)));
        match error {
            Ok(error) => PyErr::from_value(error),
            Err(_) => PyRuntimeError::new_err(message),
        }
    })
}

/// The exception for a value that cannot be parsed: which field, what was given, what would do.
pub(crate) fn bad_value(field: &str, value: &str, remedy: &str) -> PyErr {
    raise("InputError", format!("{field}: {value:?}: {remedy}"))
}

/// Maps an error of the tunnel.
pub(crate) fn from_tunnel(error: &wgbind_tunnel::Error) -> PyErr {
    raise(tunnel_class(error), error.to_string())
}

/// Maps an error of the device.
pub(crate) fn from_device(error: &wgbind_device::Error) -> PyErr {
    use wgbind_device::Error;
    let class = match error {
        Error::Name { .. } | Error::Workers(_) | Error::Feature(_) | Error::Descriptor { .. } => {
            "InputError"
        }
        Error::Privilege { .. } => "PrivilegeError",
        Error::InUse { .. } => "ConflictError",
        Error::Tunnel(error) => tunnel_class(error),
        _ => "DeviceError",
    };
    raise(class, error.to_string())
}

fn tunnel_class(error: &wgbind_tunnel::Error) -> &'static str {
    match error {
        wgbind_tunnel::Error::Key { .. } => "KeyFormatError",
        _ => "InputError",
    }
}
