"""A WireGuard server: settings, peers, and its life."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from time import monotonic, sleep
from typing import TYPE_CHECKING, TypeVar

from wgbind.errors import NotFoundError, PrivilegeError, StateError, revive
from wgbind.server import lock
from wgbind.server.privilege import require_net_admin
from wgbind.server.server_peers import ServerPeers
from wgbind.settings.files import make_folder
from wgbind.settings.paths import Paths

# What a call needs is imported by it: most need either the store or the API.
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

    from wgbind.api.event_stream import EventStream
    from wgbind.api.event_stream_async import AsyncEventStream
    from wgbind.api.firewall import FirewallReport
    from wgbind.api.peers import Peers
    from wgbind.api.remote import RemoteServer
    from wgbind.api.status import PeerReport, ServerStatus
    from wgbind.apply.document import Document
    from wgbind.apply.report import Applied, ApplyPlan
    from wgbind.keys import PublicKey
    from wgbind.server.advertised import Advertised
    from wgbind.server.configuration import Configuration
    from wgbind.server.firewall import Firewall
    from wgbind.server.node import Node

# A start takes a second, a stop less; both take longer on a machine that does much else.
_PATIENCE_SECONDS = 60

_Answer = TypeVar("_Answer")


class Server:
    """The server on one interface, wherever it runs.

    `start` runs it in this process, `spawn` in a process of its own. The other methods work on
    it in either case; `peers`, `firewall`, `status` and `configuration` also while it is
    stopped. As a context manager it runs in this process until the end of the block.

    Args:
        name: The interface's name, 1 to 15 of the characters a-z A-Z 0-9 _ = + . -; `InputError`.
        paths: Its files; None takes the folders from the environment.
    """

    def __init__(self, name: str = "wg0", *, paths: Paths | None = None) -> None:
        self.paths = Paths.of(name) if paths is None else paths
        self.name = self.paths.name
        self.peers: Peers = ServerPeers(self)
        self._node: Node | None = None

    @property
    def firewall(self) -> Firewall:
        """What it lets pass."""
        from wgbind.server.firewall import Firewall

        return Firewall(self)

    def init(self) -> Configuration:
        """Write new settings that collide with nothing on this host, and a new private key.

        Raises `ConflictError` if there are settings or a key already; they stay as they are.
        """
        from wgbind.server.configuration import Configuration

        return Configuration.create(self.paths)

    def configuration(self) -> Configuration:
        """Read the settings and the private key.

        Raises `NotFoundError` if there are none, `SettingsError` for a mistake in them,
        `PrivilegeError` if this process may not read them.
        """
        from wgbind.server.configuration import Configuration

        return Configuration.load(self.paths)

    def start(self) -> None:
        """Run the server in this process; return when it works.

        Without settings it makes them. A failure leaves nothing behind.

        Raises:
            StateError: it runs already.
            PrivilegeError: this process lacks CAP_NET_ADMIN.
            ConflictError: interface or port is taken.
            WgbindError: settings, store or host are not as they must be.
        """
        from wgbind.server.node import Node

        node = Node(self.paths)
        node.start()
        self._node = node

    def spawn(self) -> int:
        """Run the server in a new process that outlives this one; return its pid when it works.

        Raises as `start` does.
        """
        require_net_admin(f"starting {self.name}")
        folders = {
            "WGBIND_CONFIG_DIR": str(self.paths.config_dir),
            "WGBIND_STATE_DIR": str(self.paths.state_dir),
            "WGBIND_RUN_DIR": str(self.paths.run_dir),
        }
        ended = subprocess.run(
            [sys.executable, "-m", "wgbind.server.daemon", self.name],
            check=False,
            cwd="/",  # `-m` imports from the working folder first, and it may be anybody's
            env=os.environ | folders,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if ended.returncode != 0:
            kind, _, message = ended.stdout.rstrip("\n").partition("\n")
            if not message:
                message = f"it ended before it was ready; see {self.paths.log}"
            raise revive(kind, message)
        pid = self.pid()
        if pid is None:
            raise StateError(f"{self.name} ended right after it was ready; see {self.paths.log}")
        return pid

    def stop(self) -> None:
        """Stop the server, wherever it runs; return when it is gone.

        If it was killed, take back what it left on the host. Raises `StateError` if it does not
        run and nothing is left of it.
        """
        if self._node is not None:
            node, self._node = self._node, None
            node.stop()
            return
        pid = self.pid()
        if pid is not None:
            self._end(pid)
            # Who was killed just then leaves its lock, and what else there was.
            if self.paths.lock.exists() and self.pid() is None:
                self._release_host()
        elif not self._release_host():
            raise self._stopped()

    def reload(self) -> tuple[str, ...]:
        """Let the running server read its settings again; return what could not be applied.

        Raises `StateError` if it does not run, `SettingsError` for a mistake in the settings; it
        goes on with the old ones then.
        """
        if self._node is not None:
            return self._node.reload()
        problems = self._call(lambda remote: remote.reload())
        if problems is None:
            raise self._stopped()
        return problems

    def status(self) -> ServerStatus:
        """Describe the server and its peers, running or stopped.

        Raises `NotFoundError` if it has no settings.
        """
        if self._node is not None:
            return self._node.status()
        status = self._call(lambda remote: remote.status())
        if status is not None:
            return status
        from wgbind.server.report import report
        from wgbind.store.store import Store

        configuration = self.configuration()
        with Store.open(self.paths, configuration.settings) as store:
            return report(self.name, configuration, store.known(self.name), None)

    def firewall_in_force(self) -> FirewallReport | None:
        """Describe the rules that the running server has applied; None if it is stopped."""
        if self._node is not None:
            return self._node.firewall()
        return self._call(lambda remote: remote.firewall_in_force())

    def peer_report(self, which: str | PublicKey) -> PeerReport:
        """Describe one peer, by name or public key; raise `NotFoundError`."""
        if self._node is None:
            report = self._call(lambda remote: remote.peer_report(which))
            if report is not None:
                return report
        key = self.peers.get(which).public_key
        for peer in self.status().peers:
            if peer.public_key == key:
                return peer
        raise NotFoundError(f"peer {str(which)!r} of {self.name} was removed just now")

    def plan(
        self, document: Document | Mapping[str, object] | Path, *, prune: bool = False
    ) -> ApplyPlan:
        """Tell what `apply` would change; raises as it does."""
        from wgbind.apply.document import document_of

        found = document_of(document)
        if self._node is not None:
            return self._node.plan(found, prune=prune)
        if found.is_live:
            plan = self._call(lambda remote: remote.plan(found, prune=prune))
            if plan is not None:
                return plan
        from wgbind.apply.application import Application

        return Application(self, found, prune=prune).plan

    def apply(
        self, document: Document | Mapping[str, object] | Path, *, prune: bool = False
    ) -> Applied:
        """Make the server, running or stopped, what a document says: all of it or nothing.

        Args:
            document: Settings, peers, or both; plain values, or the path of a file. What it does
                not name stays as it is.
            prune: Remove the peers that it does not name.

        Returns:
            What changed, and the new peers with the private keys that were made for them.

        Raises:
            InputError: what is wrong in the document, "FILE:LINE: key KEY: what; remedy".
            ConflictError: a key, address or network is taken, or no address is left.
            StateError: the running server could not apply it, or must be stopped for it.
        """
        from wgbind.apply.document import document_of

        found = document_of(document)
        if self._node is not None:
            return self._node.apply(found, prune=prune)
        if found.is_live:
            applied = self._call(lambda remote: remote.apply(found, prune=prune))
            if applied is not None:
                return applied
        # A server that runs does not take the rest from its API: it is told to read its files.
        from wgbind.apply.application import Application
        from wgbind.server.journal import alone

        with alone(self.paths):
            return Application(self, found, prune=prune).apply()

    def events(self) -> EventStream:
        """Iterate over what happens to peers from now on, until the server stops.

        Raises `StateError` if it does not run, and while iterating if it is killed.
        """
        events = self._call(lambda remote: remote.events())
        if events is None:
            raise self._stopped()
        return events

    def events_async(self) -> AsyncEventStream:
        """Return `events` for asyncio: `async with` it, then `async for`; errors as there."""
        from wgbind.api.connection import Gate
        from wgbind.api.event_stream_async import AsyncEventStream

        if not self._runs():
            raise self._stopped()
        return AsyncEventStream(Gate(self.paths.control_socket))

    def converge(self) -> tuple[str, ...]:
        """Let the server, if it runs, apply what the store says now.

        It does so by itself within a second. Returns what could not be applied.
        """
        if self._node is not None:
            return self._node.converge()
        return self._call(lambda remote: remote.converge()) or ()

    def with_peers(self, call: Callable[[Peers], _Answer]) -> _Answer:
        """Call with the peers as whoever runs the server has them or, if it is stopped, the store.

        Raises what `call` raises, and `StateError` if the server does not answer.
        """
        if self._node is not None:
            return call(self._node.peers)
        answer = self._call(lambda remote: (call(remote.peers),))
        if answer is not None:
            return answer[0]
        from wgbind.server.peers import StoredPeers

        return call(StoredPeers(self))

    def wait(self, timeout: float | None = None) -> str | None:
        """Wait until the server of this process ends by itself.

        Returns why it ended, or None after `timeout` seconds. Raises `StateError` if this
        process does not run it.
        """
        if self._node is None:
            raise StateError(f"{self.name} does not run in this process")
        return self._node.wait(timeout)

    def pid(self) -> int | None:
        """Return the number of the process that runs the server, None if it is stopped."""
        return lock.holder(self.paths.lock)

    def advertised(self, endpoint: str | None = None) -> Advertised:
        """Return where client configurations say that the server is.

        `endpoint` is the name of one in `client.endpoints` of the settings, None the one for all.
        Raises `InputError` if there is none of that name.
        """
        from wgbind.server.advertised import Advertised, advertise
        from wgbind.settings.address import Endpoint

        if self._node is not None:
            return self._node.advertised(endpoint)
        info = self._call(lambda remote: remote.info(endpoint))
        if info is not None:
            found = None if info.endpoint is None else Endpoint.parse(info.endpoint)
            return Advertised(found, info.endpoint_remark)
        from wgbind.net.host import host_view

        settings = self.configuration().settings
        port = settings.interface.listen_port
        return advertise(settings, port, host_view(settings.fwmark), endpoint)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._node is not None:
            self.stop()

    def _call(self, call: Callable[[RemoteServer], _Answer]) -> _Answer | None:
        """Call the server in its process; None if it is stopped.

        One that is starting or stopping holds its lock and does not listen: wait for it.
        """
        if not self._runs():
            return None
        from wgbind.api.connection import Gate, UnreachableError
        from wgbind.api.remote import RemoteServer

        deadline = monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                with RemoteServer(Gate(self.paths.control_socket), self.name) as remote:
                    return call(remote)
            except UnreachableError:
                if monotonic() > deadline:
                    raise
            sleep(0.05)
            if not self._runs():
                return None

    def _runs(self) -> bool:
        """Tell whether it runs in some process.

        Who is let in at the control socket alone, and not to the lock, sees no more than that.
        """
        try:
            return self.pid() is not None
        except PrivilegeError:
            try:
                self.paths.control_socket.stat()
            except OSError:
                pass
            else:
                return True
            raise

    def _end(self, pid: int) -> None:
        """Let the process that runs the server end; return when it is gone."""
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            # Still the holder: so the descriptor is of no later process with the same number.
            if self.pid() == pid:
                signal.pidfd_send_signal(descriptor, signal.SIGTERM)
                ended = select.poll()
                ended.register(descriptor, select.POLLIN)
                if not ended.poll(_PATIENCE_SECONDS * 1000):
                    raise StateError(
                        f"{self.name} (pid {pid}) does not end; see {self.paths.log},"
                        f" `kill -9 {pid}` ends it"
                    )
        finally:
            os.close(descriptor)

    def _release_host(self) -> bool:
        from wgbind.server.reconciler import release_host

        make_folder(self.paths.run_dir)
        held = lock.Lock.acquire(self.paths.lock)
        try:
            self.paths.control_socket.unlink(missing_ok=True)
            return release_host(self.paths)
        finally:
            held.release()

    def _stopped(self) -> StateError:
        return StateError(f"{self.name} does not run; `wgbind server start {self.name}` starts it")
