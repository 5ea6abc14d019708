"""Where clients find a server, and through which interfaces it sends their traffic on."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from wgbind.errors import InputError
from wgbind.settings.address import Endpoint

if TYPE_CHECKING:
    from wgbind.net.host import HostView
    from wgbind.settings.model import ServerSettings


@dataclass(frozen=True)
class Advertised:
    """An endpoint for client configurations; None if there is nothing to guess from.

    `remark` says what to know about it, None if nothing.
    """

    endpoint: Endpoint | None
    remark: str | None = None


def advertise(
    settings: ServerSettings, listen_port: int, host: HostView, name: str | None = None
) -> Advertised:
    """Take the endpoint from the settings; else guess it from the host's way to the internet.

    With `name`, it is that one of `client.endpoints`; `InputError` if it is not there.
    """
    if name is not None:
        return Advertised(_named(settings, name).with_port(listen_port))
    if settings.client.endpoint is not None:
        return Advertised(settings.client.endpoint.with_port(listen_port))
    if listen_port == 0:
        return Advertised(None, "interface.listen_port is 0, so the port is known when it runs")
    reached = [
        address for address in host.addresses if address.version == 4 or settings.device.udp_ipv6
    ]
    public = [address for address in reached if address.is_global]
    address = next(iter(public or reached), None)
    if address is None:
        return Advertised(None, "this host has no default route; set client.endpoint")
    endpoint = Endpoint(str(address), listen_port)
    if address.is_global:
        return Advertised(endpoint, "guessed from the default route; client.endpoint sets another")
    return Advertised(
        endpoint, "guessed, and private: for clients from outside set client.endpoint"
    )


def _named(settings: ServerSettings, name: str) -> Endpoint:
    endpoints = settings.client.endpoints
    if name not in endpoints:
        near = get_close_matches(name, endpoints, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(endpoints) or 'none'}"
        raise InputError(
            f"there is no endpoint {name!r}; {hint}; [client.endpoints] in the settings names them"
        )
    return endpoints[name]


def egress(settings: ServerSettings, host: HostView) -> tuple[str, ...] | None:
    """Name the interfaces through which peers reach other networks; None means any."""
    if settings.routing.egress == "any":
        return None
    if settings.routing.egress == "auto":
        # Where the uplinks' gateways stand in the settings, no default route may lead there.
        return tuple(dict.fromkeys((*host.egress, *settings.routing.uplinks))) or None
    return settings.routing.egress
