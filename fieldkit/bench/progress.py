"""What the bench is doing now: a bar for a person, plain lines for a log. On standard error."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class BenchProgress:
    """``with`` it; ``step`` names what begins, ``advance`` counts within the step."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._bar = Progress(*columns, console=self._console, transient=True)
        self._alive = self._console.is_terminal
        self._task = self._bar.add_task("starting", total=None)

    def __enter__(self) -> Self:
        if self._alive:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._alive:
            self._bar.stop()

    def step(self, text: str, total: int | None = None) -> None:
        """Begin a step of ``total`` parts; None where they are not known."""
        if self._alive:
            self._bar.reset(self._task, description=text, total=total)
        else:
            self._console.print(f"{text} …" if total is None else f"{text}: {total} …")

    def advance(self) -> None:
        """One part of this step is done."""
        self._bar.advance(self._task)

    def note(self, text: str) -> None:
        """How far the step is, in a sentence, for a person before it: a log has its one line."""
        self._bar.update(self._task, description=text)
