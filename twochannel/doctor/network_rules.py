"""PURE. The rows of the network: Wi-Fi, mDNS, the server."""

from __future__ import annotations

from typing import Final

from twochannel.doctor import catalogue
from twochannel.doctor.findings import Missing, Refused, Row, Unread, judged
from twochannel.doctor.readings import ServerReading, Wifi
from twochannel.protocol.limits import MAX_CLOCK_SKEW_S

#: Channels 1 to 14; the next band begins at 5 GHz.
_BELOW_5_GHZ_MHZ: Final = 3000


def wifi_rows(wifi: Wifi | Missing) -> list[Row]:
    return [
        judged(catalogue.WIFI_BAND, wifi, _band_row),
        judged(catalogue.WIFI_POWER_SAVE, wifi, _power_save_row),
    ]


def _connection(wifi: Wifi) -> str:
    """What names the connection of an interface to NetworkManager."""
    return f'"$(nmcli -g GENERAL.CONNECTION device show {wifi.interface})"'


def _band_row(wifi: Wifi) -> Row:
    if wifi.mhz is None:
        do = f"sudo nmcli device wifi connect SSID --ask ifname {wifi.interface}"
        return catalogue.WIFI_BAND.warning(f"{wifi.interface} is not connected", do=do)
    found = f"{wifi.interface} at {wifi.mhz} MHz"
    if wifi.mhz < _BELOW_5_GHZ_MHZ and wifi.shared:
        do = f"sudo nmcli connection modify {_connection(wifi)} 802-11-wireless.band a"
        found += ", on one antenna with Bluetooth"
        return catalogue.WIFI_BAND.warning(found, wifi.mhz, do)
    return catalogue.WIFI_BAND.ok(found, wifi.mhz)


def _power_save_row(wifi: Wifi) -> Row:
    if wifi.power_save is None:
        return catalogue.WIFI_POWER_SAVE.missing(Unread(f"iw does not tell it of {wifi.interface}"))
    if wifi.power_save:
        do = (
            f"sudo iw dev {wifi.interface} set power_save off; to keep it so: "
            f"sudo nmcli connection modify {_connection(wifi)} 802-11-wireless.powersave 2"
        )
        return catalogue.WIFI_POWER_SAVE.warning(f"on at {wifi.interface}", value=True, do=do)
    return catalogue.WIFI_POWER_SAVE.ok(f"off at {wifi.interface}", value=False)


def mdns_row(heard: str | Refused | Missing) -> Row:
    """``heard``: what was seen."""
    return judged(catalogue.MDNS, heard, catalogue.MDNS.ok)


def server_rows(server: ServerReading | Missing) -> list[Row]:
    if not isinstance(server, ServerReading):
        checks = (catalogue.SERVER_REACHABLE, catalogue.SERVER_PIN, catalogue.SERVER_CLOCK)
        return [check.missing(server) for check in checks]
    return [
        judged(
            catalogue.SERVER_REACHABLE,
            server.connected_ms,
            lambda took_ms: _reachable_row(server.address, took_ms),
        ),
        judged(catalogue.SERVER_PIN, server.pinned, catalogue.SERVER_PIN.ok),
        judged(catalogue.SERVER_CLOCK, server.offset_ms, _offset_row),
    ]


def _reachable_row(address: str, took_ms: float) -> Row:
    return catalogue.SERVER_REACHABLE.ok(f"{address} in {took_ms:.1f} ms", round(took_ms, 1))


def _offset_row(offset_ms: int) -> Row:
    offset_s = offset_ms / 1000
    way = "ahead" if offset_s > 0 else "behind"
    found = f"the server is {abs(offset_s):.2f} s {way}"
    if abs(offset_s) > MAX_CLOCK_SKEW_S:
        return catalogue.SERVER_CLOCK.warning(found, offset_s)
    return catalogue.SERVER_CLOCK.ok(found, offset_s)
