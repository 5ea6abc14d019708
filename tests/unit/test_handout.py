"""Configurations in files: folders, archives, single files and QR codes."""

import stat
import zipfile
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import segno

from wgbind import ConflictError, InputError, PrivateKey
from wgbind.server.handout import Handout
from wgbind.settings.address import Endpoint
from wgbind.settings.qr import png, svg
from wgbind.settings.wg_quick import ClientConfiguration


def configuration(number: int) -> ClientConfiguration:
    return ClientConfiguration(
        private_key=PrivateKey.generate(),
        addresses=(ip_address(f"10.8.0.{number}"),),
        dns=(),
        mtu=None,
        public_key=PrivateKey.generate().public_key(),
        preshared_key=None,
        endpoint=Endpoint("vpn.example.org", 51820),
        allowed_ips=(ip_network("0.0.0.0/0"),),
        persistent_keepalive=25,
    )


BATCH = {f"p{number}": configuration(number) for number in range(2, 5)}


def test_a_folder_has_a_file_for_each(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    Handout(folder, BATCH).write(BATCH)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name, each in BATCH.items():
        file = folder / f"{name}.conf"
        assert file.read_text() == each.text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_archive_has_them_all(tmp_path: Path) -> None:
    target = tmp_path / "all.zip"
    Handout(target, BATCH).write(BATCH)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        found = {info.filename: archive.read(info).decode() for info in archive.infolist()}
        assert {info.external_attr >> 16 & 0o777 for info in archive.infolist()} == {0o600}
    assert found == {f"{name}.conf": each.text() for name, each in BATCH.items()}


@pytest.mark.parametrize(("suffix", "begin"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_file_is_a_code(tmp_path: Path, suffix: str, begin: bytes) -> None:
    target = tmp_path / f"phone.{suffix}"
    one = {"phone": BATCH["p2"]}
    Handout(target, one).write(one)
    assert target.read_bytes().startswith(begin)
    assert target.read_bytes() == {"png": png, "svg": svg}[suffix](BATCH["p2"].text())
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with pytest.raises(InputError, match="3 configurations do not go into one file"):
        Handout(tmp_path / f"x.{suffix}", BATCH)


def test_codes_fill_a_folder(tmp_path: Path) -> None:
    Handout(tmp_path / "codes", BATCH, "png").write(BATCH)
    assert sorted(path.name for path in (tmp_path / "codes").iterdir()) == [
        *("p2.png", "p3.png", "p4.png"),
    ]


@pytest.mark.parametrize("target", ["there.zip", "there.conf", "there"])
def test_nothing_is_written_over(tmp_path: Path, target: str) -> None:
    one = {"phone": BATCH["p2"]}
    Handout(tmp_path / target, one).write(one)
    with pytest.raises(ConflictError, match="is there already"):
        Handout(tmp_path / target, one)
    Path(tmp_path / "link.zip").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConflictError, match="is there already"):
        Handout(tmp_path / "link.zip", one)


def test_images_are_the_code_with_its_quiet_zone() -> None:
    text = BATCH["p3"].text()
    size = len(segno.make_qr(text, error="l").matrix) + 8
    width, height = (int.from_bytes(png(text)[at : at + 4], "big") for at in (16, 20))
    assert width == height == size * 8
    assert f'width="{size * 8}"'.encode() in svg(text)
    for draw in (png, svg):
        with pytest.raises(InputError, match="too many for a QR code"):
            draw("x" * 3000)
