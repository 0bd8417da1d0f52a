"""Opening, closing and losing a controller; hosts in other processes where it matters."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncIterator

import pytest
from bumble import hci

from fieldkit.air import Air
from fieldkit.virtual_controller import VirtualController
from twochannel.radio import hci_adapter
from twochannel.radio.adverts import advertising_data
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Broadcast, Radio, RadioError, Sighting

EDDYSTONE = 0xFEAA
LANE = Broadcast(0x7A1E0001_0000_4000_8000_000000000000, b"lane", 20)


def code(number: int = 0, interval_ms: int = 20) -> Broadcast:
    return Broadcast(EDDYSTONE, b"\x30\xee" + number.to_bytes(8), interval_ms)


async def heard(sightings: AsyncIterator[Sighting], broadcast: Broadcast) -> Sighting:
    """The next sighting of a broadcast, whatever else is heard before it."""
    async with asyncio.timeout(30):
        async for sighting in sightings:
            if sighting.service_data == broadcast.service_data:
                return sighting
    raise AssertionError("the radio was closed")


# --- opening, closing, cancelling


async def test_closing_ends_the_sightings_and_leaves_the_controller_silent(air: Air) -> None:
    async with open_radio(f"bumble:{air.transports['jack']}") as radio:
        sightings = radio.scanner.sightings()
        await radio.advertiser.broadcast(code())
    assert [sighting async for sighting in sightings] == []
    assert [sighting async for sighting in radio.scanner.sightings()] == []
    assert not air.controller("jack").is_advertising
    assert not air.controller("jack").le_scan_enable
    for late in (radio.advertiser.broadcast(code()), radio.advertiser.silence()):
        with pytest.raises(RadioError, match="closed"):
            await late


async def test_a_closed_radio_can_be_opened_again(air: Air, terminal: Radio) -> None:
    radio = open_radio(f"bumble:{air.transports['jack']}")
    sightings = terminal.scanner.sightings()
    for number in range(3):
        async with radio:
            await radio.advertiser.broadcast(code(number))
            await heard(sightings, code(number))


async def test_a_radio_that_was_not_opened_cannot_be_used() -> None:
    radio = open_radio("bumble:usb:0")
    with pytest.raises(RuntimeError, match="async with"):
        _ = radio.advertiser
    with pytest.raises(RuntimeError, match="async with"):
        _ = radio.scanner


async def test_closing_leaves_no_task_behind(air: Air) -> None:
    before = asyncio.all_tasks()
    async with open_radio(f"bumble:{air.transports['jack']}") as radio:
        await radio.advertiser.broadcast(code())
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("turns", range(0, 24, 3))
async def test_a_cancelled_broadcast_leaves_a_radio_that_hears_and_broadcasts(
    jack: Radio, terminal: Radio, turns: int
) -> None:
    await terminal.advertiser.broadcast(LANE)
    at_jack, at_terminal = jack.scanner.sightings(), terminal.scanner.sightings()
    await jack.advertiser.broadcast(code(1))
    changing = asyncio.create_task(jack.advertiser.broadcast(code(2)))
    for _ in range(turns):  # each number of turns cancels at another command
        await asyncio.sleep(0)
    changing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await changing
    await jack.advertiser.broadcast(code(3))
    await heard(at_terminal, code(3))
    await heard(at_jack, LANE)


async def test_closing_waits_for_a_change_under_way(air: Air) -> None:
    async with open_radio(f"bumble:{air.transports['jack']}") as radio:
        changing = asyncio.create_task(radio.advertiser.broadcast(code()))
        await asyncio.sleep(0)
    await changing
    assert not air.controller("jack").is_advertising


async def test_broadcasts_of_two_tasks_do_not_mix(air: Air, jack: Radio, terminal: Radio) -> None:
    sightings = terminal.scanner.sightings()
    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(jack.advertiser.broadcast(code(number)))
    await heard(sightings, code(9))
    assert air.controller("jack").le_legacy_advertiser.advertising_data == advertising_data(
        EDDYSTONE, code(9).service_data
    )


async def test_closing_does_not_wait_for_a_controller_that_hangs(
    air: Air, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hci_adapter, "CLOSE_TIMEOUT_S", 0.05)
    async with open_radio(f"bumble:{air.transports['jack']}") as radio:
        monkeypatch.setattr(VirtualController, "on_packet", lambda _self, _packet: None)
        changing = [asyncio.create_task(radio.advertiser.broadcast(code(n))) for n in range(2)]
        await asyncio.sleep(0)
    for change in changing:
        with pytest.raises(RadioError, match="does not answer"):
            await change


async def test_closing_an_idle_controller_that_hangs_is_noted(
    air: Air, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hci_adapter, "CLOSE_TIMEOUT_S", 0.05)
    async with open_radio(f"bumble:{air.transports['jack']}"):
        monkeypatch.setattr(VirtualController, "on_packet", lambda _self, _packet: None)
    assert "did not stop" in caplog.text


# --- failures


@pytest.mark.parametrize(
    "name",
    [
        "bumble:tcp-client:127.0.0.1:1",  # nothing listens there
        "bumble:tcp-client:127.0.0.1:port",
        "bumble:tcp-client:",
        "bumble:carrier-pigeon:0",
        "bumble:serial:/dev/no-such-port,1000000",
    ],
)
async def test_a_radio_that_cannot_be_opened_says_what_to_do(name: str) -> None:
    with pytest.raises(RadioError, match="check that the adapter is plugged in"):
        await open_radio(name).__aenter__()


async def test_a_lost_adapter_ends_sightings_and_broadcasts_with_an_error(
    air: Air, jack: Radio
) -> None:
    sightings = jack.scanner.sightings()
    waiting = asyncio.ensure_future(anext(sightings))
    await air.__aexit__(None, None, None)
    with pytest.raises(RadioError, match="disconnected"):
        await asyncio.wait_for(waiting, 30)
    for refused in (anext(sightings), anext(jack.scanner.sightings())):
        with pytest.raises(RadioError, match="open it again"):
            await refused
    with pytest.raises(RadioError, match="open it again"):
        await jack.advertiser.broadcast(code())


async def test_an_adapter_lost_in_the_middle_of_a_change_is_an_error_at_once(
    air: Air, jack: Radio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VirtualController, "on_packet", lambda _self, _packet: None)
    changing = asyncio.create_task(jack.advertiser.broadcast(code()))
    await asyncio.sleep(0)
    await air.__aexit__(None, None, None)
    with pytest.raises(RadioError, match="disconnected"):
        await asyncio.wait_for(changing, 30)


async def test_an_adapter_that_stops_answering_is_lost(
    jack: Radio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hci_adapter, "COMMAND_TIMEOUT_S", 0.05)
    monkeypatch.setattr(VirtualController, "on_packet", lambda _self, _packet: None)
    sightings = jack.scanner.sightings()
    with pytest.raises(RadioError, match="does not answer"):
        await jack.advertiser.broadcast(code())
    with pytest.raises(RadioError, match="does not answer"):
        await anext(sightings)


async def test_something_that_is_no_controller_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hci_adapter, "RESET_TIMEOUT_S", 0.05)
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(RadioError, match="does not answer"):
            await open_radio(f"bumble:tcp-client:127.0.0.1:{port}").__aenter__()


async def test_a_controller_that_refuses_its_reset_is_an_error(
    air: Air, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = hci.HCI_StatusReturnParameters(status=hci.HCI_ErrorCode.HARDWARE_FAILURE_ERROR)
    monkeypatch.setattr(VirtualController, "on_hci_reset_command", lambda _self, _command: refusal)
    with pytest.raises(RadioError, match="did not start"):
        await open_radio(f"bumble:{air.transports['jack']}").__aenter__()


async def test_a_refused_command_is_an_error_and_the_radio_still_hears(
    air: Air, jack: Radio, terminal: Radio, caplog: pytest.LogCaptureFixture
) -> None:
    air.controller("jack").le_legacy_advertiser.start()  # behind the radio's back
    with caplog.at_level(logging.CRITICAL), pytest.raises(RadioError, match="refused"):
        await jack.advertiser.broadcast(code())
    sightings = jack.scanner.sightings()
    await terminal.advertiser.broadcast(code(7))
    await heard(sightings, code(7))


# --- other processes

AGENT = """
import asyncio, sys
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Broadcast

