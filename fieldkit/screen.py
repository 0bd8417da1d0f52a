"""What a person sees while a demo runs: a live table, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from fieldkit.journeys import Journey
from fieldkit.legs import NAMES
from fieldkit.results import JourneyResult

_WAITING: Final = "[dim]·[/]"
_HEADINGS: Final = {"auth_code": "auth code"}
#: Columns of a terminal in which no heading, title or figure of the whole table is cut.
_ROOM_FOR_LEGS: Final = 120


class Screen(Protocol):
    """Told what happens, as it happens."""

    def step(self, text: str) -> None:
        """A step of set-up, or of what follows the journeys, begins."""

    def began(self, journey: Journey) -> None: ...

    def ended(self, result: JourneyResult) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def screen_for(journeys: tuple[Journey, ...]) -> Screen:
    """A live table on a terminal, plain lines anywhere else."""
    console = Console()
    return LiveScreen(console, journeys) if console.is_terminal else PlainScreen()


class PlainScreen:
    """One line for each step and each journey."""

    def step(self, text: str) -> None:
        _say(f"… {text}")

    def began(self, journey: Journey) -> None:
        _say(f"▸ {journey.title}")

    def ended(self, result: JourneyResult) -> None:
        _say(f"  {told(result)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None


class LiveScreen:
    """A table with one line for each journey, and below it what is going on."""

    def __init__(self, console: Console, journeys: tuple[Journey, ...]) -> None:
        self._console, self._journeys = console, journeys
        self._running = ""
        self._results: dict[str, JourneyResult] = {}
        self._spinner = Spinner("dots", Text(""))
        self._live = Live(console=console, refresh_per_second=12, get_renderable=self._table)

    def step(self, text: str) -> None:
        self._spinner.update(text=Text(f"{text} …", style="dim"))
        self._live.refresh()

    def began(self, journey: Journey) -> None:
        self._running = journey.name
        self.step(journey.title)

    def ended(self, result: JourneyResult) -> None:
        self._running = ""
        self._results[result.name] = result
        if result.failure:
            failure = Text(f"✗ {result.title}: {result.failure}", style="red")
            self._console.print(failure)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._spinner.text = Text("")  # update() passes over what is empty
        self._live.stop()

    def _table(self) -> Table:
        table = Table(box=None, header_style="dim", caption_justify="left")
        table.add_column("")
        table.add_column("journey", no_wrap=True)
        table.add_column("outcome", no_wrap=True)
        for heading in (*map(_heading, self._legs()[:-1]), "total ms"):
            table.add_column(heading, justify="right", min_width=6, no_wrap=True)
        for journey in self._journeys:
            table.add_row(*self._row(journey))
        outer = Table.grid()
        outer.add_row(table)
        outer.add_row(self._spinner if self._spinner.text else "")
        return outer

    def _legs(self) -> tuple[str, ...]:
        """All of a payment's legs where there is room for them, else how long it took."""
        return NAMES if self._console.width >= _ROOM_FOR_LEGS else NAMES[-1:]

    def _row(self, journey: Journey) -> list[Text | str | Spinner]:
        result = self._results.get(journey.name)
        if result is None:
            mark = "[yellow]▸[/]" if journey.name == self._running else _WAITING
            return [mark, journey.title, *[""] * (len(self._legs()) + 1)]
        mark = "[green]✓[/]" if result.ok else "[red]✗[/]"
        legs = [_ms(result.legs.legs_ms[leg]) for leg in self._legs()]
        return [mark, journey.title, _status(result), *legs[:-1], f"[bold]{legs[-1]}[/]"]


def told(result: JourneyResult) -> str:
    """A journey in one line."""
    legs = ", ".join(f"{_heading(leg)} {_ms(result.legs.legs_ms[leg])}" for leg in NAMES)
    verdict = "ok" if result.ok else f"FAILED: {result.failure}"
    return f"{result.name}: {_status(result)}, {verdict} (ms: {legs})"


def _heading(leg: str) -> str:
    return _HEADINGS.get(leg, leg)


def _status(result: JourneyResult) -> str:
    return str(result.payment["status"]) if result.payment else "no payment"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
