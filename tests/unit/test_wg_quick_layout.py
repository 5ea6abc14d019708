"""Files of any layout come back as they were, line by line, but for what is new."""

import re
from dataclasses import replace
from datetime import datetime, timezone
from ipaddress import ip_address, ip_network
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.wg_quick_files import ANGRISTAN, EVERYTHING, KEYS, PRESHARED_KEY, PRIVATE_KEY
from wgbind.keys import PresharedKey, PrivateKey
from wgbind.settings.client import ClientSettings
from wgbind.store.peer import Peer
from wgbind.wg_quick.export import export_text
from wgbind.wg_quick.file import WgQuickFile
from wgbind.wg_quick.importing import Import, import_file
from wgbind.wg_quick.layout import HIDDEN

NOW = datetime(2026, 5, 17, 12, tzinfo=timezone.utc)


def imported(text: str) -> Import:
    return import_file(WgQuickFile.parse(text, "f"), "wg0", ClientSettings(), NOW)


def exported(found: Import, *peers: Peer) -> str:
    """Return the file, without what wgbind says in comments of its own."""
    return re.sub(r"(?m)^(#! ?|#\[disabled\] ?)?#: .*\n", "", whole(found, *peers))


def whole(found: Import, *peers: Peer) -> str:
    return export_text(found.settings, found.private_key, peers or found.peers, NOW)


