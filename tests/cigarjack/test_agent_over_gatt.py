"""The jack as a real process on virtual air, met over Bluetooth alone."""

from __future__ import annotations

from cigarjack.client import JackClient, gatt_channel
from tests.cigarjack.parties import Phone, Server
from tests.cigarjack.running_jack import Bench
from twochannel.protocol.invitation import CALL_UUID, INVITATION_UUID, Call, call_key
from twochannel.radio.port import Broadcast, Sighting
from twochannel.trace import wall_ms


def invites(sighting: Sighting) -> bool:
    return sighting.service_uuid == INVITATION_UUID


async def test_it_is_paired_told_the_time_and_asked_over_gatt_alone(
    bench: Bench, phone: Phone, server: Server
) -> None:
    _, made = await bench.answer("init")
    await bench.run()
    central, now_s = bench.terminal.central, wall_ms() // 1000
    async with central.connected(await bench.hear(invites)) as link:
        pin = (await phone.pair_over_gatt(link, made["label"], server)).pin
    # Without the time it invites by itself.
    async with (
        central.connected(await bench.hear(invites)) as link,
        JackClient(gatt_channel(link, pin), pin) as jack,
    ):
        nonce = str((await jack.status())["time_nonce"])
        await jack.put_time(server.time(pin.jack, nonce, wall_ms()))
    # With it the beacon is on the air, until its phone calls.
    await bench.hear(bench.is_code_of(server))
    code, status = await bench.answer("status")
    assert (code, status["broadcasting"], status["inviting"]) == (0, True, None)
    call = Call.made(call_key(pin.link_key), now_s, b"sa").encode()
    await bench.terminal.advertiser.broadcast(Broadcast(CALL_UUID, call, 20))
    async with (
        central.connected(await bench.hear(invites)) as link,
        JackClient(gatt_channel(link, pin), pin) as jack,
    ):
        compact = server.signed_challenge(pin.jack, phone.id, iat=now_s, exp=now_s + 60)
        assert await jack.auth_code(compact)
    await bench.hear(bench.is_code_of(server))
    assert [line["occasion"] for line in bench.trace("inviting")] == [
        "pairing",
        "clock_unsynchronised",
        "called",
    ]
    assert [line["mode"] for line in bench.trace("link_served")] == ["pairing", "paired", "paired"]
    assert [line["reason"] for line in bench.trace("beacon_silent")][-1] == "inviting"


async def test_it_takes_no_connection_where_it_is_told_not_to(
    bench: Bench, phone: Phone, server: Server
) -> None:
    _, made = await bench.answer("init")
    jack = await bench.run(gatt=False)
    paired = await phone.pair(jack.ready["pairing_port"], made["label"], server)
    async with phone.client(paired.port, paired.pin) as client:
        nonce = str((await client.status())["time_nonce"])
        await client.put_time(server.time(paired.pin.jack, nonce, wall_ms()))
    await bench.hear(bench.is_code_of(server))
    assert bench.trace("inviting") == []
    _, status = await bench.answer("status")
    assert status["inviting"] is None
