"""WireGuard's keys; parsing, generation and wiping are the native module's."""

from wgbind._native import PresharedKey, PrivateKey, PublicKey

__all__ = ["PresharedKey", "PrivateKey", "PublicKey"]
