"""Clients' private keys as the store keeps them: sealed, with a key in a file apart from it."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from contextlib import suppress
from typing import TYPE_CHECKING

from wgbind.errors import ConflictError, KeyFormatError, NotFoundError, StoreError
from wgbind.keys import PresharedKey, PrivateKey
from wgbind.settings.files import make_folder
from wgbind.settings.private_key import create_key_file, read_key_file

if TYPE_CHECKING:
    from pathlib import Path

    from wgbind.keys import PublicKey

_WHAT = "key of the stored private keys"

# A sealed key is this, a nonce (random: 2^32 of them are safe with one key) and ChaCha20-Poly1305
# (RFC 8439) of the private key; the public key is the associated data.
_FORMAT = b"\x01"
_NONCE_BYTES = 12


class Vault:
    """Seals private keys and opens them.

    The file is read when it is first needed, and made by the first seal of a store that has none.

    Args:
        path: The file with the key, mode 0600; None if there is none: then every use is refused.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._key: bytes | None = None

    def prepare(self, sealed: tuple[PublicKey, bytes] | None) -> None:
        """Make ready to seal. `sealed` is any key that the store has, None if it has none.

        Raises `StoreError` if that was sealed with another key, or the file is gone: what is
        sealed now could not be opened together with it.
        """
        if sealed is not None:
            self.open(*sealed)
        elif self._key is None:
            self._key = self._made()

    def seal(self, private_key: PrivateKey) -> bytes:
        """Seal a private key; raises `StoreError`."""
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        nonce = os.urandom(_NONCE_BYTES)
        public_key = _raw(str(private_key.public_key()))
        cipher = ChaCha20Poly1305(self._read())
        return _FORMAT + nonce + cipher.encrypt(nonce, _raw(private_key.reveal()), public_key)

    def open(self, public_key: PublicKey, sealed: bytes) -> PrivateKey:
        """Open what was sealed of the owner of a public key; raises `StoreError`."""
        # The import takes as long as all else that reading a peer does.
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

        version, nonce, text = sealed[:1], sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if version != _FORMAT:
            raise StoreError(
                f"the private key of {public_key} is sealed in a way that this version of wgbind "
                "does not know; install the newer one"
            )
        try:
            raw = ChaCha20Poly1305(self._read()).decrypt(nonce, text, _raw(str(public_key)))
        except (InvalidTag, ValueError):
            raise StoreError(
                f"{self._path}: it is not the key that the private key of {public_key} was sealed "
                f"with, or that is damaged; {_REMEDY}"
            ) from None
        return PrivateKey(b64encode(raw).decode())

    def _made(self) -> bytes:
        path = self._require_path()
        try:
            make_folder(path.parent)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}; name another in store.key_file") from None
        with suppress(ConflictError):  # it is there already, perhaps since a moment ago
            create_key_file(path, PresharedKey.generate().reveal(), _WHAT)
        return self._read()

    def _read(self) -> bytes:
        if self._key is None:
            path = self._require_path()
            try:
                self._key = _raw(PresharedKey(read_key_file(path, _WHAT)).reveal())
            except NotFoundError:
                raise StoreError(f"{path}: the {_WHAT} is missing; {_REMEDY}") from None
            except KeyFormatError:
                raise StoreError(f"{path}: it holds no key; {_REMEDY}") from None
        return self._key

    def _require_path(self) -> Path:
        if self._path is None:
            raise StoreError("private keys: this store was opened without the file of their key")
        return self._path


_REMEDY = (
    "restore the file; if it is lost, so are those private keys: `wgbind peer rotate` gives a peer "
    "new ones, with client.store_private_keys = false until all have them"
)


def _raw(text: str) -> bytes:
    return b64decode(text)
