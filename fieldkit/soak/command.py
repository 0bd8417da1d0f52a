"""``fieldkit soak``: agents under payments and faults for hours."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

import click

from fieldkit.interruption import sigterm_as_ctrl_c
from fieldkit.process import StageError
from fieldkit.soak.page import render, told_s
from fieldkit.soak.soak import Bounds, Outcome, Soak
from fieldkit.trace import TraceError
from fieldkit.trials import machine
from fieldkit.trials.scenario import SCENARIOS_FOLDER, load
from twochannel.protocol.beacon import DEFAULT_ROTATION_EXPONENT

_SCENARIO: Final = SCENARIOS_FOLDER / "soak.toml"
_NOT_AS_IT_MUST: Final = 3
_USUAL: Final = Bounds()


@click.command("soak")
@click.option("--hours", type=click.FloatRange(0.01, 1000), required=True, help="For how long.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of payments and faults.")
@click.option(
    "--rotation-exponent",
    type=click.IntRange(4, 8),
    default=DEFAULT_ROTATION_EXPONENT,
    show_default=True,
    help="Jacks have a new code every 2^N seconds: with 4 an hour has the codes of sixteen.",
)
@click.option(
    "--report",
    "report_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    default=Path("soak-report.html"),
    show_default=True,
    help="Where the report goes.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write every sample and figure to this file.",
)
@click.option(
    "--most-memory",
    type=click.FloatRange(min=0),
    default=_USUAL.memory_mib,
    show_default=True,
    help="Bound of an agent's growth, MiB an hour.",
)
@click.option(
    "--most-descriptors",
    type=click.FloatRange(min=0),
    default=_USUAL.descriptors,
    show_default=True,
    help="Bound of an agent's growth, open descriptors an hour.",
)
@sigterm_as_ctrl_c()
def soak(
    hours: float,
    seed: int,
    rotation_exponent: int,
    report_file: Path,
    json_file: Path | None,
    most_memory: float,
    most_descriptors: float,
) -> None:
    """Let server, two cars and two lanes pay without a pause while things go wrong.

    Needs no hardware: virtual air, and a simulated machine for each agent. Ctrl-C ends it early and
    in order, with a report so far. Exit code 0 only if payments ended as they must, the audit is
    clean and nothing certainly grows faster than its bound; 3 if not; 1 if it could not be run.
    """
    if not report_file.parent.is_dir():
        raise click.ClickException(
            f"There is no folder {report_file.parent}; choose another with --report."
        )
    if reason := machine.why_none():
        raise click.ClickException(reason)
    outcome = Outcome(seed, Bounds(most_memory, most_descriptors), rotation_exponent)
    folder, failure = Path(tempfile.mkdtemp(prefix="cigarjack-")), ""
    try:
        asyncio.run(Soak(load(_SCENARIO), outcome, _tell).run(folder, hours))
    except (StageError, TraceError, OSError) as error:
        failure = str(error) + "".join(f"\n  {line}" for line in getattr(error, "log", ()))
        outcome.failures.append(str(error))
    except KeyboardInterrupt:
        raise click.ClickException("Interrupted; everything was stopped.") from None
    finally:
        # What has failed is looked at: its logs stay.
        if not failure:
            shutil.rmtree(folder)
    report_file.write_text(render(outcome), encoding="utf-8")
    if json_file:
        json_file.write_text(json.dumps(outcome.to_json(), indent=1) + "\n", encoding="utf-8")
    click.echo("\n".join(_summary(outcome, report_file)))
    if failure:
        raise click.ClickException(f"{failure}\nStates and logs are in {folder}")
    sys.exit(_NOT_AS_IT_MUST if outcome.problems else 0)


def _tell(text: str) -> None:
    click.echo(f"… {text}", err=True)


def _summary(outcome: Outcome, report_file: Path) -> list[str]:
    count, faults = len(outcome.paid), len(outcome.faults)
    lasted = told_s(outcome.lasted_s)
    return [
        f"{count} payments and {faults} faults in {lasted}, seed {outcome.seed}; "
        f"{outcome.codes.total()} codes, each for {1 << outcome.rotation_exponent} s.",
        *(outcome.problems or ["All is well, and the audit is clean."]),
        f"Report: {report_file}",
    ]
