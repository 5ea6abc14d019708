"""The section [pool]: which addresses peers get that ask for none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PlainSerializer, WithJsonSchema

from wgbind.errors import InputError
from wgbind.settings.address import Address, parse_address, parse_network
from wgbind.settings.section import MisplacedError, Section, text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wgbind.settings.address import InterfaceAddress, Network


@dataclass(frozen=True)
class AddressRange:
    """The addresses from the first to the last, both among them."""

    first: Address
    last: Address

    @classmethod
    def parse(cls, text: str) -> AddressRange:
        """Parse "FIRST-LAST", an address or a network; raise `InputError`."""
        first, dash, last = (part.strip() for part in text.partition("-"))
        if dash:
            found = cls(parse_address(first), parse_address(last))
        elif "/" in text:
            network = parse_network(text)
            found = cls(network.network_address, network.broadcast_address)
        else:
            found = cls(parse_address(text), parse_address(text))
        if found.first.version != found.last.version or int(found.first) > int(found.last):
            raise InputError(f"{text!r} is no range; write the lower address first")
        return found

    def within(self, network: Network) -> bool:
        """Whether all of it is in a network."""
        return self.first in network and self.last in network

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


_Ranges = tuple[
    Annotated[
        AddressRange,
        text(AddressRange.parse, AddressRange),
        PlainSerializer(str),
        WithJsonSchema({"type": "string"}),
    ],
    ...,
]


class PoolSettings(Section):
    """Which addresses peers get that ask for none; by hand, any other one can be given."""

    ranges: _Ranges = Field(
        default=(),
        description="Where peers get their addresses from: FIRST-LAST, networks or addresses; of a "
        "network in interface.addresses without any of these, from all of it.",
        examples=[["10.8.0.100-10.8.0.199"]],
    )
    reserved: _Ranges = Field(
        default=(),
        description="What is left out of that, for those who are given an address by hand.",
        examples=[["10.8.0.100", "10.8.0.128/28"]],
    )

    def check(self, addresses: Iterable[InterfaceAddress]) -> None:
        """Refuse what is in none of the server's networks; raise `MisplacedError`."""
        networks = [address.network for address in addresses]
        for key, ranges in (("ranges", self.ranges), ("reserved", self.reserved)):
            for number, each in enumerate(ranges):
                if not any(each.within(network) for network in networks):
                    raise MisplacedError(
                        f"{each} is in none of this server's networks; use addresses in "
                        f"{', '.join(map(str, networks))}",
                        *(key, number),
                    )
