"""Setting a server up for load: nothing is left half started when something fails."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fieldkit.bench import server_set_up
from fieldkit.bench.progress import BenchProgress
from fieldkit.bench.server_set_up import finish_all, state_in, telling

_STARTING = '{"event": "starting", "state": "Taking in jacks: 3 of 5."}\n'


async def test_results_come_in_the_order_of_their_steps() -> None:
    assert await finish_all(asyncio.sleep(0, number) for number in range(3)) == [0, 1, 2]


async def test_a_failure_goes_up_when_everything_else_has_ended() -> None:
    going_on, ended = asyncio.Event(), []

    async def fail() -> None:
        going_on.set()
        raise ConnectionError("refused")

    async def take_longer() -> None:
        await going_on.wait()
        await asyncio.sleep(0)
        ended.append(True)

    with pytest.raises(ConnectionError, match="refused"):
        await finish_all([fail(), take_longer()])
    assert ended == [True]


@pytest.mark.parametrize(
    "text", ["", _STARTING[:30], "Traceback\n", "7\n", _STARTING + '{"event": "stopped"}\n']
)
def test_a_log_that_tells_nothing_of_a_start(tmp_path: Path, text: str) -> None:
    log = tmp_path / "server.log"
    assert state_in(log) is None
    log.write_text(text)
    assert state_in(log) is None


async def test_what_a_server_says_of_its_start_is_shown_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_set_up, "_LOOK_EVERY_S", 0)
    shown = asyncio.get_running_loop().create_future()

    class Progress(BenchProgress):
        def note(self, text: str) -> None:
            if not shown.done():
                shown.set_result(text)

    log = tmp_path / "server.log"
    async with telling(log, Progress()):
        log.write_text(_STARTING)
        assert await shown == "Taking in jacks: 3 of 5."
    assert len(asyncio.all_tasks()) == 1, "nobody looks any more"
