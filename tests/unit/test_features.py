"""What a device uses of the kernel: switched off, refused, in use."""

import json
import subprocess
import sys

import pytest

from harness import interface_name, old_kernel
from wgbind._native import Device
from wgbind.errors import InputError
from wgbind.settings.device import DeviceSettings

FEATURES = [name for name in DeviceSettings.model_fields if name != "workers"]

NEEDS_HEADER = {"tun_tso", "tun_uso", "tun_gro"}
YOUNGER = {"tun_vnet_hdr": NEEDS_HEADER, "tun_tso": {"tun_uso"}}
"""What a kernel lacks that lacks the other."""

SHOW = """
import json, sys
from wgbind._native import Device
with Device(sys.argv[1], control_socket=False, workers=int(sys.argv[2])) as device:
    device.set(listen_port=0)
    print(json.dumps(device.status().features))
"""


def features(*without: str) -> dict[str, str]:
    with Device(interface_name(), control_socket=False, without=without) as device:
        return dict(device.status().features)


def others_are_on(found: dict[str, str], *names: str) -> bool:
    return all(found[name] == "on" for name in FEATURES if name not in names)


def test_all_are_on_where_the_kernel_has_them() -> None:
    assert features() == dict.fromkeys(FEATURES, "on")


def test_the_settings_have_a_switch_for_each() -> None:
    assert list(features()) == sorted(FEATURES)
    settings = DeviceSettings(udp_gro=False, tun_gro=False)
    assert settings.without == ["udp_gro", "tun_gro"]
    assert DeviceSettings().without == []


@pytest.mark.parametrize("name", FEATURES)
def test_each_can_be_switched_off(name: str) -> None:
    gone = {name} | (NEEDS_HEADER if name == "tun_vnet_hdr" else set())
    found = features(name)
    assert {found[one] for one in gone} == {"off"}
    assert others_are_on(found, *gone)


def test_an_unknown_one_is_refused() -> None:
    with pytest.raises(InputError, match='feature "tso": there is none of that name; there are '):
        features("tso")


@pytest.mark.parametrize("workers", [1, 2])
# That joined packets are refused shows with the first of them only.
@pytest.mark.parametrize("name", [name for name in FEATURES if name != "tun_gro"])
def test_what_the_kernel_refuses_is_gone_without(name: str, workers: int) -> None:
    argv = [*old_kernel(name), sys.executable, "-c", SHOW, interface_name(), str(workers)]
    shown = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=90)
    found = json.loads(shown.stdout)
    gone = {name} | YOUNGER.get(name, set())
    assert {found[one] for one in gone} == {"refused"}
    assert others_are_on(found, *gone)
