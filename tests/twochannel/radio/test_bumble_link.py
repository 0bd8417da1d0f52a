"""Links of the Bumble radio on virtual air, over real sockets: made, used, ended and lost."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

import pytest
from bumble import att, gatt, hci

from fieldkit.air import Air
from fieldkit.motion import Position
from tests.twochannel.radio.links import (
    CALL,
    INVITATION,
    both_ways,
    ended,
    full_packets,
    heard,
    linked,
    next_link,
    pump,
    send_all,
)
from twochannel.radio import bumble_link, link_inbox
from twochannel.radio.backends import open_radio
from twochannel.radio.bumble_connection import gatt_uuid
from twochannel.radio.link_inbox import WAITING_PACKETS_LIMIT
from twochannel.radio.port import LinkError, Radio, RadioError, Sighting

# --- carrying packets


async def test_packets_of_full_length_arrive_in_order_one_way_then_the_other(
    jack: Radio, terminal: Radio
) -> None:
    async with linked(jack, terminal) as (of_jack, of_phone):
        assert of_jack.packet_limit_bytes == of_phone.packet_limit_bytes == 510
        await pump(of_phone, of_jack, full_packets(of_phone, b"p"))
        await pump(of_jack, of_phone, full_packets(of_jack, b"j"))
        await pump(of_jack, of_phone, [b"\0"])


async def test_both_sides_may_send_at_once(jack: Radio, terminal: Radio) -> None:
    async with linked(jack, terminal) as ends:
        await both_ways(*ends)


async def test_a_packet_that_is_empty_or_too_long_is_refused(jack: Radio, terminal: Radio) -> None:
    async with linked(jack, terminal) as ends:
        for link in ends:
            for packet in (b"", bytes(513)):
                with pytest.raises(ValueError, match="1 to 510 bytes"):
                    await link.send(packet)


async def test_both_sides_hear_and_the_phone_broadcasts_meanwhile(
    jack: Radio, terminal: Radio
) -> None:
    await terminal.advertiser.broadcast(CALL)
    async with linked(jack, terminal) as ends:
        carrying = asyncio.create_task(both_ways(*ends))
        first = await heard(jack, CALL)
        await terminal.advertiser.broadcast(CALL)
        second = await heard(jack, CALL)
        assert first.address != second.address
        await carrying
        await heard(jack, CALL)


# --- the invitation


async def test_an_invitation_is_connectable_and_fresh_and_ends_with_its_block(
    air: Air, jack: Radio, terminal: Radio
) -> None:
    addresses = set()
    for _ in range(3):
        async with jack.peripheral.inviting(INVITATION):
            invitation = await heard(terminal, INVITATION)
            assert invitation.service_uuid == INVITATION.service_uuid
            assert int(invitation.address[:2], 16) >> 6 == 0b00
            addresses.add(invitation.address)
            advertiser = air.controller("jack").le_legacy_advertiser
            kind = hci.HCI_LE_Set_Advertising_Parameters_Command.AdvertisingType.ADV_IND
            assert advertiser.advertising_type == kind
            assert advertiser.advertising_data.startswith(b"\x02\x01\x06")
            with pytest.raises(RuntimeError, match="already"):
                await jack.peripheral.inviting(INVITATION).__aenter__()
            with pytest.raises(RadioError, match="invites"):
                await jack.advertiser.broadcast(CALL)
            await jack.advertiser.silence()
            await heard(terminal, INVITATION)
        assert not air.controller("jack").is_advertising
    assert len(addresses) == 3
    await jack.advertiser.broadcast(CALL)
    await heard(terminal, CALL)


async def test_nothing_is_advertised_during_a_link_and_the_invitation_comes_back_after(
    air: Air, jack: Radio, terminal: Radio
) -> None:
    async with jack.peripheral.inviting(INVITATION) as links:
        addresses = set()
        for _ in range(3):
            invitation = await heard(terminal, INVITATION)
            addresses.add(invitation.address)
            async with terminal.central.connected(invitation) as of_phone:
                of_jack = await next_link(links)
                assert not air.controller("jack").is_advertising
                await pump(of_phone, of_jack, [b"a request"])
                await of_phone.send(b"goodbye")
            assert await of_jack.receive() == b"goodbye"
            assert "The other side has ended" in await ended(of_jack)
            assert "closed on this side" in await ended(of_phone)
        assert len(addresses) == 3
    assert [link async for link in links] == []


async def test_leaving_the_block_ends_the_link_after_what_was_sent(
    jack: Radio, terminal: Radio
) -> None:
    async with contextlib.AsyncExitStack() as phone:
        async with jack.peripheral.inviting(INVITATION) as links:
            invitation = await heard(terminal, INVITATION)
            of_phone = await phone.enter_async_context(terminal.central.connected(invitation))
            of_jack = await next_link(links)
            await send_all(of_jack, full_packets(of_jack, b"j"))
        received = [await of_phone.receive() for _ in range(100)]
        assert received == full_packets(of_jack, b"j")
        assert "The other side has ended" in await ended(of_phone)


async def test_either_side_can_hang_up(jack: Radio, terminal: Radio) -> None:
    async with jack.peripheral.inviting(INVITATION) as links:
        for first in (0, 1):
            async with terminal.central.connected(await heard(terminal, INVITATION)) as of_phone:
                ends = (await next_link(links), of_phone)
                await ends[first].close()
                await ends[first].close()
                assert "closed on this side" in await ended(ends[first])
                assert "The other side has ended" in await ended(ends[1 - first])


async def test_who_does_not_subscribe_makes_way(
    jack: Radio, terminal: Radio, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_client: object, _on_packet: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(bumble_link, "SUBSCRIBE_TIMEOUT_S", 0.1)
    async with jack.peripheral.inviting(INVITATION) as links:
        invitation = await heard(terminal, INVITATION)
        with monkeypatch.context() as patch:
            patch.setattr(bumble_link, "_subscribe", never)
            with pytest.raises(LinkError, match="ended the connection"):
                await terminal.central.connected(invitation).__aenter__()
        monkeypatch.setattr(bumble_link, "SUBSCRIBE_TIMEOUT_S", 10)
        async with terminal.central.connected(await heard(terminal, INVITATION)):
            await next_link(links)


async def test_who_sends_on_while_nobody_reads_is_hung_up_on(jack: Radio, terminal: Radio) -> None:
    async with linked(jack, terminal) as (of_jack, of_phone):
        spam = [b"spam"] * 100 * WAITING_PACKETS_LIMIT
        with pytest.raises(LinkError, match="ended the connection"):
            await asyncio.wait_for(send_all(of_phone, spam), 60)
        for _ in range(WAITING_PACKETS_LIMIT):
            assert await of_jack.receive() == b"spam"
        assert "sent more than was read" in await ended(of_jack)


# --- connections that are not made


async def test_an_invitation_that_was_withdrawn_is_given_up_after_ten_seconds(
    air: Air, jack: Radio, terminal: Radio, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert link_inbox.CONNECT_TIMEOUT_S == 10
    monkeypatch.setattr(bumble_link, "CONNECT_TIMEOUT_S", 0.2)
    async with jack.peripheral.inviting(INVITATION):
        invitation = await heard(terminal, INVITATION)
    with pytest.raises(LinkError, match="Nobody took the connection"):
        await terminal.central.connected(invitation).__aenter__()
    await terminal.advertiser.broadcast(CALL)  # so that what was given up is over
    assert air.controller("terminal").pending_le_connection is None
    await jack.advertiser.broadcast(CALL)
    await heard(terminal, CALL)


def offer_another_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let invitations offer a service that is not the link's."""
    other = str(gatt_uuid(0x7A1E0004_0000_4000_8000_000000000000))
    kept = gatt.Service

    def another(_uuid: str, characteristics: list[gatt.Characteristic[bytes]]) -> gatt.Service:
        return kept(other, characteristics)

    monkeypatch.setattr(gatt, "Service", another)


