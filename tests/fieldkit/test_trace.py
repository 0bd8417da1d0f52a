from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from fieldkit.trace import TraceError, TraceFile, of_payment, parse_line
from twochannel.ring import Keep, pieces
from twochannel.trace import SCHEMA_VERSION, ClockTrust, Trace

PAYMENT = "01890a5d-ac96-774b-bcce-b302099a8057"


def written(path: Path) -> Trace:
    return Trace("jack", path, boot="boot-1", wall=lambda: 5, trust=lambda: ClockTrust.SERVER)


def test_reads_what_an_agent_writes(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with written(path) as trace:
        trace.event("auth_code_signed", PAYMENT, counter=7, presence=True)
    (event,) = TraceFile("car", path).events()
    assert (event.agent, event.party, event.event) == ("car", "jack", "auth_code_signed")
    assert (event.payment, event.wall_ms, event.boot) == (PAYMENT, 5, "boot-1")
    assert event.clock == "server"
    assert event.fields == {"counter": 7, "presence": True}


def test_the_times_of_another_machine_become_those_of_this_one(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with written(path) as trace:
        trace.event("agent_started")
    (there,) = TraceFile("car", path).events()
    (here,) = TraceFile("car", path, shift_ns=-7).events()
    assert here.mono_ns == there.mono_ns - 7


def test_a_trace_that_does_not_exist_yet_is_empty(tmp_path: Path) -> None:
    assert TraceFile("car", tmp_path / "trace.jsonl").events() == []


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with written(path) as trace:
        trace.event("agent_started")
    line = path.read_text()
    followed = TraceFile("car", path)
    path.write_text(line + line[:20])
    assert len(followed.events()) == 1
    path.write_text(line + line)
    assert [event.event for event in followed.events()] == ["agent_started", "agent_started"]


@pytest.mark.parametrize("line", ["", "[]", "{", '{"v": 1}', "5"])
def test_refuses_what_is_no_trace_line(line: str) -> None:
    with pytest.raises(TraceError, match="car"):
        parse_line("car", line)


def test_refuses_another_schema(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with written(path) as trace:
        trace.event("agent_started")
    members = json.loads(path.read_text()) | {"v": SCHEMA_VERSION + 1}
    with pytest.raises(TraceError, match="schema"):
        parse_line("car", json.dumps(members))


def test_a_trace_is_followed_from_piece_to_piece(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    followed = TraceFile("car", path)
    with Trace("jack", path, boot="boot-1", keep=Keep(mib=1)) as trace:
        for counter in range(4000):
            trace.event("auth_code_signed", PAYMENT, counter=counter)
            if counter % 500 == 0:
                followed.events()
    assert len(pieces(path)) > 2
    for file in (followed, TraceFile("car", path)):
        assert [event.fields["counter"] for event in file.events()] == list(range(4000))


async def test_waits_until_the_event_is_written(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    with written(path) as trace:
        trace.event("auth_code_signed", "another", counter=1)
        waiting = asyncio.create_task(
            TraceFile("car", path).wait(
                "auth_code_signed", payment=PAYMENT, where=lambda fields: fields["counter"] > 1
            )
        )
        await asyncio.sleep(0)
        assert not waiting.done()
        trace.event("auth_code_signed", PAYMENT, counter=1)
        trace.event("auth_code_signed", PAYMENT, counter=2)
        assert (await waiting).fields["counter"] == 2


async def test_events_before_the_mark_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    followed = TraceFile("car", path)
    with written(path) as trace:
        trace.event("agent_started")
        mark_ns = followed.events()[0].mono_ns + 1
        with pytest.raises(TraceError, match=r"car did not report agent_started within 0\.03 s"):
            await followed.wait("agent_started", after_ns=mark_ns, deadline_s=0.03)


def test_the_events_of_one_payment_come_in_order(tmp_path: Path) -> None:
    with written(tmp_path / "a.jsonl") as one, written(tmp_path / "b.jsonl") as other:
        one.event("first", PAYMENT)
        other.event("second", PAYMENT)
        other.event("foreign", "another")
        one.event("third", PAYMENT)
    events = TraceFile("b", tmp_path / "b.jsonl").events()
    events += TraceFile("a", tmp_path / "a.jsonl").events()
    assert [event.event for event in of_payment(events, PAYMENT)] == ["first", "second", "third"]
