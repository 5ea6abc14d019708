"""What `wg` changes on the device of a running server goes into its store and its settings."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timezone
from threading import Lock
from typing import TYPE_CHECKING

from wgbind.errors import SettingsError
from wgbind.server.foreign import Foreign, Outcome, adopt
from wgbind.settings.private_key import private_key_path, write_key_file
from wgbind.settings.toml_edit import set_interface_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wgbind._native import Device
    from wgbind.keys import PrivateKey, PublicKey
    from wgbind.server.configuration import Configuration
    from wgbind.settings.paths import Paths
    from wgbind.store.peer import Peer
    from wgbind.store.store import Store

_log = logging.getLogger(__name__)

_SHOWN = 10  # names in a line of the log


class Adoption:
    """Takes over what the control socket's clients change, before the store is applied again.

    The device notes for it what they changed, and nothing that the server does is among that, so
    no change goes in circles. See `wgbind.server.foreign` for who wins.

    Args:
        device: The server's device; nobody else takes its foreign changes.
        paths: The server's files.
    """

    def __init__(self, device: Device, paths: Paths) -> None:
        self._device = device
        self._paths = paths
        self._pending = Lock()
        self._is_new = False
        self._peers: dict[PublicKey, bool] = {}
        self._private_key: PrivateKey | None = None
        self._listen_port: int | None = None
        self._fwmark: int | None = None
        self._refused: dict[PublicKey | str, str] = {}
        device.take_foreign()  # from now on they are noted

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be taken over."""
        return tuple(self._refused.values())

    def is_due(self) -> bool:
        """Look whether others changed something since it was last taken over; cheap."""
        with self._pending:
            found = self._device.take_foreign()
            if found is not None:
                for key, endpoint in found.peers:
                    self._peers[key] = self._peers.get(key, False) or endpoint
                self._private_key = found.private_key or self._private_key
                self._listen_port = found.listen_port or self._listen_port
                if found.fwmark is not None:
                    self._fwmark = found.fwmark
                self._is_new = True
            return self._is_new

    def take_settings(self, configuration: Configuration, peers: Iterable[Peer]) -> Configuration:
        """Write another private key, port or mark into the server's files; return what they say.

        What is refused or unsaid (no key, any port), the server takes back when it configures its
        device. Raises `WgbindError` if a file cannot be written; it is tried again.
        """
        self.is_due()
        with self._pending:
            self._is_new = False
        try:
            return self._take_settings(configuration, peers)
        except OSError as error:
            raise SettingsError(f"{error.filename}: {error.strerror}; make it writable") from error

    def _take_settings(self, configuration: Configuration, peers: Iterable[Peer]) -> Configuration:
        settings = configuration.settings
        if self._listen_port not in {None, settings.interface.listen_port}:
            configuration = self._number(configuration, "listen_port", self._listen_port)
        self._listen_port = None
        if self._fwmark not in {None, settings.fwmark, settings.interface.fwmark}:
            configuration = self._number(configuration, "fwmark", self._fwmark)
        self._fwmark = None
        key = self._private_key
        if key is not None and key != configuration.private_key:
            configuration = self._key(configuration, key, peers)
        self._private_key = None
        return configuration

    def take_peers(
        self,
        store: Store,
        configuration: Configuration,
        applied: Mapping[PublicKey, Peer],
    ) -> Outcome:
        """Take the peers that others changed into the store; return what became of it.

        Args:
            store: The server's.
            configuration: Its settings, with the tunnel's networks.
            applied: The peers that the server gave the device, and how.

        Raises `StoreError`; what others changed stays for the next time.
        """
        self.is_due()
        with self._pending:
            touched, self._peers, self._is_new = self._peers, {}, False
        if not touched:
            return Outcome()
        try:
            return self._take(touched, store, configuration, applied)
        except BaseException:
            with self._pending:
                self._peers = touched | self._peers
            raise

    def _take(
        self,
        touched: Mapping[PublicKey, bool],
        store: Store,
        configuration: Configuration,
        applied: Mapping[PublicKey, Peer],
    ) -> Outcome:
        present = self._device.status().peers
        found = {peer.public_key: peer for peer in present}
        # In the device's order, so that names do not change from one time to the next.
        order = [key for key in found if key in touched] + [
            key for key in touched if key not in found
        ]
        foreign = Foreign({key: touched[key] for key in order}, found, applied)
        pools = configuration.settings.interface.addresses
        now = datetime.now(timezone.utc)
        name = self._paths.name
        outcome = store.revise(name, lambda old: adopt(name, old, foreign, pools, now))
        for key in touched:
            self._refused.pop(key, None)
        self._refused.update(outcome.refused.items())
        for reason in (*outcome.refused.values(), *outcome.undone):
            _log.warning("control socket: not kept: %s", reason)
        for what in ("added", "changed", "removed"):
            peers: list[Peer] = getattr(outcome, what)
            if peers:
                names = ", ".join(peer.name for peer in peers[:_SHOWN])
                more = f" and {len(peers) - _SHOWN} more" if len(peers) > _SHOWN else ""
                _log.info("control socket: %s: %s%s", what, names, more)
        return outcome

    def _number(self, configuration: Configuration, key: str, value: int | None) -> Configuration:
        name = key.replace("_", " ")
        try:
            set_interface_number(self._paths.settings, key, value or 0)
        except SettingsError as error:
            self._refuse(key, f"the {name} that wg gave is not kept: {error}")
            return configuration
        self._refused.pop(key, None)
        _log.warning("control socket: %s %s is in the settings now", name, value)
        settings = configuration.settings
        interface = settings.interface.model_copy(update={key: value or 0})
        return replace(configuration, settings=settings.model_copy(update={"interface": interface}))

    def _key(
        self, configuration: Configuration, key: PrivateKey, peers: Iterable[Peer]
    ) -> Configuration:
        public_key = key.public_key()
        owner = next((peer.name for peer in peers if peer.public_key == public_key), None)
        if owner is not None:
            self._refuse("private_key", f"the private key that wg gave is that of peer {owner}")
            return configuration
        path = private_key_path(self._paths, configuration.settings)
        write_key_file(path, key.reveal(), "private key", replace=True)
        self._refused.pop("private_key", None)
        _log.warning(
            "control socket: the private key is another now; clients need %s as PublicKey",
            public_key,
        )
        return replace(configuration, private_key=key)

    def _refuse(self, key: str, reason: str) -> None:
        self._refused[key] = reason
        _log.warning("control socket: %s", reason)
