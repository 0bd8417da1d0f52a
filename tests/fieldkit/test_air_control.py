"""The control channel over real sockets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from fieldkit import air_control
from fieldkit.air import Air
from fieldkit.air_commands import CommandError, Refusal
from fieldkit.air_control import AirControl
from fieldkit.motion import Position


async def ask(air: Air, *lines: bytes) -> list[dict[str, Any]]:
    """Send lines as they are; the answers until the air or this side is done."""
    host, _, port = air.control.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"".join(lines))
    writer.write_eof()
    answers = (await asyncio.wait_for(reader.read(), 10)).splitlines()
    writer.close()
    await writer.wait_closed()
    return [json.loads(answer) for answer in answers]


async def test_a_controller_moves(air: Air) -> None:
    async with AirControl(air.control) as control:
        await control.move("jack", 1.5, -2)
        assert await control.positions() == {"jack": (1.5, -2), "terminal": (3, 0)}
    assert air.controller("jack").position == Position(1.5, -2)


async def test_a_drive_begins_where_the_controller_is_and_arrives(air: Air) -> None:
    async with AirControl(air.control) as control:
        assert await control.drive("jack", (3e5, 4e5), speed_mps=5e5) == pytest.approx(1)
        async with asyncio.timeout(10):
            while (await control.positions())["jack"] != (3e5, 4e5):
                x_m, y_m = (await control.positions())["jack"]
                assert y_m == pytest.approx(x_m * 4 / 3)


async def test_a_controller_is_muted_and_unmuted(air: Air) -> None:
    async with AirControl(air.control) as control:
        await control.mute("jack")
        assert air.controller("jack").muted
        await control.unmute("jack")
        assert not air.controller("jack").muted


@pytest.mark.parametrize(
    "command",
    [
        {"move": "pump", "x": 0, "y": 0},
        {"drive": "pump", "to": [0, 0], "speed_mps": 1},
        {"mute": "pump"},
        {"unmute": "pump"},
        {"unplug": "pump"},
        {"plug": "pump"},
        {
            "deliver": "pump",
            "address": "2A:00:00:00:00:01",
            "random": True,
            "data": "00",
            "rssi_dbm": 0,
        },
    ],
)
async def test_an_unknown_controller_is_refused(air: Air, command: dict[str, Any]) -> None:
    (answer,) = await ask(air, json.dumps(command).encode() + b"\n")
    assert (answer["ok"], answer["code"]) == (False, "unknown_controller")
    assert "jack" in answer["message"]


async def test_the_client_raises_what_the_air_refuses(air: Air) -> None:
    async with AirControl(air.control) as control:
        with pytest.raises(CommandError) as refused:
            await control.move("pump", 0, 0)
        assert refused.value.code == Refusal.UNKNOWN_CONTROLLER
        assert set(await control.positions()) == {"jack", "terminal"}


async def test_every_line_gets_its_answer_whatever_came_before(air: Air) -> None:
    answers = await ask(
        air, b"nonsense\n", b'{"move":"jack","x":null,"y":0}\n', b'{"positions":true}\n'
    )
    assert [answer.get("code") for answer in answers] == ["malformed", "invalid_value", None]
    assert answers[2] == {"ok": True, "positions": {"jack": [0.0, 0.0], "terminal": [3.0, 0.0]}}


async def test_a_line_without_end_is_refused_and_ends_the_conversation(air: Air) -> None:
    (answer,) = await ask(air, b"x" * 3_000, b"x" * 3_000)
    assert (answer["code"], answer["ok"]) == ("malformed", False)
    assert len(await ask(air, b'{"positions":true}\n')) == 1


async def test_a_client_that_vanishes_is_no_event(air: Air) -> None:
    host, _, port = air.control.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b'{"positions":true}\n' * 1000)
    writer.transport.abort()
    assert len(await ask(air, b'{"positions":true}\n')) == 1


async def test_the_client_says_when_the_air_is_gone(air: Air) -> None:
    async with AirControl(air.control) as control:
        await control.positions()
        await air.__aexit__(None, None, None)
        with pytest.raises(ConnectionError):
            await control.positions()
    with pytest.raises(ConnectionError):
        await AirControl(air.control).__aenter__()


async def test_commands_of_two_tasks_do_not_mix(air: Air) -> None:
    async with AirControl(air.control) as control, asyncio.TaskGroup() as group:
        asked = [group.create_task(control.positions()) for _ in range(20)]
        driven = group.create_task(control.drive("terminal", (4, 0), 1e6))
    assert all(set(task.result()) == {"jack", "terminal"} for task in asked)
    assert driven.result() == pytest.approx(1e-6)


async def test_an_air_that_does_not_answer_is_an_error_and_closes_the_channel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(air_control, "ANSWER_TIMEOUT_S", 0.01)
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with AirControl(f"127.0.0.1:{port}") as control:
            with pytest.raises(ConnectionError, match="does not answer"):
                await control.positions()
            with pytest.raises(ConnectionError):
                await control.positions()


async def test_a_cancelled_command_never_leaves_its_answer_to_the_next(air: Air) -> None:
    async with AirControl(air.control) as control:
        asking = asyncio.create_task(control.drive("jack", (9, 0), speed_mps=3))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        with pytest.raises(ConnectionError):
            await control.positions()
