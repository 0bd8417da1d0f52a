"""``fieldkit world``: which jack is at the lane, tried on simulated places."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from fieldkit.world import report, tables
from fieldkit.world.scenario import Scenario, ScenarioError, load, shipped
from fieldkit.world.summary import Summary, summarise
from fieldkit.world.trial import Result, Trial

#: Columns of the tables where no terminal says how many there are.
_WIDTH = 132


@click.command("world")
@click.argument(
    "files",
    metavar="[SCENARIO.toml]...",
    nargs=-1,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option("--all", "all_of_them", is_flag=True, help="Every scenario of seeds/world.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write all figures to this file.",
)
@click.option(
    "--report",
    "report_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    default=Path("world-report.html"),
    show_default=True,
    help="Where the report goes.",
)
@click.option("--seed", type=int, help="Seed of all scenarios, in place of their own.")
def world(
    files: tuple[Path, ...],
    all_of_them: bool,
    json_file: Path | None,
    report_file: Path,
    seed: int | None,
) -> None:
    """Try the lane decision of the terminal on simulated places with cars.

    The terminal's own code hears what the radios of a scenario would hear and is asked at every
    stop; beside it two usual ways to decide. The same seed gives the same figures. Scenario files
    are described in docs/lane-decision.md. Exit code 1 if a scenario cannot be used.
    """
    if bool(files) == all_of_them:
        raise click.UsageError("Name scenario files, or all of them with --all.")
    if not report_file.parent.is_dir():
        raise click.ClickException(
            f"There is no folder {report_file.parent}; choose another with --report."
        )
    began_s = time.monotonic()
    try:
        scenarios = _read(shipped() if all_of_them else files)
        results = play(scenarios, seed)
    except ScenarioError as error:
        raise click.ClickException(str(error)) from None
    summary = summarise(results)
    about = report.About(
        made_at=datetime.now(UTC).strftime("%-d %B %Y, %H:%M UTC"),
        took_s=f"{time.monotonic() - began_s:.0f}",
        seed="of each scenario" if seed is None else str(seed),
        version=version("cigarjack"),
    )
    report_file.write_text(report.render(results, summary, about), encoding="utf-8")
    if json_file:
        json_file.write_text(json.dumps(_document(results, summary), indent=2) + "\n")
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    console.print(tables.tables(results, summary))
    console.print(f"\nReport: {report_file}")


def _read(files: Sequence[Path]) -> list[Scenario]:
    """All files, or the problems of all of them."""
    scenarios, problems = [], []
    for file in files:
        try:
            scenarios.append(load(file))
        except ScenarioError as error:
            problems.append(str(error))
    if problems:
        raise ScenarioError("\n".join(problems))
    return scenarios


def play(scenarios: Sequence[Scenario], seed: int | None = None) -> list[Result]:
    """Run them one after the other; a bar on standard error says how far it is."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    results = []
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=1.0)
        for number, scenario in enumerate(scenarios):
            if not console.is_terminal and len(scenarios) > 1:
                click.echo(f"{scenario.title} …", err=True)
            bar.update(task, description=scenario.title, completed=number / len(scenarios))

            def told(share: float, number: int = number) -> None:
                bar.update(task, completed=(number + share) / len(scenarios))

            results.append(Trial(scenario, seed).run(told))
    return results


def _document(results: Sequence[Result], summary: Summary) -> dict[str, object]:
    return {
        "scenarios": [
            {
                "name": result.scenario.name,
                "title": result.scenario.title,
                "seed": result.seed,
                "cars": result.cars,
                "adverts_heard": result.adverts,
                "min_rssi_dbm": [rules.min_rssi_dbm for rules in result.rules],
                "policies": {name: tally.to_json() for name, tally in result.tallies.items()},
            }
            for result in results
        ],
        "all": summary.to_json(),
    }
