//! The binding crate: the only one that knows Python.
