"""``fieldkit report``: a field trial as one page, as JSON and as tables."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click
from rich.console import Console

from fieldkit.trials import documents, figures, trial_page
from fieldkit.trials.archive import Trial, TrialError
from fieldkit.trials.comparison import Comparison, compare
from fieldkit.trials.figures import Figures
from fieldkit.trials.timeline import lay_out

_ARCHIVE = click.Path(exists=True, path_type=Path)


@click.command("report")
@click.argument("trial", type=_ARCHIVE)
@click.option(
    "--out",
    "out_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Where the page goes (default: NAME-report.html here).",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write all figures to this file.",
)
@click.option(
    "--csv",
    "csv_folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write tables of payments, events, levels, incidents and clocks into this folder.",
)
@click.option(
    "--against", "other", type=_ARCHIVE, help="Another trial, to be told what is better or worse."
)
@click.option(
    "--slow",
    "slow_s",
    type=click.FloatRange(min=0, min_open=True),
    default=figures.USUAL_SLOW_MS / 1000,
    show_default=True,
    help="From how many seconds on a payment is slow, without its owner's time.",
)
def report(
    trial: Path,
    out_file: Path | None,
    json_file: Path | None,
    csv_folder: Path | None,
    other: Path | None,
    slow_s: float,
) -> None:
    """Tell what happened in a field TRIAL, and why.

    TRIAL is an archive (NAME.trial) or a folder of the same layout. The page is one file that loads
    nothing from anywhere: success, the cause of whatever failed or was slow, legs, lanes,
    incidents, and how well the times are known. Exit code 1 if a trial cannot be read.
    """
    waiting = Console(stderr=True)
    try:
        with waiting.status("Putting everything on one timeline …"):
            found = read(trial, slow_s * 1000)
            comparison = compare(found, read(other, slow_s * 1000)) if other else None
    except TrialError as error:
        raise click.ClickException(str(error)) from None
    page = out_file or Path(f"{_file_name(found.name)}-report.html")
    try:
        with waiting.status("Drawing …"):
            _write(page, found, comparison, json_file, csv_folder)
    except OSError as error:
        raise click.ClickException(
            f"{error.filename} cannot be written: {error.strerror}."
        ) from None
    _say(found)
    click.echo(f"Report: {page}")


def read(path: Path, slow_ms: float) -> Figures:
    """The figures of an archive. Raises TrialError."""
    trial = Trial.open(path)
    if not any(record.events for record in trial.agents):
        raise TrialError(f"{path} has no trace of any agent. Was it collected while they ran?")
    return figures.figures(trial.name, lay_out(trial), slow_ms, trial.truth)


def _file_name(trial: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in trial).strip(".-") or "trial"


def _write(
    page: Path,
    found: Figures,
    comparison: Comparison | None,
    json_file: Path | None,
    csv_folder: Path | None,
) -> None:
    made_at = datetime.now(UTC).strftime("%-d %B %Y, %H:%M UTC")
    about = trial_page.About(made_at, version("cigarjack"))
    page.write_text(trial_page.render(found, about, comparison), encoding="utf-8")
    if json_file is not None:
        told = documents.document(found)
        if comparison is not None:
            told["against"] = comparison.to_json()
        json_file.write_text(json.dumps(told, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    if csv_folder is not None:
        csv_folder.mkdir(parents=True, exist_ok=True)
        for name, rows in documents.tables(found).items():
            with (csv_folder / name).open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows(rows)


def _say(found: Figures) -> None:
    """What is on top of the page, and each trouble with its cause."""
    low, high = found.success.interval
    click.echo(
        f"{found.success.events} of {found.success.trials} payments succeeded "
        f"(95 % interval {low:.1%} to {high:.1%})"
    )
    for judged in found.troubled:
        assert judged.cause is not None  # that is what troubled means
        attempt = judged.attempt
        at = found.timeline.clock_text(attempt.asked_ns)
        click.echo(f"  {at} {attempt.terminal} {attempt.outcome.value}: {judged.cause.text}")
    for text in found.timeline.alignment.statements:
        click.echo(f"  clocks: {text}")
