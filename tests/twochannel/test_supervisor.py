"""What systemd hears of an agent, on a real notification socket."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.systemd import DEADLINE_S, Systemd, listening
from twochannel import supervisor
from twochannel.supervisor import Patience, Supervisor, starting, supervised

DEAF = 'The radio "bluez" is blocked.'


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@cigarjack-{os.getpid()}"


async def test_an_agent_is_ready_tells_what_it_does_lives_and_stops(address: str) -> None:
    async with listening(address) as systemd:
        async with supervised(lambda: "Serving.", supervisor=systemd.supervisor()):
            told = [await systemd.message() for _ in range(4)]
        assert told == ["READY=1", "STATUS=Serving.", "WATCHDOG=1", "WATCHDOG=1"]
        await systemd.until("STOPPING=1\nSTATUS=Stopping.")


async def test_a_long_start_asks_for_more_time_and_tells_how_far_it_is(
    address: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(supervisor, "_TOLD_EVERY_S", 0.02)
    more = "EXTEND_TIMEOUT_USEC=30000000\nSTATUS="
    far = ["A tenth."]
    async with listening(address) as systemd:
        with caplog.at_level(logging.INFO, "twochannel.supervisor"):
            async with starting(lambda: far[-1], supervisor=systemd.supervisor()):
                await systemd.until(f"{more}A tenth.")
                far.append("A half.")
                await systemd.until(f"{more}A half.")
                async with asyncio.timeout(DEADLINE_S):
                    while not caplog.records:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
        systemd.waiting()
        await asyncio.sleep(0.05)
        assert not systemd.waiting()
    assert {record.message for record in caplog.records} == {"starting"}


async def test_signs_of_life_come_three_times_as_often_as_they_must(tmp_path: Path) -> None:
    async with listening(str(tmp_path / "notify")) as systemd:
        assert systemd.supervisor(WATCHDOG_USEC="30000000").sign_every_s == 10
        assert systemd.supervisor(WATCHDOG_PID=str(os.getpid())).sign_every_s == 0.02


@pytest.mark.parametrize("watchdog", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}])
async def test_a_watchdog_of_another_process_or_of_nobody_sets_no_pace(
    tmp_path: Path, watchdog: dict[str, str]
) -> None:
    async with listening(str(tmp_path / "notify")) as systemd:
        assert systemd.supervisor(**watchdog).sign_every_s == math.inf


async def test_an_unwell_agent_says_why_and_is_no_longer_called_alive(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trouble: list[str | None] = [None]
    async with listening(str(tmp_path / "notify")) as systemd:
        supervisor = systemd.supervisor()
        async with supervised(lambda: "Well.", lambda: trouble[0], 0.2, supervisor):
            await systemd.until("WATCHDOG=1")
            with caplog.at_level(logging.ERROR, "twochannel.supervisor"):
                trouble[0] = DEAF
                await systemd.until(f"STATUS={DEAF}")
                async with asyncio.timeout(DEADLINE_S):
                    while not caplog.records:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
            while_patient = systemd.waiting()
            assert while_patient
            assert set(while_patient) == {"WATCHDOG=1"}
            trouble[0] = None
            # Not one sign of life between the end of the patience and the recovery.
            assert await systemd.until("WATCHDOG=1") == ["STATUS=Well."]


async def told_of(systemd: Systemd, problems: Iterable[str | None]) -> list[str]:
    """What is told of an agent that has had one of ``problems`` after another at each look."""
    looks, over = iter(problems), asyncio.Event()

    def problem() -> str | None:
        try:
            return next(looks)
        except StopIteration:
            over.set()
            return None

    told: list[str] = []
    async with supervised(lambda: "Well.", problem, 60, systemd.supervisor()):
        async with asyncio.timeout(DEADLINE_S):
            while not over.is_set():
                await asyncio.sleep(0.01)
                told += systemd.waiting()
    return [line for line in told if line.startswith("STATUS=")]


async def test_a_radio_that_is_well_for_moments_only_is_steadily_told_as_unwell(
    tmp_path: Path,
) -> None:
    async with listening(str(tmp_path / "notify")) as systemd:
        told = await told_of(systemd, (None, DEAF, None, DEAF, None, DEAF, None))
    assert told == ["STATUS=Well.", f"STATUS={DEAF}"]


async def test_a_start_is_told_to_be_over_as_soon_as_it_is(tmp_path: Path) -> None:
    async with listening(str(tmp_path / "notify")) as systemd:
        told = await told_of(systemd, ("not opened yet", None, None, DEAF, None))
    assert told == ["STATUS=not opened yet", "STATUS=Well.", f"STATUS={DEAF}"]


def test_patience_counts_from_the_first_moment_of_one_trouble() -> None:
    patience = Patience(60)
    assert patience.lasts(None, 0)
    assert patience.lasts("gone", 100)
    assert patience.lasts("deaf", 159.9)  # another reason, the same trouble
    assert not patience.lasts("deaf", 160)
    assert not patience.lasts("deaf", 1000)
    assert not patience.lasts(None, 1001)
    assert patience.lasts(None, 1007)  # mended
    assert patience.lasts("gone", 1008)
    assert patience.lasts("gone", 1067)


def test_a_radio_that_is_well_whenever_it_is_opened_anew_wears_out_the_patience() -> None:
    patience = Patience(60)
    for opened_s in range(0, 60, 10):
        assert patience.lasts(None, opened_s)
        assert patience.lasts(None, opened_s + 5)
        assert patience.lasts("no free slot", opened_s + 6)
    assert not patience.lasts("no free slot", 66)
    assert not patience.lasts(None, 70)
    assert not patience.lasts(None, 75)


def test_an_agent_that_is_well_is_alive_though_it_was_not_a_moment_ago() -> None:
    patience = Patience(60)
    assert patience.lasts("gone", 0)
    assert patience.lasts("gone", 59)
    assert patience.lasts(None, 59.5)
    assert patience.lasts(None, 64)
    assert not patience.lasts("gone", 65)


@pytest.mark.parametrize(("limit_s", "mended_after_s"), [(5, 0.5), (60, 6), (3600, 6)])
def test_it_is_mended_after_a_tenth_of_the_patience_and_never_after_more_than_six_seconds(
    limit_s: float, mended_after_s: float
) -> None:
    patience = Patience(limit_s)
    assert patience.lasts("gone", 0)
    assert not patience.lasts("gone", 9000)
    assert not patience.lasts(None, 10_000)
    assert not patience.lasts(None, 9999.9 + mended_after_s)
    assert patience.lasts(None, 10_000 + mended_after_s)


async def test_a_sentence_of_several_lines_stays_one_assignment(tmp_path: Path) -> None:
    async with (
        listening(str(tmp_path / "notify")) as systemd,
        supervised(lambda: "One.\nMAINPID=1", supervisor=systemd.supervisor()),
    ):
        assert await systemd.message() == "READY=1"
        assert await systemd.message() == "STATUS=One. MAINPID=1"


@pytest.mark.parametrize("name", ["", "vsock:2:1234"])
async def test_without_systemd_nobody_is_told(name: str) -> None:
    supervisor = Supervisor({"NOTIFY_SOCKET": name})
    assert not supervisor.listens
    tasks = len(asyncio.all_tasks())
    async with supervised(lambda: "Serving.", supervisor=supervisor):
        supervisor.tell("WATCHDOG=1")
        assert len(asyncio.all_tasks()) == tasks


async def test_an_agent_goes_on_when_systemd_is_not_there_or_does_not_listen(
    tmp_path: Path,
) -> None:
    """A hung systemd must not hang the agent: nothing here may wait."""
    began_s = time.monotonic()
    Supervisor({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).tell("READY=1")
    async with listening(str(tmp_path / "notify")) as systemd:
        supervisor = systemd.supervisor()
        for _ in range(10_000):
            supervisor.tell("WATCHDOG=1")
        assert len(systemd.waiting()) < 10_000
    assert time.monotonic() - began_s < DEADLINE_S
