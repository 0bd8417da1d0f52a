"""What is made of Wi-Fi, mDNS and the server."""

from __future__ import annotations

import pytest

from twochannel.doctor import network_rules
from twochannel.doctor.findings import Absent, Refused, State, Unread
from twochannel.doctor.readings import ServerReading, Wifi


@pytest.mark.parametrize(
    ("wifi", "band", "power_save"),
    [
        (Wifi("wlan0", 5180, False, shared=True), State.OK, State.OK),
        (Wifi("wlan0", 2437, False, shared=True), State.WARNING, State.OK),
        (Wifi("wlan0", 2437, True, shared=False), State.OK, State.WARNING),
        (Wifi("wlan0", None, None, shared=False), State.WARNING, State.UNKNOWN),
        (Absent("no Wi-Fi interface"), State.NOT_APPLICABLE, State.NOT_APPLICABLE),
        (Unread("no iw"), State.UNKNOWN, State.UNKNOWN),
    ],
)
def test_wifi(wifi: Wifi | Absent | Unread, band: State, power_save: State) -> None:
    rows = network_rules.wifi_rows(wifi)
    assert [row.state for row in rows] == [band, power_save]
    for row in rows:
        assert ("wlan0" in row.do) is (row.state is State.WARNING)


def reading(
    connected_ms: float | Refused = 1.5,
    pinned: str | Refused | Unread = "the pinned one",
    offset_ms: int | Refused | Unread = 120,
) -> ServerReading:
    return ServerReading("server:8443", connected_ms, pinned, offset_ms)


@pytest.mark.parametrize(
    ("server", "states"),
    [
        (reading(), [State.OK, State.OK, State.OK]),
        (reading(offset_ms=-61_000), [State.OK, State.OK, State.WARNING]),
        (reading(offset_ms=Refused("no time")), [State.OK, State.OK, State.FAILING]),
        (
            reading(pinned=Refused("another"), offset_ms=Unread("no trust")),
            [State.OK, State.FAILING, State.UNKNOWN],
        ),
        (
            reading(Refused("refused"), Unread("none"), Unread("none")),
            [State.FAILING, State.UNKNOWN, State.UNKNOWN],
        ),
    ],
)
def test_the_server_step_by_step(server: ServerReading, states: list[State]) -> None:
    rows = network_rules.server_rows(server)
    assert [row.state for row in rows] == states
    for row in rows:
        assert bool(row.do) is (row.state in (State.WARNING, State.FAILING))


def test_the_offset_says_which_way() -> None:
    assert "1.50 s ahead" in network_rules.server_rows(reading(offset_ms=1500))[2].found
    assert "1.50 s behind" in network_rules.server_rows(reading(offset_ms=-1500))[2].found


def test_without_a_server_no_row_is_judged() -> None:
    states = {row.state for row in network_rules.server_rows(Absent("not enrolled"))}
    assert states == {State.NOT_APPLICABLE}


def test_mdns() -> None:
    assert network_rules.mdns_row("hears itself at 10.0.0.1").state is State.OK
    assert network_rules.mdns_row(Refused("not seen")).state is State.FAILING
    assert network_rules.mdns_row(Absent("no jack is paired")).state is State.NOT_APPLICABLE
