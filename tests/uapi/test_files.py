"""What `wg setconf` makes of a file is what an import understands; what it refuses, that does."""

from pathlib import Path
from random import Random

import pytest

from harness import wg
from uapi.device import Device
from wgbind.errors import InputError
from wgbind.wg_quick.file import WgQuickFile

PRIVATE = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
OWN = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw="
PRESHARED = "FpCyhws9cxwWoV4xELtfJvjJN+zQVRPISllRWgeopVE="
A = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
B = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0="

INTERFACE = f"[Interface]\nPrivateKey = {PRIVATE}\n"
PEER = f"{INTERFACE}[Peer]\nPublicKey = {A}\n"

TEXTS = (
    f"{PEER}Endpoint = 192.0.2.1:1\nEndpoint = 192.0.2.2:2\nPersistentKeepalive = 7\n"
    "AllowedIPs = 10.1.0.0/24\nAllowedIPs = 10.2.0.7/24, fd00::/64\nPersistentKeepalive = off\n",
    f"{PEER}PublicKey = {B}\nAllowedIPs = 10.1.0.0/24\n",
    f"{PEER}PresharedKey = {PRESHARED}\nPresharedKey = {PRIVATE}\n",
    f"{INTERFACE}FwMark = 0x10\nFwMark = off\nFwMark = 010\n[Peer]\nPublicKey={A}\n[Interface]\n",
    f"[I n t e r f a c e]\nPrivate Key = {PRIVATE}\n[Peer] # x\nPublicKey = {A} # {B}\n"
    "Allowed IPs = 10.1 .0.0/24, 10.2.0.0/16\n",
    f"{PEER}AllowedIPs = 10.1.0.1, fd00::1\n",
    f"{PEER}AllowedIPs = 10.1.0.0/24, 10.1.0.0/25, 10.1.0.9/25\n",
    f"{PEER}AllowedIPs = 0.0.0.0/0, ::/0\npersistentKEEPALIVE = OFF\n",
    f"{INTERFACE}[Peer]\nPublicKey = {OWN}\nAllowedIPs = 10.1.0.0/24\n",
    # Refused.
    *(
        f"{PEER}{line}\n"
        for line in (
            *("AllowedIPs =", "AllowedIPs = 10.1.0.0/24,", "AllowedIPs = ,10.1.0.0/24"),
            *("AllowedIPs = +10.1.0.0/24", "AllowedIPs = -10.1.0.0/24", "AllowedIPs = 10.1.0.0/33"),
            *("AllowedIPs = 10.1.0.0/255.255.255.0", "AllowedIPs = fe80::1%lo/64"),
            *("AllowedIPs = 10.1.0.0/24 10.2.0.0/24", "AllowedIPs = 10.1.0.0/24,,10.2.0.0/24"),
            *(
                "PresharedKey =",
                "Endpoint =",
                "PersistentKeepalive =",
                "PersistentKeepalive = 65536",
            ),
            *("PublicKey =", "Endpoint = 192.0.2.1", "; remark", "Address = 10.1.0.1/24"),
        )
    ),
    f"{INTERFACE}[Peer]\nAllowedIPs = 10.1.0.0/24\n",
    *(f"{INTERFACE}{line}\n" for line in ("PrivateKey =", "ListenPort =", "FwMark =")),
    f"{INTERFACE}FwMark = 4294967296\n",
)

Said = tuple[int, dict[str, tuple[str | None, str | None, int, set[str]]]]


def by_wg(device: Device, path: Path) -> Said | None:
    """Give a file to wg; return the mark and the peers that the device has then."""
    device.reset()
    command = ["wg", "setconf", device.interface, str(path)]
    if device.host.run(command, check=False).returncode != 0:
        return None
    own, *lines = wg(device.host, "show", device.interface, "dump").splitlines()
    mark = own.split("\t")[3]
    peers = {}
    for line in lines:
        key, preshared, endpoint, prefixes, _, _, _, keepalive = line.split("\t")
        peers[key] = (
            None if preshared == "(none)" else preshared,
            None if endpoint == "(none)" else endpoint,
            0 if keepalive == "off" else int(keepalive),
            set() if prefixes == "(none)" else set(prefixes.split(",")),
        )
    return 0 if mark == "off" else int(mark, 16), peers


def by_import(text: str) -> Said | None:
    """Return what the file says to an import; None if it is refused."""
    try:
        file = WgQuickFile.parse(text)
    except InputError as error:
        assert ":" in str(error)
        return None
    return file.interface.fwmark, {
        str(peer.public_key): (
            None if peer.preshared_key is None else peer.preshared_key.reveal(),
            None if peer.endpoint is None else f"{peer.endpoint[0]}:{peer.endpoint[1]}",
            peer.persistent_keepalive,
            set(map(str, peer.allowed_ips)),
        )
        for peer in file.peers
    }


@pytest.mark.parametrize("number", range(len(TEXTS)))
def test_each_form(device: Device, tmp_path: Path, number: int) -> None:
    path = tmp_path / "a.conf"
    path.write_text(TEXTS[number])
    assert by_import(TEXTS[number]) == by_wg(device, path)


def random_text(random: Random) -> str:
    """Write some sections of two peers and of the interface, with what fits into them twice."""
    lines = [INTERFACE]
    for _ in range(random.randrange(1, 6)):
        lines.append(f"[Peer]\nPublicKey = {random.choice((A, B))}\n")
        for _ in range(random.randrange(4)):
            prefixes = random.sample(("10.1.0.0/24", "10.1.0.5/32", "10.0.0.0/8", "fd00::/64"), 2)
            lines.append(
                random.choice(
                    (
                        f"AllowedIPs = {', '.join(prefixes)}\n",
                        f"PresharedKey = {random.choice((PRESHARED, PRIVATE))}\n",
                        f"Endpoint = 192.0.2.{random.randrange(9)}:7\n",
                        f"PersistentKeepalive = {random.choice(('off', '0', '25'))}\n",
                    )
                )
            )
    return "".join(lines)


@pytest.mark.parametrize("seed", range(12))
def test_peers_that_stand_there_more_than_once(device: Device, tmp_path: Path, seed: int) -> None:
    text = random_text(Random(seed))  # noqa: S311  not for secrets
    path = tmp_path / "a.conf"
    path.write_text(text)
    assert by_import(text) == by_wg(device, path), text
