"""Holds one trial for a command: says how far it is, writes archive and document, cleans up."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from pathlib import Path
from typing import Final

import click

from fieldkit.interruption import sigterm_as_ctrl_c
from fieldkit.process import StageError
from fieldkit.trace import TraceError
from fieldkit.trials import steps
from fieldkit.trials.ground import Ground
from fieldkit.trials.holding import Outcome, hold
from fieldkit.trials.order import Order
from fieldkit.trials.player import Played

NOT_AS_IT_MUST: Final = 3


@sigterm_as_ctrl_c()
def perform(
    order: Order,
    ground: Ground,
    archive: Path,
    json_file: Path | None,
    *,
    keep: bool = False,
    told: str = "",
) -> int:
    """The exit code of the command. Raises click.ClickException.

    ``told``: where the user will find the archive, if that is elsewhere.
    """
    outcome, telling = Outcome(), _Telling(len(order.timeline))
    # Short, for the agents' sockets lie in it and the kernel takes no path above 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="cigarjack-"))
    try:
        _write(json_file, outcome)
        asyncio.run(
            hold(order, ground, folder, archive, outcome, telling.step, telling.played),
        )
    except (StageError, TraceError, OSError) as error:
        keep = True
        lines = (f"\n  {line}" for line in getattr(error, "log", ()))
        raise click.ClickException(f"{error}{''.join(lines)}") from None
    except KeyboardInterrupt:
        raise click.ClickException("Interrupted; everything was stopped.") from None
    finally:
        _write(json_file, outcome)
        if keep:
            click.echo(f"States and logs are in {folder}", err=True)
        else:
            shutil.rmtree(folder)
    click.echo("\n".join(_summary(outcome, told or str(archive))))
    return NOT_AS_IT_MUST if outcome.failures else 0


def _write(file: Path | None, outcome: Outcome) -> None:
    if file is not None:
        file.write_text(json.dumps(outcome.to_json(), indent=2) + "\n", encoding="utf-8")


class _Telling:
    """A line for each step, on standard error."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0

    def step(self, text: str) -> None:
        click.echo(f"… {text}", err=True)

    def played(self, one: Played) -> None:
        self._done += 1
        came = one.failure or one.ending.status or "done"
        mark = "✗" if one.failure else " "
        click.echo(f"{mark} {self._done}/{self._total} {steps.told(one.step)}: {came}", err=True)


def _summary(outcome: Outcome, archive: str) -> list[str]:
    paid = ", ".join(f"{count} {status}" for status, count in sorted(outcome.statuses.items()))
    return [
        f"{len(outcome.played)} steps in {outcome.took_s:.0f} s; payments: {paid or 'none'}.",
        *(outcome.failures or ["Every step went as it must, and the audit is clean."]),
        f"Archive: {archive}",
    ]
