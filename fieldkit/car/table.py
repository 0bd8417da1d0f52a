"""The table of a run in the virtual car, for a person: drawn from its document alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.table import Table

from fieldkit.car import radio_figures
from fieldkit.legs import NAMES

_WIDTH: Final = 110
_NONE: Final = "–"


def show(document: Mapping[str, Any]) -> None:
    """Print it on standard output."""
    console = Console(width=_WIDTH)
    for part in _parts(document):
        console.print(part)


def _parts(document: Mapping[str, Any]) -> Iterator[RenderableType]:
    if document["journeys"]:
        yield _journeys(document["journeys"])
    if document["radio"]:
        yield _radio(document["radio"])
    if radio := document.get(radio_figures.MEMBER):
        yield "\n[bold]BlueZ radio, by its tests[/]"
        yield from radio_figures.told(radio)
    if document["faults"]:
        yield _faults(document["faults"])
    for fault in document["faults"]:
        if fault["failure"]:
            yield f"{fault['title']}: {fault['failure']}"
    for finding in document["audit"]["findings"]:
        yield f"Audit: {finding}"
    if document["audit"]["clean"]:
        yield "Audit: clean, nothing lost."


def _journeys(journeys: list[Mapping[str, Any]]) -> Table:
    table = _table("Journeys on BlueZ and Wi-Fi (ms)", "journey", "", "outcome")
    for leg in NAMES:
        table.add_column(leg.replace("_", " "), justify="right")
    for journey in journeys:
        payment, legs = journey["payment"], journey["legs_ms"]
        legs_ms = (_NONE if legs[leg] is None else f"{legs[leg]:.0f}" for leg in NAMES)
        outcome = payment["status"] if payment else "no payment"
        table.add_row(journey["name"], _verdict(journey), outcome, *legs_ms)
    return table


def _radio(radio: Mapping[str, Any]) -> Table:
    table = _table("Radio beside a lane", "measure", "value")
    changes = ", ".join(f"{ms} ms" for ms in radio["code_changes_ms"]) or "none during the run"
    median_ms, p99_ms = radio["interval_median_ms"], radio["interval_p99_ms"]
    step = f"{radio['rssi_values']} values, steps of {radio['rssi_step_db']} dB"
    for measure, value in (
        (f"advert interval, {radio['adverts']} adverts", f"median {median_ms} ms, p99 {p99_ms} ms"),
        ("code change to first advert of the next", changes),
        ("longest time without one on the air", f"{radio['silent_ms']} ms"),
        ("longest blind window of the terminal's scanner", f"{radio['blind_ms']} ms"),
        ("RSSI granularity", step),
    ):
        table.add_row(measure, value)
    return table


def _faults(faults: list[Mapping[str, Any]]) -> Table:
    table = _table("Faults", "fault", "", "before", "during", "after", "recovery", "then silent")
    for fault in faults:
        paid = (fault[when] or _NONE for when in ("before", "during", "after"))
        lasting = (_seconds(fault[how_long]) for how_long in ("recovery_s", "silent_s"))
        table.add_row(fault["title"], _verdict(fault), *paid, *lasting)
    return table


def _seconds(value: float | None) -> str:
    return _NONE if value is None else f"{value} s"


def _verdict(part: Mapping[str, Any]) -> str:
    return "ok" if part["ok"] else "FAILED"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None)
    for column in columns:
        table.add_column(column)
    return table
