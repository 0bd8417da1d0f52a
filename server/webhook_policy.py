"""What may be sent where, what an answer means, and when a merchant is given up. Pure."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

#: Tried for this long after it was queued. The standard recommends a few days.
MAX_AGE_MS: Final = 3 * 86_400_000
#: "Gone": the merchant wants nothing here any more (Standard Webhooks).
_GONE: Final = 410
#: Addresses of IPv6 that stand for one of IPv4 behind a gateway (RFC 6052).
_TRANSLATED: Final = IPv6Network("64:ff9b::/96")


class Verdict(StrEnum):
    """What becomes of a delivery after a try."""

    DELIVERED = "delivered"
    AGAIN = "again"
    FAILED = "failed"
    GONE = "gone"


def judge(status: int | None, queued_ms: int, now_ms: int) -> Verdict:
    """By the ``status`` of the answer; None: there was none. A redirect is no success."""
    if status == _GONE:
        return Verdict.GONE
    if status is not None and 200 <= status < 300:
        return Verdict.DELIVERED
    return Verdict.AGAIN if now_ms - queued_ms < MAX_AGE_MS else Verdict.FAILED


def allowed_address(address: str, *, loopback: bool) -> bool:
    """Whether a merchant's server may be there: on the public internet, or, for tests, here."""
    ip = _meant(ip_address(address.partition("%")[0]))
    if ip.is_loopback:
        return loopback
    return ip.is_global and not ip.is_multicast


def _meant(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The address of IPv4 that one of IPv6 stands for, or the address itself."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip in _TRANSLATED:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip
