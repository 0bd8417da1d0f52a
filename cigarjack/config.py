"""Settings of the jack, and the files in its state folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, StringConstraints

from twochannel import advert_recording
from twochannel.control import SOCKET_NAME
from twochannel.keystore.port import FILE
from twochannel.protocol.beacon import MAX_TX_POWER_DBM, MIN_TX_POWER_DBM
from twochannel.settings import DeviceSettings
from twochannel.supervisor import PATIENCE_S

COMMAND: Final = "cigarjack"
ENVIRONMENT_PREFIX: Final = "CIGARJACK"


def _listed(value: object) -> object:
    """The environment gives a list as text with commas."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _reachable(address: str) -> str:
    host, _, port = address.rpartition(":")
    if address and not (host and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("write host:port, as localhost:2947")
    return address


class JackSettings(DeviceSettings):
    """What a jack may be told in config.toml, CIGARJACK_… variables and flags."""

    #: The adapter that broadcasts and listens.
    radio: str = "bumble:usb:0"
    #: Every address of this machine: phones come over whatever Wi-Fi there is, and TLS lets only
    #: the paired one in.
    host: str = "0.0.0.0"  # noqa: S104
    #: For the paired phone; 0 is any free port, which mDNS announces.
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    #: Own IPv4 addresses on which mDNS announces; empty is all but loopback.
    interfaces: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    #: Whether phones may also come over Bluetooth GATT, by the same adapter.
    gatt: bool = True
    #: A gpsd whose places become the jack's track, "localhost:2947"; empty: none
    #: (docs/recording.md#where-it-was).
    gpsd: Annotated[str, AfterValidator(_reachable)] = ""
    #: Measured RSSI at 0 m, for the frame; -10 is usual for a small dongle at full power.
    tx_power_dbm: Annotated[int, Field(ge=MIN_TX_POWER_DBM, le=MAX_TX_POWER_DBM)] = -10
    #: For how long systemd is told that all is well although the radio is not.
    radio_patience_s: Annotated[float, Field(ge=0, le=3600)] = PATIENCE_S
    #: Where the signing and the beacon key are: "file", or a pkcs11: URI (docs/keys.md).
    keys: str = FILE
    #: Where the beacon key is instead, for a token that signs but cannot agree on secrets.
    beacon_keys: str | None = None
    log_level: Annotated[str, StringConstraints(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"
    #: Bench only: pretend to be in this boot of the machine.
    boot_id: str | None = None
    #: Bench only: where the wall clock starts, as in a machine without a battery.
    wall_clock_start: AwareDatetime | None = None


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The files of one jack. Mode 0700, for all of them are its own."""

    path: Path

    @property
    def settings(self) -> Path:
        return self.path / "config.toml"

    @property
    def keys(self) -> Path:
        return self.path / "keys"

    @property
    def certificate(self) -> Path:
        return self.path / "tls.der"

    @property
    def memory(self) -> Path:
        return self.path / "memory.sqlite3"

    @property
    def trace(self) -> Path:
        return self.path / "trace.jsonl"

    @property
    def adverts(self) -> Path:
        return self.path / advert_recording.FILE_NAME

    @property
    def control(self) -> Path:
        return self.path / SOCKET_NAME
