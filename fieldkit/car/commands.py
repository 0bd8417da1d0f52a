"""``fieldkit car``: build the virtual car, look inside, run the tests that need one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from fieldkit.bench.progress import BenchProgress
from fieldkit.car import image, machine
from fieldkit.car.image import TREE, Image
from fieldkit.car.run import GUEST_FOLDER, JOB, Run
from fieldkit.car.workshop import CarError

T = TypeVar("T")
_TESTS: Final = "tests/car"
_JOURNEYS: Final = "journeys"
#: Which tests each car runs; that of the journeys plays them first. All take about as long, and
#: keep about half a processor of the host busy: most of a test is waiting.
CARS: Final[Mapping[str, Sequence[str]]] = {
    _JOURNEYS: ("deploy",),
    "radios": (
        *("bluez_radio", "bluez_faults", "bluez_left_adverts", "bluez_link"),
        *("kernel_radios", "network"),
    ),
    "agents": ("jack_and_phone", "doctor", "condition", "replay_to_air"),
}
#: By ARGUMENTS, says pytest with this exit code.
_NONE_CHOSEN: Final = 5


@click.group("car", context_settings={"help_option_names": ["-h", "--help"]})
def car() -> None:
    """A virtual car: Debian with the kernel's own Bluetooth and Wi-Fi.

    BlueZ, hostapd and wpa_supplicant are the real ones; only the air is simulated. Needs no
    hardware, no network once it is built, and is quicker with KVM but does not need it.
    """


@car.command()
def build() -> None:
    """Build the car's disk, unless it is there already. Takes a minute or two.

    It is kept in $XDG_CACHE_HOME/cigarjack (default: ~/.cache), and built again when its
    packages or guest files change. The project's code is not on it: that is shared when it runs.
    """
    with _plainly():
        click.echo(_image().folder)


@car.command()
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def shell(command: tuple[str, ...]) -> None:
    """Open a shell inside the car, or run COMMAND there and return its exit code.

    The work tree is at /opt/cigarjack, as it is now. Whatever is written, also to it, is forgotten
    in the end; what is written to /car is kept on the host if the exit code is not 0.
    """
    if command:
        _finish(shlex.join(command) + "\n")
    if not sys.stdin.isatty():
        raise click.ClickException("A shell needs a terminal. Without one, name a COMMAND to run.")
    with _plainly(), _run_folder() as folder:
        run = Run(_image(), folder, deadline_s=None)
        click.echo("Booting. Leave with Ctrl-D or exit.", err=True)
        sys.exit(_wait(machine.run_shell(run)))


@car.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(arguments: tuple[str, ...]) -> None:
    """Run tests/car inside the car. ARGUMENTS go to pytest, whose exit code is returned."""
    _finish(_tests(arguments))


def _written(command: Callable[..., None]) -> Callable[..., None]:
    """Options of where a run leaves what came of it."""
    for option in (
        click.option(
            "--json",
            "json_file",
            type=click.Path(dir_okay=False, writable=True, path_type=Path),
            help="Write what came of it to this file as well.",
        ),
        click.option(
            "--out",
            type=click.Path(file_okay=False, path_type=Path),
            default=Path("car-run"),
            show_default=True,
            help="Folder for results, report, logs and traces; those of an earlier run go.",
        ),
    ):
        command = option(command)
    return command


@car.command("run")
@_written
@click.option("--faults", is_flag=True, help="Then disturb the radios, and measure the recovery.")
@click.argument("names", nargs=-1, metavar="[JOURNEY]...")
def run_journeys(json_file: Path | None, out: Path, faults: bool, names: tuple[str, ...]) -> None:
    """Play the journeys of the demo inside the car, all or those named.

    Server, jack, phone and lane are machines of their own, with WPA3 Wi-Fi between phone and jack
    and BlueZ under every agent's radio. Exit code 0 only if every journey ended as it must and the
    auditor found nothing; 3 if one did not; 1 if they could not be played.
    """
    from fieldkit.car import play

    try:
        play.chosen(names)
        _empty(out, json_file)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
    with _plainly():
        run = Run(_image(), out.resolve())
        code = _wait(machine.run_job(run, _journeys(*(("--faults",) if faults else ()), *names)))
    _show(out, json_file)
    sys.exit(code)


@car.command(context_settings={"ignore_unknown_options": True})
@_written
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def check(json_file: Path | None, out: Path, arguments: tuple[str, ...]) -> None:
    """Play every journey with faults, and run all of tests/car, in three cars side by side.

    ARGUMENTS go to pytest; those that name tests choose them. Exit code 0 only if all ended well.
    """
    try:
        _empty(out, json_file)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
    with _plainly(), _run_folder() as folder:
        booted, began_s = _image(), time.monotonic()
        jobs = {}
        for name, script in scripts(arguments).items():
            shared = out.resolve() if name == _JOURNEYS else folder / name
            shared.mkdir(exist_ok=True)
            jobs[name] = (Run(booted, shared), script)
        codes = _wait(machine.run_side_by_side(jobs))
        _show(out, json_file, [run.folder for run, _ in jobs.values()])
        click.echo(f"The cars ran for {time.monotonic() - began_s:.0f} s.", err=True)
        sys.exit(max((code for code in codes if code != _NONE_CHOSEN), default=_NONE_CHOSEN))


def scripts(arguments: Sequence[str]) -> dict[str, str]:
    """What each car does, by its name."""
    played = _journeys("--faults")
    if any(map(_names_tests, arguments)):
        return {_JOURNEYS: _then(played, f"exit {_NONE_CHOSEN}\n"), "tests": _tests(arguments)}
    tested = {car: _tests(arguments, *map(_file, tests)) for car, tests in CARS.items()}
    return tested | {_JOURNEYS: _then(played, tested[_JOURNEYS])}


def _file(test: str) -> str:
    return f"{_TESTS}/test_{test}.py"


def _tests(arguments: Sequence[str], *chosen: str) -> str:
    """The script that runs pytest. What finds examples for properties takes seconds to load.

    ``chosen``: which tests, unless some of ``arguments`` name them.
    """
    named = any(_names_tests(argument) for argument in arguments)
    colour = "yes" if sys.stdout.isatty() else "no"
    lean = (f"--confcutdir={_TESTS}", "-p", "no:hypothesispytest")
    target = () if named else chosen or (_TESTS,)
    command = ("python", "-m", "pytest", f"--color={colour}", *lean, *target, *arguments)
    return shlex.join(command) + "\n"


def _journeys(*arguments: str) -> str:
    """The script that plays them."""
    from fieldkit.car import play

    return shlex.join(("python", "-m", play.__name__, GUEST_FOLDER, *arguments)) + "\n"


def _then(played: str, tested: str) -> str:
    """The script that tests whatever became of what it plays, and ends as the first that failed."""
    return (
        f"{played}played=$?\n({tested.rstrip()})\ntested=$?\nexit $((played ? played : tested))\n"
    )


def _show(out: Path, json_file: Path | None, tested: Sequence[Path] = ()) -> None:
    """Tell what came of the journeys, and what the tests in folders beside them have measured."""
    from fieldkit.car import play, radio_figures, table

    if (file := out / play.DOCUMENT).exists():
        document = json.loads(file.read_text(encoding="utf-8"))
        document |= radio_figures.measured(tested)
        file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        table.show(document)
        if json_file:
            shutil.copy(file, json_file)
    click.echo(f"Results, report, logs and traces are in {out}")


def _empty(out: Path, json_file: Path | None) -> None:
    """Make the folder, without what an earlier run left. Raises OSError, ValueError."""
    if out.is_dir() and any(out.iterdir()):
        if not (out / JOB).exists():
            raise ValueError(f"{out} holds something else; choose another folder with --out.")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    if json_file:
        json_file.write_text('{"ok": false, "journeys": []}\n', encoding="utf-8")


def _names_tests(argument: str) -> bool:
    return not argument.startswith("-") and (TREE / argument.partition("::")[0]).exists()


def _finish(script: str) -> None:
    """Build if need be, run a script in the car, and end this process with its exit code."""
    with _plainly(), _run_folder() as folder:
        run = Run(_image(), folder)
        began_s = time.monotonic()
        code = _wait(machine.run_job(run, script))
        click.echo(f"The car ran for {time.monotonic() - began_s:.0f} s.", err=True)
        sys.exit(code)


def _image() -> Image:
    with BenchProgress() as progress:
        return image.ready(progress.step)


def _wait(running: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(running)


@contextlib.contextmanager
def _run_folder() -> Iterator[Path]:
    """A folder for one run. It is kept if the run failed, and said where."""
    folder = Path(tempfile.mkdtemp(prefix="cigarjack-car-"))
    try:
        yield folder
    except SystemExit as ending:
        if ending.code:
            click.echo(f"Its logs are in {folder}", err=True)
        else:
            shutil.rmtree(folder)
        raise
    except KeyboardInterrupt:
        shutil.rmtree(folder)
        raise


@contextlib.contextmanager
def _plainly() -> Iterator[None]:
    """Tell a failure in a sentence."""
    try:
        yield
    except CarError as error:
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        raise click.ClickException("Interrupted; everything was stopped.") from None
