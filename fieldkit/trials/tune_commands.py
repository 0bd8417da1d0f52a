"""``fieldkit tune``: the rules that would have decided best over trials and scenarios."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fieldkit.trials import rules_file, trial_places, tune_tables
from fieldkit.trials.archive import Trial, TrialError
from fieldkit.trials.questions import Place
from fieldkit.trials.recorded_place import RecordedPlace
from fieldkit.trials.simulated_place import SimulatedPlace
from fieldkit.trials.tune_search import Found, search
from fieldkit.world.scenario import SCENARIOS_FOLDER, ScenarioError, load
from payment_device.sightings import LaneRules

#: Columns of the tables where no terminal says how many there are.
_WIDTH = 132
_ARCHIVE = click.Path(exists=True, path_type=Path)


@click.command("tune")
@click.argument("trials", nargs=-1, metavar="[TRIAL]...", type=_ARCHIVE)
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    metavar="NAME|FILE.toml",
    help="A scenario of fieldkit world to tune on as well; give it several times for more.",
)
@click.option("--folds", type=click.IntRange(2, 50), default=5, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Deals visits to the folds.")
@click.option(
    "--halvings",
    type=click.IntRange(0, 6),
    default=2,
    show_default=True,
    help="How many finer grids follow the coarse one.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write all figures, and every question that changes, to this file.",
)
@click.option(
    "--write",
    "rules_out",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write the rules to this file, as lines for the terminals' config.toml.",
)
def tune(
    trials: tuple[Path, ...],
    scenarios: tuple[str, ...],
    folds: int,
    seed: int,
    halvings: int,
    json_file: Path | None,
    rules_out: Path | None,
) -> None:
    """Find the rules by which the lanes of TRIALs would have decided best.

    Of a trial those charges count for which it was marked who stood at the lane.

    Tried are min_rssi_dbm, margin_db, settle_s, settle_samples and home_margin_db: fewest wrong
    choices first, then fewest customers who are not served. Every question is put to the terminal's
    own code. Part of the visits is held back in turn to tell how the rules do on others.
    """
    if not trials and not scenarios:
        raise click.UsageError("Name a trial, or a scenario with --scenario.")
    places: list[Place] = [_simulated(name) for name in scenarios]
    for trial in trials:
        places += _recorded(trial)
    with _bar() as progress:
        found = search(
            places, LaneRules(), folds=folds, seed=seed, halvings=halvings, progress=progress
        )
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    for part in tune_tables.tables(found, places):
        console.print(part)
    if json_file is not None:
        document = tune_tables.document(found, places)
        json_file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if rules_out is not None:
        rules_out.write_text(rules_file.text(found.rules, _about(found, places)), encoding="utf-8")
        console.print(f"Rules for config.toml: {rules_out}")


def _recorded(file: Path) -> list[RecordedPlace]:
    try:
        found = trial_places.places(Trial.open(file))
    except TrialError as error:
        raise click.ClickException(str(error)) from None
    if not found:
        raise click.ClickException(
            f"{file}: no charge was asked at a lane of which it was marked who stood there; mark"
            " it with: fieldkit trial mark TEXT --at-lane LANE --jack JACK"
        )
    return found


def _simulated(name: str) -> SimulatedPlace:
    file = Path(name) if name.endswith(".toml") else SCENARIOS_FOLDER / f"{name}.toml"
    try:
        return SimulatedPlace(load(file))
    except ScenarioError as error:
        raise click.ClickException(str(error)) from None


def _about(found: Found, places: Sequence[Place]) -> str:
    names = ", ".join(place.name for place in places)
    lines = [f"fieldkit tune, {len(found.tuning.questions)} questions of: {names}"]
    return "\n".join(lines + tune_tables.told_cautions(found))


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """On standard error, for a person; a program sees nothing."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("trying rules", total=None)
        yield lambda done, known: bar.update(task, completed=done, total=known)
