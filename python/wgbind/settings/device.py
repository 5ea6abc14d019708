"""How a device moves packets, as the settings of a server say it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictBool, field_validator

from wgbind.settings.section import Section

MAX_WORKERS = 16  # as the native module has it


class DeviceSettings(Section):
    """Threads, and what is used of the kernel; what changes here needs a new start."""

    workers: Literal["auto"] | int = Field(
        default="auto",
        description='Threads that move packets: 1 to 16, or "auto", which is one for each core, '
        "but only one on two cores.",
    )
    udp_ipv6: StrictBool = Field(
        default=True,
        description="Clients reach this server over IPv6, too. What is in the tunnel is another "
        "matter.",
    )
    udp_gso: StrictBool = Field(
        default=True,
        description="The kernel cuts trains of datagrams for us (UDP_SEGMENT). This and what "
        "follows is for speed; where the kernel refuses it, the server does without by itself.",
    )
    udp_gro: StrictBool = Field(
        default=True,
        description="The kernel joins trains of datagrams for us (UDP_GRO).",
    )
    tun_vnet_hdr: StrictBool = Field(
        default=True,
        description="The kernel and the server exchange packets that are larger than the MTU "
        "(IFF_VNET_HDR): the next three.",
    )
    tun_tso: StrictBool = Field(
        default=True,
        description="Large TCP packets from the kernel, which the server splits (TSO).",
    )
    tun_uso: StrictBool = Field(
        default=True,
        description="Large UDP packets from the kernel, which the server splits (USO).",
    )
    tun_gro: StrictBool = Field(
        default=True,
        description="Large packets to the kernel, which the server joins (GRO).",
    )

    @field_validator("workers", mode="before")
    @classmethod
    def _parse_workers(cls, value: object) -> object:
        if value == "auto" or (type(value) is int and 1 <= value <= MAX_WORKERS):
            return value
        raise ValueError(f'{value!r} is neither "auto" nor a whole number from 1 to {MAX_WORKERS}')

    @property
    def without(self) -> list[str]:
        """Names of the features that are switched off, as `Device` takes them."""
        return [name for name, value in self if value is False]
