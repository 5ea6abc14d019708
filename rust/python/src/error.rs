//! The one place where Rust errors become Python exceptions (`wgbind.errors`).

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// The exception of `wgbind.errors` called `class`, with one line of text.
pub(crate) fn raise(class: &str, message: String) -> PyErr {
    Python::attach(|py| {
        let make = || {
            py.import("wgbind.errors")?
                .getattr(class)?
                .call1((&message,))
        };
        match make() {
            Ok(error) => PyErr::from_value(error),
            Err(_) => PyRuntimeError::new_err(message),
        }
    })
}

/// Maps an error of the tunnel.
pub(crate) fn from_tunnel(error: &wgbind_tunnel::Error) -> PyErr {
    let class = match error {
        wgbind_tunnel::Error::Key { .. } => "KeyFormatError",
        _ => "InputError",
    };
    raise(class, error.to_string())
}