async def test_somebody_without_the_service_is_no_jack(
    jack: Radio, terminal: Radio, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        offer_another_service(patch)
        async with jack.peripheral.inviting(INVITATION):
            with pytest.raises(LinkError, match="no link service"):
                await terminal.central.connected(await heard(terminal, INVITATION)).__aenter__()
            await heard(terminal, INVITATION)  # it is free again
    async with linked(jack, terminal) as ends:
        await both_ways(*ends)


@pytest.mark.parametrize("turns", [0, 1, 2, 4, 8, 16, 32, 64, 128, 256])
async def test_a_cancelled_attempt_leaves_both_radios_as_they_were(
    air: Air, jack: Radio, terminal: Radio, turns: int
) -> None:
    async with jack.peripheral.inviting(INVITATION) as links:
        invitation = await heard(terminal, INVITATION)
        entering = asyncio.create_task(terminal.central.connected(invitation).__aenter__())
        for _ in range(turns):
            await asyncio.sleep(0)
        entering.cancel()
        await asyncio.wait({entering})
        if not entering.cancelled():
            await entering.result().close()
        async with terminal.central.connected(await heard(terminal, INVITATION)) as of_phone:
            of_jack = await next_link(links)
            if entering.cancelled():
                await both_ways(of_jack, of_phone)
    assert air.controller("terminal").le_scan_enable
    assert air.controller("terminal").pending_le_connection is None
    assert not air.controller("terminal").le_connections
    assert not air.controller("jack").le_connections


# --- connections that are lost


@pytest.mark.parametrize("vanish", ["far", "muted", "unplugged"])
async def test_a_side_that_vanishes_ends_the_link(
    air: Air, jack: Radio, terminal: Radio, vanish: str
) -> None:
    async with linked(jack, terminal) as (of_jack, of_phone):
        if vanish == "far":
            air.controller("terminal").move(Position(400, 0))
        elif vanish == "muted":
            air.controller("terminal").muted = True
        else:
            air._host("terminal").unplug()
            assert "radio has gone" in await ended(of_phone)
        assert "was lost" in await ended(of_jack)
        await ended(of_phone)
        await heard_again(air, jack)


async def heard_again(air: Air, jack: Radio) -> None:
    """The jack's invitation is on the air."""
    async with asyncio.timeout(30):
        # A controller has no event to wait for.
        while not air.controller("jack").is_advertising:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_a_lost_radio_ends_everything_with_its_error(
    air: Air, jack: Radio, terminal: Radio
) -> None:
    async with (
        jack.peripheral.inviting(INVITATION) as links,
        terminal.central.connected(await heard(terminal, INVITATION)) as of_phone,
    ):
        of_jack = await next_link(links)
        air._host("jack").unplug()
        assert "radio has gone" in await ended(of_jack)
        with pytest.raises(RadioError, match="was disconnected"):
            await anext(links)
        assert "was lost" in await ended(of_phone)
    with pytest.raises(RadioError):
        await jack.peripheral.inviting(INVITATION).__aenter__()
    with pytest.raises(RadioError):
        await jack.central.connected(Sighting("01:02:03:04:05:06", 1, b"", -1, 0)).__aenter__()


@pytest.mark.parametrize("which", ["jack", "phone"])
async def test_closing_a_radio_ends_its_links(air: Air, which: str) -> None:
    radios = [open_radio(f"bumble:{air.transports[name]}") for name in ("jack", "terminal")]
    async with radios[0] as jack, radios[1] as terminal, linked(jack, terminal) as ends:
        leaving = radios[0 if which == "jack" else 1]
        reading = [asyncio.create_task(link.receive()) for link in ends]
        await leaving.__aexit__()
        for task in reading:
            with pytest.raises(LinkError):
                await asyncio.wait_for(task, 30)


# --- strangers


async def test_bytes_that_are_no_att_do_no_harm(
    jack: Radio, terminal: Radio, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with linked(jack, terminal) as (of_jack, of_phone):
        connection = of_phone._connection  # type: ignore[attr-defined]
        for garbage in (b"", b"\x12", b"\x52\x03", b"\xff\xff\xff", b"\x02", b"\x06\x00", b"\x1b"):
            for cid in (att.ATT_CID, 5, 6, 77):
                connection.send_l2cap_pdu(cid, garbage)
        await both_ways(of_jack, of_phone)


# --- other processes

PHONE = """
import asyncio, sys
from twochannel.radio.backends import open_radio

async def run(name):
    async with open_radio(name) as radio:
        async for sighting in radio.scanner.sightings():
            async with radio.central.connected(sighting) as link:
                await link.send(b"hello")
                await asyncio.Event().wait()

asyncio.run(run(*sys.argv[1:]))
"""


async def test_a_phone_that_was_killed_is_missed_and_another_is_welcome(
    air: Air, jack: Radio
) -> None:
    async with jack.peripheral.inviting(INVITATION) as links:
        for _ in range(2):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", PHONE, f"bumble:{air.transports['terminal']}")
            )
            try:
                link = await next_link(links)
                assert await asyncio.wait_for(link.receive(), 30) == b"hello"
            finally:
                process.send_signal(signal.SIGKILL)
                await process.wait()
            assert "was lost" in await ended(link)


LOADED = """
import asyncio, sys
from twochannel.radio.backends import open_radio

async def run(name):
    async with open_radio(name) as radio:
        await radio.advertiser.silence()
        print("bumble.gatt_server" in sys.modules, "bumble.device" in sys.modules)
        radio.peripheral
        print("bumble.gatt_server" in sys.modules, "bumble.device" in sys.modules)

asyncio.run(run(*sys.argv[1:]))
"""


async def test_gatt_is_loaded_when_a_link_is_first_asked_for(air: Air) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LOADED, f"bumble:{air.transports['jack']}"),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    assert output == b"False False\nTrue False\n"
