"""The listeners of a server's API, as its settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wgbind.api.access import Access
from wgbind.api.app import make_app
from wgbind.api.listener import TlsListener, UnixListener, tls_context
from wgbind.settings.api import api_file, read_token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wgbind.api.listener import Listener
    from wgbind.api.node import Node
    from wgbind.settings.api import ApiSettings
    from wgbind.settings.paths import Paths


def make_listeners(node: Node, paths: Paths, settings: ApiSettings) -> Iterator[Listener]:
    """Open what answers for `node`: its control socket, and a TCP port if the settings name one.

    Raises `SettingsError`, `InputError`, `NotFoundError`, `PrivilegeError` for files and names that
    are not as they must be, `StateError` for a socket that cannot be opened.
    """
    app = make_app(node)
    yield UnixListener(app, paths.control_socket, Access.of(settings))
    if settings.listen is not None:
        token = read_token(api_file(paths, settings.token_file))
        tls = tls_context(
            api_file(paths, settings.certificate_file), api_file(paths, settings.key_file)
        )
        yield TlsListener(app, settings.listen, token, tls)
