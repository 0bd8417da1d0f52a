"""``fieldkit trial play``: a whole trial from a scenario file, on air, in the car or on a bench."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from fieldkit.hosts import Bench, BenchError
from fieldkit.trials import machine, shortcomings
from fieldkit.trials.bench_ground import BenchGround
from fieldkit.trials.order import Order
from fieldkit.trials.performance import perform
from fieldkit.trials.proving_ground import ProvingGround
from fieldkit.trials.scenario import ScenarioError
from fieldkit.trials.shortcomings import Shortcoming

AIR: Final = "air"
CAR: Final = "car"
#: The exit code where the place cannot do what the scenario says.
CANNOT: Final = 4


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--on",
    "place",
    default=AIR,
    show_default=True,
    metavar="air|car|BENCH.toml",
    help="This machine's virtual air, the virtual car, or the machines of a bench file.",
)
@click.option("--leave-out", is_flag=True, help="Play without what the place cannot do.")
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
    file: Path,
    place: str,
    leave_out: bool,
    archive: Path | None,
    json_file: Path | None,
    seed: int | None,
    keep: bool,
) -> None:
    """Play the trial of the scenario FILE, and write all that its agents recorded.

    What the place cannot do is told before anything starts, and refused unless it may be left out.
    Exit code 0 only if every step went as it must and the auditor found nothing; 3 if one did not;
    4 if the place cannot do it; 1 if it could not be played. docs/field-trials.md tells what a
    scenario file says.
    """
    archive = archive or Path(f"{file.stem}.trial")
    try:
        order = Order.of(file, seed)
        bench = None if place in {AIR, CAR} else Bench.load(Path(place))
    except (ScenarioError, BenchError) as error:
        raise click.ClickException(f"{file} cannot be played on {place}:\n{error}") from None
    found = _lacks(order, place, bench)
    _tell(found, place, leave_out=leave_out)
    left = order.without([one.number for one in found if one.number is not None])
    if not left.timeline:
        click.echo("Nothing is left to play.", err=True)
        sys.exit(CANNOT)
    if place == CAR:
        sys.exit(_in_car(file, order, found, archive, json_file))
    if bench is not None:
        lanes = {lane.name for lane in order.scenario.lanes} & bench.terminals.keys()
        left = left.with_right_clocks().at(lanes)
        terminals = {name: bench.terminals[name] for name in lanes}
        bench = bench.model_copy(update={"terminals": terminals})
        sys.exit(perform(left, BenchGround(bench), archive, json_file, keep=keep))
    if reason := machine.why_none():
        raise click.ClickException(reason)
    ground = ProvingGround(left.scenario, left.seed)
    sys.exit(perform(left, ground, archive, json_file, keep=keep))


def _lacks(order: Order, place: str, bench: Bench | None) -> Sequence[Shortcoming]:
    if bench is not None:
        return shortcomings.on_bench(bench, order.scenario, order.timeline)
    if place == CAR:
        return shortcomings.in_car(order.scenario, order.timeline)
    return ()


def _tell(found: Sequence[Shortcoming], place: str, *, leave_out: bool) -> None:
    """Ends the command if there is something that may not be left out."""
    for one in found:
        click.echo(f"{'left out' if leave_out else 'cannot'}: {one}", err=True)
    if found and not leave_out:
        click.echo(f"{place} cannot do all of it; --leave-out plays the rest.", err=True)
        sys.exit(CANNOT)


def _in_car(
    file: Path,
    order: Order,
    found: Sequence[Shortcoming],
    archive: Path,
    json_file: Path | None,
) -> int:
    """Play it in the virtual car, which is built first if need be."""
    from fieldkit.bench.progress import BenchProgress
    from fieldkit.car import image
    from fieldkit.car.machine import run_job
    from fieldkit.car.run import GUEST_FOLDER, Run
    from fieldkit.car.workshop import CarError
    from fieldkit.trials import play_in_car

    numbers = [str(one.number) for one in found if one.number is not None]
    told = str(archive)
    line = ("python", "-m", play_in_car.__name__, GUEST_FOLDER, order.name, str(order.seed), told)
    with tempfile.TemporaryDirectory(prefix="cigarjack-car-") as name:
        folder = Path(name)
        shutil.copy(file, folder / f"{order.name}.toml")
        try:
            with BenchProgress() as progress:
                booted = image.ready(progress.step)
            code = asyncio.run(run_job(Run(booted, folder), shlex.join((*line, *numbers)) + "\n"))
        except CarError as error:
            raise click.ClickException(str(error)) from None
        for made, to in ((f"{order.name}.trial", archive), (f"{order.name}.json", json_file)):
            if to is not None and (folder / made).exists():
                shutil.copy(folder / made, to)
    return code
