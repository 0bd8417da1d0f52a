"""Networks that come and go under mDNS: the addresses of this machine, each with its interface."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

import ifaddr
import zeroconf

#: What taking up a network fails with that goes in that moment, or a machine that is too slow.
FAILURES: Final = (OSError, RuntimeError, zeroconf.Error)


class OwnAddress(NamedTuple):
    """An IPv4 address. ``interface``: the kernel's index, which an interface made anew has not."""

    interface: int
    address: str


def own_addresses(among: Collection[str] = ()) -> frozenset[OwnAddress]:
    """All IPv4 addresses there are at this moment, also those of loopback; or those ``among``."""
    return frozenset(
        OwnAddress(adapter.index or 0, ip.ip)
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
        if isinstance(ip.ip, str) and (not among or ip.ip in among)
    )
