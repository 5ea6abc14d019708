"""A site whose server is reached by a name: resolved again when it does not answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from harness import PORT, Namespace, Wgbind, reach, start_end, veth, wait_until, wg
from harness.topology import Host, Link

if TYPE_CHECKING:
    from pathlib import Path

NAME = "site.example.org"


def mounting(folder: Path) -> list[str]:
    """Return words that give a program an /etc/hosts of its own, which `place` rewrites."""
    script = 'mount --bind "$0" /etc/hosts && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, str(folder / "hosts")]


def place(folder: Path, address: str) -> None:
    """Let the name stand for this address."""
    (folder / "hosts").write_text(f"127.0.0.1 localhost\n{address} {NAME}\n")


def test_we_call_a_server_by_its_name(tmp_path: Path) -> None:
    link = Link.random()
    nobody, there = link.host(3), link.host(2)
    with Namespace("ours") as ours, Namespace("theirs") as theirs:
        ends = link.host(1).with_prefix(), there.with_prefix()
        veth(ours, theirs, ("uplink", "uplink"), ends)
        other = start_end(theirs, "wireguard-go", Host("10.55.0.1", "fd55::1"))
        place(tmp_path, nobody.ipv4)

        server = Wgbind(ours, tmp_path)
        server.run("server", "init", server.name)
        server.start(before=mounting(tmp_path))
        server.peer("add", "other", "--public-key", other.key, "--no-psk")
        inner = server.status()["addresses"][0].split("/")[0]
        key = wg(ours, "show", server.name, "public-key").strip()
        other.add_peer(key, f"{inner}/32")
        theirs.ip("route", "add", f"{inner}/32", "dev", other.interface)

        server.peer("set", "other", "--route", "10.55.0.0/24", "--endpoint", f"no.{NAME}:{PORT}")
        problem = f"peer other: endpoint 'no.{NAME}' cannot be resolved: "
        wait_until(lambda: problem in "".join(server.status()["problems"]), "the problem")
        # A document is not refused for what is tried again.
        document = tmp_path / "document.json"
        document.write_text(
            json.dumps({"peers": {"other": {"endpoint": f"nor.{NAME}:{PORT}", "notes": "moved"}}})
        )
        server.run("apply", str(document), "--server", server.name)
        problem = problem.replace("no.", "nor.")
        wait_until(lambda: problem in "".join(server.status()["problems"]), "the other problem")
        assert server.peer_status("other")["notes"] == "moved"

        # Where it was before it moved: our initiations are not answered there.
        server.peer("set", "other", "--endpoint", f"{NAME}:{PORT}", "--keepalive", "1")
        before = f"{nobody.ipv4}:{PORT}"
        wait_until(lambda: server.peer_status("other")["endpoint"] == before, "the address")
        assert server.status()["problems"] == []
        place(tmp_path, there.ipv6)
        reach(ours, "10.55.0.1")
        assert server.peer_status("other")["endpoint"] == f"[{there.ipv6}]:{PORT}"
