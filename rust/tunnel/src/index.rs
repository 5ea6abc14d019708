//! Receiver indices.
