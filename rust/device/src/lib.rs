//! A WireGuard device on Linux.