async def run(name, payload):
    async with open_radio(name) as radio:
        await radio.advertiser.broadcast(Broadcast(0xFEAA, payload.encode(), 20))
        print("on air", flush=True)
        await asyncio.Event().wait()

asyncio.run(run(*sys.argv[1:]))
"""


@contextlib.asynccontextmanager
async def agent(air: Air, payload: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that broadcasts a payload; killed at the end without a chance to say goodbye."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", AGENT, f"bumble:{air.transports['jack']}", payload),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        assert line == b"on air\n"
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()


async def test_an_agent_that_was_killed_is_silent_and_another_takes_its_adapter(
    air: Air, terminal: Radio
) -> None:
    sightings = terminal.scanner.sightings()
    async with agent(air, "first"):
        first = await heard(sightings, Broadcast(EDDYSTONE, b"first", 20))
    async with agent(air, "second"):
        second = await heard(sightings, Broadcast(EDDYSTONE, b"second", 20))
        assert first.address != second.address
        following = [await asyncio.wait_for(anext(sightings), 30) for _ in range(5)]
        assert {sighting.service_data for sighting in following} == {b"second"}
    async with asyncio.timeout(30):
        # A controller has no event to wait for.
        while air.controller("jack").is_advertising:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert not air.controller("jack").le_scan_enable
