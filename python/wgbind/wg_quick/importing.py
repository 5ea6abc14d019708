"""A file of wg-quick(8) as a server of wgbind; nothing is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from wgbind.errors import ConflictError, InputError
from wgbind.settings.model import InterfaceSettings, ServerSettings
from wgbind.store.ipam import require_permitted
from wgbind.store.peer import require_valid
from wgbind.wg_quick.comment import read_comments, split_fields
from wgbind.wg_quick.export import HERE
from wgbind.wg_quick.firewall_hook import DONE_BY, commands, presets, work
from wgbind.wg_quick.layout import keep
from wgbind.wg_quick.peer_section import read_peer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from wgbind.keys import PrivateKey
    from wgbind.settings.client import ClientSettings
    from wgbind.settings.policy import Preset
    from wgbind.store.peer import Peer
    from wgbind.wg_quick.file import WgQuickFile
    from wgbind.wg_quick.firewall_hook import Work

# The keys of the file by those of the settings' section [interface].
_KEYS = {"addresses": "Address", "listen_port": "ListenPort", "mtu": "MTU", "fwmark": "FwMark"}


@dataclass(frozen=True)
class Import:
    """What a file comes to.

    Attributes:
        remarks: What to know of it, each "FILE:LINE: ..." or a sentence.
    """

    name: str
    settings: ServerSettings
    private_key: PrivateKey = field(repr=False)
    peers: tuple[Peer, ...]
    remarks: tuple[str, ...]


def import_file(
    file: WgQuickFile,
    name: str,
    client: ClientSettings,
    now: datetime,
    *,
    run_hooks: bool = False,
    preset: Sequence[Preset] = (),
) -> Import:
    """Make a server of a file.

    Args:
        file: What the file says.
        name: The server's, and its interface's.
        client: What the configurations of future clients say, unless the file says it.
        now: When the peers are made, in UTC.
        run_hooks: Whether the server shall run the file's hooks.
        preset: The policy's, instead of what does the work of the hooks.

    Raises `InputError` ("FILE:LINE: key KEY: VALUE: what is wrong; remedy").
    """
    interface = file.interface
    if interface.private_key is None:
        raise InputError(
            f"{file.name}: key PrivateKey: it is missing in [Interface], and a server needs one; "
            "`wg genkey` makes one"
        )
    try:
        _, fields = split_fields(interface.comments)
    except InputError as error:
        raise InputError(f"{file.name}: [Interface]: {error}") from None
    remarks = _Remarks(file, name)
    remarks.hooks(run=run_hooks)
    remarks.found += file.remarks
    settings = _settings(file, fields, client, remarks, run_hooks, preset)
    remarks.rest(settings)
    peers = _peers(file, name, settings, now, remarks)
    return Import(name, settings, interface.private_key, peers, tuple(remarks.found))


class _Remarks:
    """What the user should know."""

    def __init__(self, file: WgQuickFile, name: str) -> None:
        self.found: list[str] = []
        self.works: list[Work] = []
        self._file = file
        self._name = name

    def add(self, key: str, text: str) -> None:
        line = self._file.interface.lines.get(key)
        place = self._file.name if line is None else f"{self._file.name}:{line}"
        self.found.append(f"{place}: {key}: {text}")

    def hooks(self, *, run: bool) -> None:
        fate = "the server will run it" if run else "not run; --with-hooks lets the server run it"
        for key, hooks in self._file.interface.hooks.items():
            for line, hook in hooks:
                works = dict.fromkeys(work(each, self._name) for each in commands(hook))
                found = [each for each in works if each is not None]
                if key in {"PreUp", "PostUp"}:
                    self.works += found
                done = "".join(f"; {DONE_BY[each]}" for each in found)
                self.found.append(f"{self._file.name}:{line}: {key}: {hook}: {fate}{done}")

    def rest(self, settings: ServerSettings) -> None:
        interface = self._file.interface
        if interface.dns:
            self.add("DNS", "kept; wgbind does not change the name servers of this host")
        if interface.table == "off":
            self.add("Table", "kept; wgbind sets routes to networks behind peers all the same")
        elif interface.table not in {None, "auto"} and settings.wg_quick.table is not None:
            self.add("Table", "kept; wgbind takes a table by its number: see routing.table")
        if interface.save_config:
            self.add("SaveConfig", "kept; wgbind keeps what wg changes by itself, in its store")
        if interface.listen_port is None:
            self.add("ListenPort", "it is missing, so the system chooses a port at each start")


def _settings(
    file: WgQuickFile,
    fields: Mapping[str, Any],
    client: ClientSettings,
    remarks: _Remarks,
    run_hooks: bool,
    preset: Sequence[Preset],
) -> ServerSettings:
    said = file.interface
    number = said.table is not None and said.table.isdigit()
    interface = {
        "addresses": [str(address) for _, address in said.addresses],
        "listen_port": said.listen_port or 0,
        "fwmark": said.fwmark,
        **({} if said.mtu is None else {"mtu": said.mtu}),
    }
    kept = {
        "run_hooks": run_hooks,
        **{
            section_key: tuple(command for _, command in said.hooks.get(key, ()))
            for key, section_key in (
                ("PreUp", "pre_up"),
                ("PostUp", "post_up"),
                ("PreDown", "pre_down"),
                ("PostDown", "post_down"),
            )
        },
        "dns": said.dns,
        "table": None if number else said.table,
        "save_config": said.save_config,
        "layout": keep(said.layout),
    }
    for section in HERE:
        if section in fields:
            raise InputError(f"{file.name}: comment '#: {section}': it is not for files; remove it")
    data = dict(fields)
    data["wg_quick"] = kept
    if number:
        data["routing"] = data.get("routing", {}) | {"table": int(said.table or 0)}
    if not fields:  # else wgbind wrote it, and what it does not say is the default
        data["client"] = client
        preset = preset or presets(remarks.works) or ("hub",)
    if preset:
        data["policy"] = data.get("policy", {}) | {"preset": preset}
    try:
        checked = InterfaceSettings.model_validate(interface)
    except ValidationError as error:
        mistake = error.errors()[0]
        key = _KEYS[str(mistake["loc"][0])]
        lines = [line for line, _ in said.addresses] if key == "Address" else []
        number_at = mistake["loc"][1] if len(mistake["loc"]) > 1 else 0
        line = lines[int(number_at)] if lines else said.lines.get(key)
        place = file.name if line is None else f"{file.name}:{line}"
        raise InputError(f"{place}: key {key}: {_explain(mistake)}") from None
    try:
        return ServerSettings.model_validate({**data, "interface": checked})
    except ValidationError as error:
        mistake = error.errors()[0]
        where = ".".join(map(str, mistake["loc"]))
        raise InputError(f"{file.name}: [Interface]: {where}: {_explain(mistake)}") from None


def _explain(mistake: Any) -> str:  # noqa: ANN401  pydantic's own type is for type checkers only
    if mistake["type"] == "too_short":
        return "it is missing, and a server needs one; add it, such as 10.8.0.1/24"
    cause = mistake.get("ctx", {}).get("error")
    return f"{mistake['input']!r}: {mistake['msg']}" if cause is None else str(cause)


def _peers(
    file: WgQuickFile, server: str, settings: ServerSettings, now: datetime, remarks: _Remarks
) -> tuple[Peer, ...]:
    peers: dict[str, Peer] = {}
    for number, entry in enumerate(file.peers):
        # So they stay in their order.
        made = now + timedelta(microseconds=number)
        try:
            peer = read_peer(entry, server, settings.interface.addresses, peers, made)
            _require_groups(peer, settings)
            require_valid(peer)
            require_permitted(peer, settings.interface.addresses, None)
        except (InputError, ConflictError) as error:
            raise InputError(f"{file.name}:{entry.line}: {error}") from None
        peers[peer.name] = peer
        text = read_comments(split_fields(entry.comments)[0]).text
        if text != peer.name:
            named = f"{text!r} is called" if text else "a peer without a name is called"
            remarks.found.append(f"{file.name}:{entry.line}: {named} {peer.name}")
    return tuple(peers.values())


def _require_groups(peer: Peer, settings: ServerSettings) -> None:
    for group in sorted(peer.groups.difference(settings.policy.groups)):
        raise InputError(f"comment '#: groups': there is no group {group!r} in policy.groups")
