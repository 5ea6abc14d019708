"""Messages of a handshake, made by the paper alone (section 5.4): what somebody may send.

Independent of boringtun, so that what it takes for right is not what is sent here.
"""

from __future__ import annotations

import base64
import hmac
import os
import struct
import time
from hashlib import blake2s

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"

SIZES = {1: 148, 2: 92, 3: 64, 4: 32}
"""Bytes of each type of message; of the last one at least."""

MACS = 32
"""Bytes of both MACs, at the end of an initiation and of a response."""


def with_mac1(message: bytes, server: str) -> bytes:
    """Put the right MAC1 and no MAC2 behind a handshake message to whoever has this public key."""
    key = blake2s(b"mac1----" + base64.b64decode(server)).digest()
    return message + blake2s(message, key=key, digest_size=16).digest() + bytes(16)


def junk(kind: int, server: str | None = None) -> bytes:
    """Make a message that is random but for its type and, given the server's key, its MAC1."""
    head = struct.pack("<I", kind)
    if server is None:
        return head + os.urandom(SIZES[kind] - len(head))
    return with_mac1(head + os.urandom(SIZES[kind] - len(head) - MACS), server)


class Initiator:
    """Somebody with a private key, who can begin as many handshakes as he likes.

    Args:
        private_key: His, in base64.
        server: The public key of whom he calls, in base64.
    """

    def __init__(self, private_key: str, server: str) -> None:
        self._private = X25519PrivateKey.from_private_bytes(base64.b64decode(private_key))
        self._server = server
        self._with_server = self._private.exchange(_public(server))

    def initiation(self) -> bytes:
        """Make an initiation, newer than all before."""
        server = base64.b64decode(self._server)
        chain = blake2s(CONSTRUCTION).digest()
        digest = _hash(_hash(chain, IDENTIFIER), server)
        ephemeral = X25519PrivateKey.generate()
        ours = ephemeral.public_key().public_bytes_raw()
        (chain,) = _kdf(chain, ours, 1)
        digest = _hash(digest, ours)
        chain, key = _kdf(chain, ephemeral.exchange(_public(self._server)), 2)
        static = _seal(key, self._private.public_key().public_bytes_raw(), digest)
        digest = _hash(digest, static)
        chain, key = _kdf(chain, self._with_server, 2)
        now = time.time_ns()
        tai64n = struct.pack(">QI", (1 << 62) + 10 + now // 10**9, now % 10**9)
        timestamp = _seal(key, tai64n, digest)
        message = struct.pack("<I", 1) + os.urandom(4) + ours + static + timestamp
        return with_mac1(message, self._server)


def _public(key: str) -> X25519PublicKey:
    return X25519PublicKey.from_public_bytes(base64.b64decode(key))


def _hash(*parts: bytes) -> bytes:
    return blake2s(b"".join(parts)).digest()


def _kdf(key: bytes, content: bytes, count: int) -> list[bytes]:
    secret = hmac.digest(key, content, "blake2s")
    outputs = [b""]
    for number in range(1, count + 1):
        outputs.append(hmac.digest(secret, outputs[-1] + bytes([number]), "blake2s"))
    return outputs[1:]


def _seal(key: bytes, plain: bytes, about: bytes) -> bytes:
    return ChaCha20Poly1305(key).encrypt(bytes(12), plain, about)
