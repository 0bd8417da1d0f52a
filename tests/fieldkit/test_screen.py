from __future__ import annotations

import io

import pytest
from rich.console import Console

from fieldkit.journeys import JOURNEYS
from fieldkit.legs import NAMES, Legs
from fieldkit.results import JourneyResult
from fieldkit.screen import LiveScreen, PlainScreen, screen_for

LEGS_MS = dict(zip(NAMES, (0.1, 10.2, 11.3, 5.4, 12.5, 11.6, 251.4), strict=True))


def result(number: int, failure: str = "") -> JourneyResult:
    journey = JOURNEYS[number]
    payment = None if failure else {"status": "captured"}
    legs = Legs(dict.fromkeys(NAMES) if failure else {**LEGS_MS})
    return JourneyResult(journey.name, journey.title, payment, legs, [], failure, [], [], 0, 1)


def test_a_terminal_sees_a_table_with_the_legs() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=140, height=40)
    with LiveScreen(console, JOURNEYS) as screen:
        screen.step("keys")
        screen.began(JOURNEYS[0])
        screen.ended(result(0))
        screen.began(JOURNEYS[1])
        screen.ended(result(1, "the [pump] is dry"))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "keys …" in shown
    assert all(journey.title in shown for journey in JOURNEYS)
    for text in ("✓", "✗", "captured", "11.3", "251", "the [pump] is dry"):
        assert text in shown


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_cut_at_the_width_of_a_terminal(width: int) -> None:
    console = Console(
        file=io.StringIO(), force_terminal=True, width=width, height=40, no_color=True
    )
    with LiveScreen(console, JOURNEYS) as screen:
        screen.step("audit")
        for number in range(len(JOURNEYS)):
            screen.ended(result(number))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue().rpartition("outcome")[2]
    assert all(journey.title in shown for journey in JOURNEYS)
    assert shown.count("captured") == len(JOURNEYS)
    assert shown.count("251") == len(JOURNEYS)
    assert ("11.3" in shown) is (width == 120)
    assert "…" not in shown  # neither a cut text nor a step that seems to go on


def test_without_a_terminal_there_are_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with screen_for(JOURNEYS) as screen:
        assert isinstance(screen, PlainScreen)
        screen.step("keys")
        screen.began(JOURNEYS[0])
        screen.ended(result(0))
        screen.ended(result(1, "the pump is dry"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["… keys", f"▸ {JOURNEYS[0].title}"]
    assert lines[2].startswith("  coffee: captured, ok (ms: heard 0.1, requested 10.2")
    assert lines[3].startswith("  refuelling: no payment, FAILED: the pump is dry (ms: heard –")
