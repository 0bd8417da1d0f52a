"""``fieldkit replay`` and ``fieldkit extract``: what today's code makes of what was recorded."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from fieldkit.air_commands import CommandError
from fieldkit.air_control import AirControl
from fieldkit.bench.progress import BenchProgress
from fieldkit.trials import extraction, lane_case, replay_tables, rules_file, to_air
from fieldkit.trials.archive import Trial, TrialError
from fieldkit.trials.extraction import Expectation, ExtractionError
from fieldkit.trials.lane_recording import LaneRecording, Outcome
from fieldkit.trials.replay_tables import LaneReplay
from fieldkit.trials.replaying import replay
from fieldkit.trials.terminal_record import recordings
from fieldkit.trials.to_air import Played

#: At least one decision comes out otherwise than it was recorded.
DIFFERS: Final = 3
#: How a payment ends that nothing went wrong with.
_PAID: Final = frozenset({"authorized", "captured", "voided"})
_ARCHIVE: Final = click.Path(exists=True, path_type=Path)
_WIDTH: Final = 120


def _rule_options(command: Any) -> Any:
    """Rules in place of those that were recorded."""
    for name, kind, told in (
        ("home_margin_db", float, "Lead over other lanes, in dB."),
        ("settle_samples", int, "Adverts before a jack can be chosen."),
        ("settle_s", float, "Seconds before a jack can be chosen."),
        ("margin_db", float, "Lead over other jacks, in dB."),
        ("min_rssi_dbm", float, "Level from which a jack is near enough, in dBm."),
    ):
        option = f"--{name.replace('_', '-')}"
        command = click.option(option, name, type=kind, help=told)(command)
    return command


@click.command("replay", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("trial_file", metavar="TRIAL", type=_ARCHIVE)
@click.option("--lane", "lanes", multiple=True, help="Only this terminal; may be repeated.")
@click.option(
    "--rules",
    "rules_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Decide by the rules in this file, a terminal's config.toml or one of fieldkit tune.",
)
@_rule_options
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write every decision, recorded and replayed, to this file.",
)
@click.option(
    "--to-air",
    "air",
    metavar="HOST:PORT",
    help="Rather let a controller of the virtual air at this control address (fieldkit air) "
    "receive the adverts again, so that a whole terminal hears them.",
)
@click.option("--controller", help="With --to-air: which.  [default: the terminal's name]")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True, max=20),
    default=1.0,
    show_default=True,
    help="With --to-air: how many times as fast as they came.",
)
def replay_command(
    trial_file: Path,
    lanes: Sequence[str],
    rules_path: Path | None,
    json_file: Path | None,
    air: str | None,
    controller: str | None,
    speed: float,
    **changes: float | None,
) -> None:
    """Put what the lanes of a TRIAL heard to the terminal's code of today, and compare.

    Every recorded decision is decided again from the recorded adverts. Exit code 0 if all come
    out as they were recorded, 3 if some do not, 1 if nothing could be replayed. What the recording
    does not suffice for is told apart, and never guessed.
    """
    with _plainly():
        trial = Trial.open(trial_file)
        found = list(recordings(trial, lanes))
        if not found:
            raise click.ClickException(_nothing(trial, lanes))
        if air is not None:
            played = asyncio.run(_to_air(air, controller, _only(found), trial, speed))
            click.echo(replay_tables.told_played(played, speed))
            return
        changed = rules_file.read(rules_path) if rules_path else {}
        changed |= {name: value for name, value in changes.items() if value is not None}
        done = [_replayed(recording, changed) for recording in found]
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    for part in replay_tables.tables(done):
        console.print(part)
    if json_file is not None:
        document = replay_tables.document(trial.name, changed, done)
        json_file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if not any(lane.decided for lane in done):
        raise click.ClickException("No decision could be replayed; the table says why.")
    sys.exit(DIFFERS if any(lane.differing for lane in done) else 0)


def _replayed(recording: LaneRecording, changed: Mapping[str, float]) -> LaneReplay:
    """Raises RulesError."""
    rules = rules_file.changed(recording.rules, changed) if recording.rules and changed else None
    began_s = time.perf_counter()
    decisions = list(replay(recording, rules))
    return LaneReplay(recording, decisions, time.perf_counter() - began_s)


async def _to_air(
    air: str, controller: str | None, recording: LaneRecording, trial: Trial, speed: float
) -> Played:
    """Raises ClickException."""
    heard = to_air.sightings(trial, recording)
    name = controller or recording.lane
    try:
        with BenchProgress() as progress:
            async with AirControl(air) as control:
                return await to_air.play(
                    control, name, heard, speed=speed, progress=_counted(progress, name, len(heard))
                )
    except (OSError, ValueError):
        raise click.ClickException(
            f"no virtual air is controlled at {air}; start one: fieldkit air PLAN.toml"
        ) from None
    except CommandError as error:
        raise click.ClickException(f"{error}; name another with --controller") from None


def _counted(progress: BenchProgress, controller: str, total: int) -> to_air.Progress:
    """Tells what is waited for until the first advert is sent, then how many were."""
    progress.step(f"waiting until the host of {controller} scans")

    def tell(number: int) -> None:
        if number == 1:
            progress.step("sending adverts", total)
        progress.advance()

    return tell


def _only(found: Sequence[LaneRecording]) -> LaneRecording:
    """The one with the most adverts, of one lane. Raises UsageError."""
    lanes = sorted({recording.lane for recording in found})
    if len(lanes) > 1:
        raise click.UsageError(f"say which terminal: --lane {' or '.join(lanes)}")
    return max(found, key=lambda recording: recording.adverts)


def _nothing(trial: Trial, lanes: Sequence[str]) -> str:
    there = [record.agent for record in trial.agents if record.party == "terminal"]
    if lanes and there:
        return f"There is no terminal {' or '.join(lanes)} in it; there are: {', '.join(there)}."
    return "There is no terminal in it."


@click.command("extract", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("trial_file", metavar="TRIAL", type=_ARCHIVE)
@click.argument("payment")
@click.option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("tests/trials"),
    show_default=True,
    help="Folder for the test and for the file that it reads.",
)
@click.option(
    "--expect",
    metavar="OUTCOME",
    help="What the test wants: chosen:HANDLE, ambiguous or none.  [default: as it was recorded]",
)
def extract_command(trial_file: Path, payment: str, folder: Path, expect: str | None) -> None:
    """Make a test of one PAYMENT of a TRIAL: what its lane heard, and what it must decide.

    The seconds before the decision become a small file, without other payments and with codes that
    are not the real ones; a module beside it replays them through the terminal's code. What was
    written is decided once: exit code 0 if the test passes with the code of today, 3 if it does
    not, 1 if no test could be made.
    """
    try:
        wanted = Expectation.parse(expect) if expect else None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with _plainly():
        trial = Trial.open(trial_file)
        trace = _trace(trial, payment)
        case = extraction.extract(trial.name, recordings(trial), payment, trace)
        module = folder / f"{extraction.module_name(case)}.py"
        folder.mkdir(parents=True, exist_ok=True)
        module.with_suffix(".json").write_text(case.to_text(), encoding="utf-8")
        wanted = wanted or Expectation.of(case.decision.answer)
        module.write_text(extraction.module_text(case, wanted), encoding="utf-8")
        today = lane_case.load(module.with_suffix(".json")).decided()
    passes = wanted.met_by(today)
    click.echo(f"Recorded: {case.decision.answer}. Wanted: {wanted}. Today: {today}.")
    click.echo(
        f"With the code of today the test {'passes' if passes else 'fails'}: pytest {module}"
    )
    if wanted.outcome is Outcome.CHOSEN and (status := extraction.settled(trace)) not in _PAID:
        click.echo(
            f"It is of the lane's choice alone. The payment was {status} after that: "
            "fieldkit report tells why."
        )
    sys.exit(0 if passes else DIFFERS)


def _trace(trial: Trial, payment: str) -> list[Mapping[str, Any]]:
    """What all agents wrote about a payment."""
    return [
        {
            "agent": event.agent,
            "event": event.event,
            "mono_ns": event.mono_ns,
            "fields": dict(event.fields),
        }
        for record in trial.agents
        for event in record.events
        if event.payment == payment and event.event != "lane_decision"
    ]


@contextmanager
def _plainly() -> Iterator[None]:
    """Tell a failure in a sentence."""
    try:
        yield
    except (
        TrialError,
        ExtractionError,
        lane_case.CaseError,
        rules_file.RulesError,
        OSError,
    ) as error:
        raise click.ClickException(str(error)) from None
