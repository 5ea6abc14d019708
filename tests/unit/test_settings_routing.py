"""The section [routing] of a settings file: what it takes, and what it says of mistakes."""

import re
from ipaddress import ip_address
from pathlib import Path

import pytest

from wgbind.errors import SettingsError
from wgbind.settings import toml
from wgbind.settings.model import ServerSettings

DOCUMENT = Path(__file__).parents[2].joinpath("docs/routing.md").read_text()

HEAD = """
[interface]
addresses = ["10.8.0.1/24"]
[policy]
groups = ["guests", "staff"]
networks = { lan = ["192.168.7.0/24"] }
[routing]
"""
LINE = HEAD.count("\n") + 1
"""The line of what follows it."""

WHOLE = """
egress = ["eth0", "eth1", "ppp0.7"]
table = 100
metric = 50
fwmark = 256
exit = ["peers", "lan", "host"]
[routing.uplinks]
eth1 = ["203.0.113.1", "2001:db8::1"]
"ppp0.7" = []
[routing.egress_for]
guests = "eth1"
staff = "exit"
"""


def load(folder: Path, text: str) -> ServerSettings:
    path = folder / "wg0.toml"
    path.write_text(HEAD + text)
    return toml.load(path)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    settings = load(tmp_path, WHOLE)
    routing = settings.routing
    assert (routing.table, routing.metric, routing.fwmark) == (100, 50, 256)
    gateways = (ip_address("203.0.113.1"), ip_address("2001:db8::1"))
    assert routing.uplinks == {"eth1": gateways, "ppp0.7": ()}
    assert routing.egress_for == {"guests": "eth1", "staff": "exit"}
    (tmp_path / "again.toml").write_text(toml.dump(settings))
    assert toml.load(tmp_path / "again.toml") == settings


def test_table_254_is_main_and_the_tunnels_datagrams_get_a_mark(tmp_path: Path) -> None:
    assert load(tmp_path, "table = 254").routing.table == "main"
    assert load(tmp_path, "").fwmark == 0
    assert load(tmp_path, 'exit = ["peers"]').fwmark == 0
    assert load(tmp_path, 'exit = ["host"]').fwmark == 0x5747


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("table = 255", 0, "routing.table: 255 is no table to use"),
        ('table = "mine"', 0, "routing.table: 'mine' is neither \"main\" nor a number"),
        ("metric = 0", 0, "routing.metric: 0 is too small; use 1 or more"),
        ('exit = ["peers", "dmz"]', 0, "'dmz' is not a network of [policy.networks]; there are"),
        ('[routing.uplinks]\neth1 = ["10.0.0.1", "10.0.0.2"]', 1, "two gateways of one family"),
        ('[routing.uplinks]\neth1 = ["router"]', 1, "'router' is not an IP address"),
        ("[routing.uplinks]\nexit = []", 1, "'exit' is the way through a peer"),
        ('egress = ["eth0"]\n[routing.uplinks]\neth1 = []', 2, "eth1 is not in routing.egress"),
        ('[routing.egress_for]\nboss = "exit"', 1, "there is no group 'boss'"),
        ('[routing.egress_for]\nstaff = "eth1"', 1, "'eth1' is neither exit nor in"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, line: int, message: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(tmp_path, text)
    assert message in str(error.value)
    assert f"wg0.toml:{LINE + line}:" in str(error.value)


@pytest.mark.parametrize("example", re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL))
def test_examples_of_the_document(tmp_path: Path, example: str) -> None:
    path = tmp_path / "wg0.toml"
    path.write_text(f'[interface]\naddresses = ["10.8.0.1/24"]\n{example}')
    assert toml.load(path).model_dump(exclude_defaults=True).keys() > {"interface"}
