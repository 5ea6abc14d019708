"""Hooks whose work wgbind does itself, and hooks that are run."""

from pathlib import Path

import pytest

from wgbind.errors import StateError
from wgbind.server.hooks import Hooks
from wgbind.settings.wg_quick_section import WgQuickSettings
from wgbind.wg_quick.firewall_hook import commands, presets, work


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("iptables -t nat -A POSTROUTING -o eth0 -j MASQUERADE", "gateway"),
        ("ip6tables -t nat -I POSTROUTING 1 -s fd00::/64 -o eth0 -j MASQUERADE", "gateway"),
        ("iptables-nft -w -t nat -A POSTROUTING -s 10.8.0.0/24 -j SNAT --to 192.0.2.1", "gateway"),
        ("nft add rule ip nat postrouting oifname eth0 masquerade", "gateway"),
        ("iptables -A FORWARD -i %i -j ACCEPT", "hub"),
        ("iptables -A FORWARD -i wg0 -o wg0 -j ACCEPT", "hub"),
        ("iptables -I FORWARD -i wg0 -o eth0 -j ACCEPT", "gateway"),
        ("iptables -I FORWARD -i eth0 -o wg0 -j ACCEPT", "gateway"),
        ("iptables -I INPUT -p udp --dport 51820 -j ACCEPT", "port"),
        ("ufw route allow in on wg0 out on eth0", "gateway"),
        ("sysctl -w net.ipv4.ip_forward=1", "forwarding"),
        ("sysctl -q net.ipv6.conf.all.forwarding=1", "forwarding"),
        ("echo 1 > /proc/sys/net/ipv4/ip_forward", "forwarding"),
        ("iptables -t nat -D POSTROUTING -o eth0 -j MASQUERADE", None),
        ("iptables -A FORWARD -i wg0 -j DROP", None),
        ("iptables -A FORWARD -i wg00 -j ACCEPT", None),
        ("ip route add 192.0.2.0/24 dev wg0", None),
        ("curl https://example.org/masquerade", None),
    ],
)
def test_work_that_wgbind_does_is_known(command: str, found: str | None) -> None:
    assert work(command, "wg0") == found


def test_a_line_has_several_commands() -> None:
    hook = "iptables -A FORWARD -i %i -j ACCEPT; iptables -t nat -A POSTROUTING -j MASQUERADE && x"
    found = [work(command, "wg0") for command in commands(hook)]
    assert found == ["hub", "gateway", None]
    assert presets(each for each in found if each) == ("gateway", "hub")
    assert presets(["port"]) == ()


def hooks(path: Path, *, run: bool = True) -> Hooks:
    settings = WgQuickSettings(
        run_hooks=run,
        post_up=(
            f"echo $0 %i >>{path}",
            f"cat <(echo two) >>{path}",
            "exit 3",
            f"echo no >>{path}",
        ),
        post_down=("false", f"echo down >>{path}"),
    )
    return Hooks(settings, "wg.0+x")


def test_hooks_run_in_order_until_one_fails(tmp_path: Path) -> None:
    path = tmp_path / "said"
    ready = hooks(path)
    with pytest.raises(StateError, match="PostUp 'exit 3': it ended with 3"):
        ready.run("PostUp")
    shell, two = path.read_text().splitlines()
    assert shell.endswith("bash wg.0+x")
    assert two == "two"
    ready.run("PreUp")
    ready.run_all("PostDown")
    assert path.read_text().splitlines()[2:] == ["down"]


def test_hooks_that_nobody_asked_for_do_not_run(tmp_path: Path) -> None:
    path = tmp_path / "said"
    ready = hooks(path, run=False)
    ready.run("PostUp")
    ready.run_all("PostDown")
    assert not path.exists()