class Writer:
    """Writes a random file as people do."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._number = 0

    def text(self) -> str:
        pick, some = self._random.choice, self._random.random
        lines = [*self._comments(), "[Interface]"]
        lines += self._keys(
            ("PrivateKey", PRIVATE_KEY),
            *[("Address", pick(("10.7.0.1/24", "10.7.0.1/24,fd07::1/64", "10.7.0.1/24 ,  ")))],
            ("ListenPort", pick(("51820", "051820"))),
            ("FwMark", pick(("0x7", "7", "off"))),
            ("MTU", pick(("1420", "1380", ""))),
            ("DNS", "1.1.1.1,corp.example"),
            ("PostUp", "iptables -A FORWARD -i %i -j ACCEPT; true"),
            ("PostUp", ""),
        )
        for number, key in enumerate(KEYS):
            peer = [*self._comments(), "[Peer]"]
            peer += self._keys(
                ("PublicKey", key),
                ("PresharedKey", PRESHARED_KEY),
                ("AllowedIPs", f"10.7.0.{number + 2}/32, 10.9.{number}.7/24"),
                ("AllowedIPs", f"fd07::{number + 2}"),
                ("Endpoint", pick(("VPN.example.org:51820", "[2001:db8::7]:7"))),
                ("PersistentKeepalive", pick(("25", "off"))),
            )
            mark = pick(("#! ", "#[disabled] "))
            off = some() < 0.2
            lines += ["", *(f"{mark}{line}" for line in peer if line)] if off else ["", *peer]
        return "".join(f"{line}\n" for line in [*lines, *self._comments()])

    def _keys(self, *keys: tuple[str, str]) -> list[str]:
        said = list(keys[:1])
        rest = [pair for pair in keys[1:] if self._random.random() < 0.7 or pair[0] == "Address"]
        self._random.shuffle(rest)
        lines = []
        for key, value in (*said, *rest):
            written = self._random.choice((key, key.lower(), key.upper()))
            equals = self._random.choice(("=", " = ", " =  ", "\t=\t"))
            comment = self._random.choice(("", "", "", "  # of its line", "#x"))
            lines += [*self._comments(), f"{written}{equals}{value}{comment}"]
        return lines

    def _comments(self) -> list[str]:
        """Return comments and empty lines; no two name a peer alike."""
        self._number += 1
        forms = ("", "#", "# two words", "#none", f"### Client c{self._number}", "   # indented")
        return self._random.choices(forms, k=self._random.choice((0, 0, 0, 1, 2)))


@given(st.integers(0, 2**32))
def test_random_files_come_back_as_they_were(seed: int) -> None:
    text = Writer(Random(seed)).text()  # noqa: S311  not for secrets
    found = imported(text)
    assert exported(found) == text
    second = imported(whole(found))
    assert (second.settings, second.peers) == (found.settings, found.peers)


def test_what_is_new_stands_where_the_old_stood() -> None:
    found = imported(
        f"[Interface]\nPrivateKey = {PRIVATE_KEY} # a\nAddress=10.7.0.1/24\nPostUp = x # b\n"
        f"PostUp = y\n# c\n\n# phone\n[peer]\nallowedips=10.7.0.2 # d\npublickey={KEYS[0]}\n"
        "PersistentKeepalive = 25 # e\n# f\n\n[Peer]\n"
        f"PublicKey = {KEYS[1]}\nAllowedIPs = 10.7.0.3/32\n"
    )
    phone, other = found.peers
    private_key, preshared_key = PrivateKey.generate(), PresharedKey.generate()
    hooks = found.settings.wg_quick.model_copy(update={"post_up": ("x", "z")})
    settings = found.settings.model_copy(update={"wg_quick": hooks})
    changed = replace(
        phone,
        addresses=(ip_address("10.7.0.9"),),
        routed_networks=(ip_network("10.9.0.0/24"),),
        persistent_keepalive=0,
        preshared_key=preshared_key,
    )
    new = replace(other, name="new", layout=(), notes="", created_at=NOW.replace(hour=13))
    changes = replace(found, settings=settings, private_key=private_key)
    assert exported(changes, new, changed) == (
        f"[Interface]\nPrivateKey = {private_key.reveal()} # a\nAddress=10.7.0.1/24\n"
        "PostUp = x # b\nPostUp = z\n# c\n\n# phone\n[peer]\n"
        f"allowedips=10.7.0.9/32, 10.9.0.0/24 # d\npublickey={KEYS[0]}\n# e\n"
        f"PresharedKey = {preshared_key.reveal()}\n# f\n\n[Peer]\n# Name = new\n"
        f"PublicKey = {KEYS[1]}\nAllowedIPs = 10.7.0.3/32\n"
    )


@pytest.mark.parametrize(
    ("comments", "renamed"),
    [
        ("# home\n[Peer]\n# Name = a\n", "# home\n[Peer]\n# Name = new\n"),
        ("[Peer]\n  # Name = a\n#b\n", "[Peer]\n# Name = new\n#b\n"),
        ("[Peer]\n# two words\n", "[Peer]\n# Name = new\n# two words\n"),
        ("### Client a\n\n[Peer]\n", '### Client a\n\n[Peer]\n#: name = "new"\n'),
        ("# A b\n[Peer]\n#Name: A b\n", '# A b\n[Peer]\n#: name = "new"\n#Name: A b\n'),
        ("# peer_a\n[Peer]\n# Name = a\n", "# peer_a\n[Peer]\n# Name = new\n"),
        (
            "### Client a\n[Peer]\n# Name = a\n",
            '### Client a\n[Peer]\n#: name = "new"\n# Name = a\n',
        ),
    ],
)
def test_who_was_renamed_stands_where_it_stood(comments: str, renamed: str) -> None:
    text = f"[Interface]\nPrivateKey = {PRIVATE_KEY}\nAddress = 10.7.0.1/24\n\n{comments}# c\n\n"
    text += f"AllowedIPs=10.7.0.2/32\n# d\nPublicKey = {KEYS[0]} # e\n\n# f\n"
    found = imported(text)
    (peer,) = (replace(each, name="new", description="") for each in found.peers)
    written = whole(found, peer)
    assert re.sub("(?m)^#: [^n].*\\n", "", written) == text.replace(comments, renamed)
    again = imported(written)
    assert [replace(each, layout=()) for each in again.peers] == [replace(peer, layout=())]
    assert whole(again) == written
    other = replace(again.peers[0], name="other", description="d", enabled=False)
    (last,) = imported(whole(again, other)).peers
    assert replace(last, layout=()) == replace(other, layout=())


@given(st.integers(0, 2**32))
def test_random_files_with_other_names(seed: int) -> None:
    found = imported(Writer(Random(seed)).text())  # noqa: S311  not for secrets
    peers = [replace(peer, name=f"new-{n}") for n, peer in enumerate(found.peers)]
    again = imported(whole(found, *peers))
    assert [replace(peer, layout=()) for peer in again.peers] == [
        replace(peer, layout=()) for peer in peers
    ]


def test_who_is_switched_off_and_on_again() -> None:
    found = imported(ANGRISTAN)
    alice, bob = found.peers
    off = exported(found, replace(alice, enabled=False), bob)
    start = ANGRISTAN.index("### Client alice")
    end = ANGRISTAN.index("\n\n### Client bob")
    marked = "".join(f"#! {line}\n" for line in ANGRISTAN[start:end].split("\n"))
    assert off == ANGRISTAN[:start] + marked + ANGRISTAN[end + 1 :]
    again = imported(off)
    assert [peer.enabled for peer in again.peers] == [False, True]
    on = [replace(peer, enabled=True) for peer in again.peers]
    assert exported(again, *on) == ANGRISTAN


@pytest.mark.parametrize("text", [ANGRISTAN, EVERYTHING])
def test_no_secret_is_kept_in_a_layout(text: str) -> None:
    found = imported(text)
    kept = (*found.settings.wg_quick.layout, *(line for p in found.peers for line in p.layout))
    assert not any(PRIVATE_KEY in line or PRESHARED_KEY in line for line in kept)
    assert any(line.endswith(HIDDEN) for line in kept)


def test_a_layout_that_is_none_is_passed_over() -> None:
    found = imported(ANGRISTAN)
    broken = found.settings.wg_quick.model_copy(update={"layout": ("nonsense",)})
    settings = found.settings.model_copy(update={"wg_quick": broken})
    peers = [replace(peer, layout=("[Interface]", "x")) for peer in found.peers]
    again = imported(exported(replace(found, settings=settings), *peers))
    assert [(peer.name, peer.allowed_ips) for peer in again.peers] == [
        (peer.name, peer.allowed_ips) for peer in found.peers
    ]
