"""How well the Wi-Fi is heard by which this machine reaches a jack, as the kernel tells it."""

from __future__ import annotations

import socket
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import ifaddr

#: The kernel's table of wireless interfaces (proc_net_wireless in wext-proc.c).
_TABLE: Final = Path("/proc/net/wireless")
#: Nothing is sent to it: a datagram socket that is connected only asks for the route.
_ANY_PORT: Final = 9


def wifi_level_dbm(host: str, table: Path = _TABLE) -> int | None:
    """The level of the access point through which ``host`` is reached.

    None: not by Wi-Fi, or this machine is itself the access point, or its driver does not tell.
    """
    try:
        levels_dbm = parse_levels(table.read_text("ascii", "replace"))
        return levels_dbm.get(_interface_to(host)) if levels_dbm else None
    except OSError:
        return None


def parse_levels(table: str) -> dict[str, int]:
    """By interface, in dBm. A level that is not negative is of a scale of the driver's own."""
    levels_dbm = {}
    for line in table.splitlines():
        interface, colon, columns = line.partition(":")
        fields = columns.split()
        if colon and len(fields) >= 3 and fields[2].rstrip(".").lstrip("-").isdigit():
            levels_dbm[interface.strip()] = int(fields[2].rstrip("."))
    return {interface: level for interface, level in levels_dbm.items() if level < 0}


def _interface_to(host: str) -> str:
    """The interface by which this machine sends to ``host``. Raises OSError."""
    address = ip_address(host.partition("%")[0])
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
        probe.connect((host, _ANY_PORT))
        own = str(probe.getsockname()[0])
    return next((a.name for a in ifaddr.get_adapters() if own in _addresses(a)), "")


def _addresses(adapter: ifaddr.Adapter) -> set[str]:
    return {ip.ip if isinstance(ip.ip, str) else ip.ip[0] for ip in adapter.ips}
