"""Traces: one JSON line an event, at once, with clocks and trust."""

from __future__ import annotations

import json
import resource
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from twochannel.trace import SCHEMA_VERSION, ClockTrust, Trace, boot_id, wall_ms


def test_an_event_is_one_line_on_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "trace.jsonl"
    trace = Trace("jack", path, boot="b1", wall=lambda: 5, trust=lambda: ClockTrust.UNSYNCHRONISED)
    trace.event("paired", epoch=1)
    trace.event("auth_code_signed", "p1", counter=3)
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    trace.close()
    assert (
        first.items()
        >= {
            "v": SCHEMA_VERSION,
            "party": "jack",
            "event": "paired",
            "payment": None,
            "wall_ms": 5,
            "boot": "b1",
            "clock": "unsynchronised",
            "epoch": 1,
        }.items()
    )
    assert second["payment"] == "p1"
    assert second["mono_ns"] >= first["mono_ns"]


def test_clocks_that_were_read_apart_are_read_again(tmp_path: Path) -> None:
    """As where a machine is busy; a clock that stepped would be told, but did not."""
    path = tmp_path / "trace.jsonl"
    pauses = iter((0.01, 0.01, 0.0))

    def slow_wall_ms() -> int:
        now = wall_ms()
        time.sleep(next(pauses, 0.0))
        return now

    with Trace("lane", path, boot="b1", wall=slow_wall_ms) as trace:
        trace.event("agent_started")
    assert next(pauses, None) is None


def test_clocks_are_read_a_few_times_at_most(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    read = []

    def slow_wall_ms() -> int:
        read.append(wall_ms())
        time.sleep(0.005)
        return read[-1]

    with Trace("lane", path, boot="b1", wall=slow_wall_ms) as trace:
        trace.event("agent_started")
    assert json.loads(path.read_text())["wall_ms"] == read[-1]
    assert len(read) == 5


def test_a_restarted_agent_continues_its_trace(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    for _ in range(2):
        with Trace("phone", path, boot=boot_id()) as trace:
            trace.event("agent_started")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["clock"] for line in lines] == ["system", "system"]
    assert abs(lines[0]["wall_ms"] - wall_ms()) < 3_600_000


def test_an_agent_without_a_trace_says_nothing() -> None:
    with Trace("phone", None, boot="b") as trace:
        trace.event("agent_started")
    trace.close()
    trace.event("late")


def test_a_full_disk_ends_no_agent_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with Trace("terminal", Path("/dev/full"), boot="b") as trace:
        trace.event("request_sent", "p1")
        trace.event("request_answered", "p1")
    assert [record.message for record in caplog.records] == ["trace_incomplete"]


def test_a_line_that_was_cut_short_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with Trace("terminal", path, boot="b") as trace:
        trace.event("agent_started")
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, before[1]))
        try:
            trace.event("request_sent", "p1")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, ignored)
        trace.event("request_answered", "p1")
    first, _cut, last = path.read_text().splitlines()
    assert [json.loads(line)["event"] for line in (first, last)] == [
        "agent_started",
        "request_answered",
    ]
    assert path.stat().st_mode & 0o077 == 0


def test_who_listens_is_told_each_event_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    told: list[Mapping[str, object]] = []
    with Trace("jack", path, boot="b1") as trace:
        trace.event("agent_started")
        trace.listen(told.append)
        trace.event("auth_code_signed", "p1", counter=3)
    _, second = (json.loads(line) for line in path.read_text().splitlines())
    assert told == [second]


def test_who_listens_is_told_although_nothing_is_written() -> None:
    told: list[Mapping[str, object]] = []
    with Trace("phone", None, boot="b") as trace:
        trace.listen(told.append)
        trace.event("server_lost")
    assert [line["event"] for line in told] == ["server_lost"]


def test_a_listener_that_fails_harms_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Mapping[str, object]] = []

    def fail(_line: Mapping[str, object]) -> None:
        raise KeyError("no such member")

    with Trace("phone", tmp_path / "trace.jsonl", boot="b") as trace:
        trace.listen(fail)
        trace.listen(told.append)
        trace.event("server_lost")
    assert len(told) == 1
    assert (tmp_path / "trace.jsonl").read_text()
    assert [record.message for record in caplog.records] == ["trace_listener_failed"]


@pytest.mark.parametrize("torn", [b'{"v":1,"par', bytes(40)])
def test_a_line_that_a_power_cut_left_does_not_spoil_the_first_one_after_it(
    tmp_path: Path, torn: bytes
) -> None:
    path = tmp_path / "trace.jsonl"
    for boot in ("one", "two"):
        with Trace("jack", path, boot=boot) as trace:
            trace.event("started")
        if boot == "one":
            path.write_bytes(path.read_bytes() + torn)
    first, left, last = path.read_bytes().splitlines()
    assert [json.loads(line)["boot"] for line in (first, last)] == ["one", "two"]
    assert left == torn
