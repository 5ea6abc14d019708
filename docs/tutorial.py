"""What a provisioning tool does all day, in a script to start one from.

    python tutorial.py wg0 peers.csv configurations

`peers.csv` has the columns name, groups (spaces between them) and description. The server runs on
this host; "https://vpn.example.org:8443" in place of its name is one elsewhere, which wants a token
(see api.md). Each step is one transaction: all of it is in the server's store when the call
returns, the running server works by it, and nobody else's session notices.
"""

import argparse
import asyncio
import csv
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import wgbind


def read(table: Path) -> list[wgbind.NewPeer]:
    """Read the peers to be made; each gets keys, a preshared key and free addresses."""
    with table.open(newline="") as file:
        return [
            wgbind.NewPeer(
                row["name"], groups=row["groups"].split(), description=row["description"]
            )
            for row in csv.DictReader(file)
        ]


async def hand_out(server: wgbind.AsyncServer, peers: Sequence[wgbind.Peer], folder: Path) -> None:
    """Write a configuration for each peer: its private key is in this object and nowhere else."""
    configurations = await server.peers.client_configurations(peers)
    for peer, configuration in zip(peers, configurations, strict=True):
        path = folder / f"{peer.name}.conf"
        path.touch(mode=0o600)
        path.write_text(configuration.text())


async def until(events: AsyncIterator[wgbind.PeerEvent], kind: str, count: int) -> list[str]:
    """Wait until something has happened to so many peers; return their names."""
    names: list[str] = []
    async for event in events:
        if event.lost:
            print(f"{event.lost} events came faster than they were read")
        if event.kind == kind and event.name is not None and event.name not in names:
            print(f"{event.at:%H:%M:%S} {event}", flush=True)
            names.append(event.name)
            if len(names) == count:
                return names
    raise SystemExit(f"the server stopped before {count} peers were {kind}")


async def provision(where: str, table: Path, folder: Path, clients: int) -> None:
    """Create peers, hand out configurations, watch; then expire, rotate and remove some."""
    async with wgbind.connect_async(where) as server, server.events() as events:
        peers = await server.peers.add_many(read(table))
        folder.mkdir(mode=0o700)
        await hand_out(server, peers, folder)
        print(f"{len(peers)} configurations are in {folder}", flush=True)

        # Events come from the state of the sessions, not from asking again and again.
        first, second, *_ = await until(events, "connected", clients)

        await server.peers.update(
            first, expires_at=datetime.now(timezone.utc) + timedelta(seconds=2)
        )
        await until(events, "expired", 1)

        rotated = await server.peers.rotate(second)
        await hand_out(server, [rotated], folder)
        print(f"{second}.conf has new keys", flush=True)
        await until(events, "connected", 1)

        # Those who never came, a hundred of them at most: all are removed, or none.
        status = await server.status()
        idle = [peer.name for peer in status.peers if peer.state == "never" and peer.name]
        gone = await server.peers.remove_many(idle[:100])
        print(f"{len(gone)} are removed, {len(await server.peers.list())} are left")


def main() -> None:
    """Run it; one clear line for what goes wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", help="its interface or URL")
    parser.add_argument("table", type=Path, help="the peers, CSV")
    parser.add_argument("folder", type=Path, help="where the configurations go; it is made")
    parser.add_argument("--clients", type=int, default=2, help="how many to wait for")
    options = parser.parse_args()
    try:
        asyncio.run(provision(options.server, options.table, options.folder, options.clients))
    except wgbind.WgbindError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
