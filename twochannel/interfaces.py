"""The addresses of this machine, as mDNS needs to know them: with the interface each is on."""

from __future__ import annotations

from typing import NamedTuple

import ifaddr


class OwnAddress(NamedTuple):
    """An IPv4 address. ``interface``: the kernel's index, which an interface made anew has not."""

    interface: int
    address: str


def own_addresses() -> frozenset[OwnAddress]:
    """All IPv4 addresses there are at this moment, also those of loopback."""
    return frozenset(
        OwnAddress(adapter.index or 0, ip.ip)
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
        if isinstance(ip.ip, str)
    )
