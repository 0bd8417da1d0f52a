"""Progress: plain lines in a log, a bar before a person."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from fieldkit.bench.progress import BenchProgress


def shown(*, terminal: bool) -> str:
    text = StringIO()
    with BenchProgress(Console(file=text, force_terminal=terminal, width=80)) as progress:
        progress.step("warming up")
        progress.step("payments", 2)
        progress.advance()
        progress.advance()
    return text.getvalue()


def test_a_log_gets_one_line_for_each_step() -> None:
    assert shown(terminal=False) == "warming up …\npayments: 2 …\n"


def test_a_person_sees_how_far_it_is() -> None:
    assert "payments" in shown(terminal=True)
    assert "2/2" in shown(terminal=True)


def test_what_a_step_says_of_itself_is_for_a_person_alone() -> None:
    for terminal in (True, False):
        text = StringIO()
        with BenchProgress(Console(file=text, force_terminal=terminal, width=80)) as progress:
            progress.step("start")
            progress.note("Taking in jacks: 3 of 5.")
        assert ("3 of 5" in text.getvalue()) == terminal
