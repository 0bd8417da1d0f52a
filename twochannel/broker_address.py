"""PURE. The address of an MQTT broker: ``mqtts://user@host:8883/prefix``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

#: What IANA gave to MQTT, without and with TLS.
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_PATTERN: Final = re.compile(
    r"(?P<scheme>mqtts?)://(?:(?P<user>[^:@/]+)@)?"
    r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:@/\[\]\s]+)(?::(?P<port>\d{1,5}))?(?:/(?P<prefix>.*))?"
)
#: Characters that topics give a meaning (MQTT 3.1.1, 4.7).
_WILDCARDS: Final = set("+#\0")
_USUAL_PREFIX: Final = "cigarjack"


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """``prefix``: what all topics begin with, without a slash at its ends."""

    host: str
    port: int
    tls: bool
    user: str | None
    prefix: str

    @classmethod
    def parse(cls, text: str) -> BrokerAddress:
        """Raises ValueError with what to write instead."""
        if "@" in text and re.match(r"mqtts?://[^@/]*:[^@/]*@", text):
            raise ValueError("the password belongs into mqtt_password_file, not into the address")
        found = _PATTERN.fullmatch(text)
        if found is None:
            raise ValueError("write mqtts://user@host:8883/prefix; user, port and prefix may lack")
        port = int(found["port"] or _PORTS[found["scheme"]])
        if not 0 < port < 65536:
            raise ValueError("a port is from 1 to 65535")
        prefix = (found["prefix"] or "").strip("/") or _USUAL_PREFIX
        if _WILDCARDS & set(prefix):
            raise ValueError("the prefix of topics has none of + and #")
        host = found["host"].strip("[]")
        if found["scheme"] == "mqtt" and found["user"] and not _is_loopback(host):
            raise ValueError("a password would be readable on the way: write mqtts://")
        return cls(host, port, found["scheme"] == "mqtts", found["user"], prefix)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
