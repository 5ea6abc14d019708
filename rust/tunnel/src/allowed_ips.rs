//! Cryptokey routing.
