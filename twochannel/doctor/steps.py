"""What the doctor does just now, on standard error."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

import click

if TYPE_CHECKING:
    from twochannel.doctor.examination import Progress

T = TypeVar("T")

_TICK_S: Final = 0.1
_PARTS: Final = 100


async def accompanied(examine: Callable[[Progress], Awaitable[T]], *, quiet: bool) -> T:
    """What ``examine`` finds, while its steps are told. ``quiet``: tell them to a person alone."""
    steps = _Steps(quiet=quiet)
    try:
        return await examine(steps.begin)
    finally:
        steps.end()


class _Steps:
    """A bar for a person, a plain line for a log; one step at a time."""

    def __init__(self, *, quiet: bool) -> None:
        self._alive = sys.stderr.isatty()
        self._quiet = quiet
        self._moving: asyncio.Task[None] | None = None

    def begin(self, text: str, seconds: float) -> None:
        """``text`` is done for about ``seconds`` from now on."""
        self.end()
        if self._alive:
            self._moving = asyncio.create_task(_move(text, seconds), name=f"progress: {text}")
        elif not self._quiet:
            click.echo(f"{text} (about {seconds:.0f} s) …", err=True)

    def end(self) -> None:
        if self._moving is not None:
            self._moving.cancel()
            self._moving = None


async def _move(text: str, seconds: float) -> None:
    began_s, shown = time.monotonic(), 0
    with click.progressbar(
        length=_PARTS, label=text, file=sys.stderr, show_eta=False, show_percent=False
    ) as bar:
        while shown < _PARTS:
            await asyncio.sleep(_TICK_S)
            now = min(_PARTS, int((time.monotonic() - began_s) / seconds * _PARTS))
            bar.update(now - shown)
            shown = now
