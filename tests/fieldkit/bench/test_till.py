"""Timing the command: what it prints is its answer, whatever it prints."""

from __future__ import annotations

import sys

import pytest

from fieldkit.bench import till


@pytest.mark.parametrize(
    ("program", "answer"),
    [
        ('print(\'{"status": "captured"}\')', {"status": "captured"}),
        ("raise SystemExit('no jack is heard')", {"status": "failed"}),
        ("raise SystemExit('[1]')", {"status": "failed"}),
        ('raise SystemExit(\'{"error": {"code": "jack_busy"}}\')', {"status": "jack_busy"}),
        ("raise SystemExit('{\"error\": {}}')", {"status": "failed"}),
    ],
)
def test_the_answer_of_a_command_is_read(program: str, answer: dict[str, str]) -> None:
    taken_ms, printed = till.timed([sys.executable, "-I", "-c", program])
    assert printed == answer
    assert taken_ms > 0


def test_the_command_that_is_timed_is_the_terminal() -> None:
    assert "payment" in till.console_script()[-1]


async def test_an_empty_process_takes_time() -> None:
    assert await till.interpreter_ms() > 0
