"""``fieldkit trial play``: a whole trial from a scenario file."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

import click

from fieldkit.process import StageError
from fieldkit.trace import TraceError
from fieldkit.trials import machine, steps
from fieldkit.trials.player import Played
from fieldkit.trials.scenario import ScenarioError, parse
from fieldkit.trials.virtual_trial import Order, Outcome, hold, write_document

NOT_AS_IT_MUST = 3
CANNOT = 4


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--out",
    "archive",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the archive goes.  [default: NAME.trial of the scenario's NAME.toml]",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write what came of each step to this file.",
)
@click.option("--seed", type=int, help="Seed of air, mix and machines, in place of the scenario's.")
@click.option("--keep", is_flag=True, help="Keep states and logs, and say where.")
def play(
    file: Path, archive: Path | None, json_file: Path | None, seed: int | None, keep: bool
) -> None:
    """Play the trial of the scenario FILE, and write all that its agents recorded.

    Exit code 0 only if every step went as it must and the auditor found nothing; 3 if one did not;
    1 if it could not be played. docs/field-trials.md tells what a scenario file says.
    """
    archive = archive or Path(f"{file.stem}.trial")
    try:
        text = file.read_text(encoding="utf-8")
        order = Order.of(file.stem, parse(text), text, seed)
    except (ScenarioError, OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file} cannot be played:\n{error}") from None
    if reason := machine.why_none():
        raise click.ClickException(reason)
    outcome, folder = Outcome(), Path(tempfile.mkdtemp(prefix="cigarjack-"))
    telling = _Telling(len(order.timeline))
    try:
        write_document(json_file, outcome)
        asyncio.run(hold(order, folder, archive, outcome, telling.step, telling.played))
    except (StageError, TraceError, OSError) as error:
        keep = True
        lines = (f"\n  {line}" for line in getattr(error, "log", ()))
        raise click.ClickException(f"{error}{''.join(lines)}") from None
    except KeyboardInterrupt:
        raise click.ClickException("Interrupted; everything was stopped.") from None
    finally:
        write_document(json_file, outcome)
        if keep:
            click.echo(f"States and logs are in {folder}", err=True)
        else:
            shutil.rmtree(folder)
    click.echo("\n".join(_summary(outcome, archive)))
    sys.exit(NOT_AS_IT_MUST if outcome.failures else 0)


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


def _summary(outcome: Outcome, archive: Path) -> list[str]:
    paid = ", ".join(f"{count} {status}" for status, count in sorted(outcome.statuses.items()))
    return [
        f"{len(outcome.played)} steps in {outcome.took_s:.0f} s; payments: {paid or 'none'}.",
        *(outcome.failures or ["Every step went as it must, and the audit is clean."]),
        f"Archive: {archive}",
    ]
