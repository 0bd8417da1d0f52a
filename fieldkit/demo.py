"""``fieldkit demo``: the whole method on one machine, as real processes on virtual air."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from fieldkit import journeys, report
from fieldkit.cast import Cast
from fieldkit.journeys import Journey
from fieldkit.process import StageError
from fieldkit.results import DemoResult, JourneyResult
from fieldkit.screen import Screen, screen_for
from fieldkit.stage import SERVER, Stage
from fieldkit.trace import TraceError


class DemoFailedError(Exception):
    """The demo could not be run to its end. The text is for a person."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """``json_file`` None: no document. ``keep``: leave the stage running until Ctrl-C.

    ``seed`` None: that of the cast.
    """

    report_file: Path
    json_file: Path | None = None
    keep: bool = False
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """``folder`` is where state and logs are, None if they were not kept. ``lines``: to say."""

    result: DemoResult
    folder: Path | None
    lines: Sequence[str]


def begin(options: DemoOptions) -> None:
    """Until the demo has ended its document says that it has not, however it is ended.

    Raises DemoFailedError if what it is to write could not be written.
    """
    if not options.report_file.parent.is_dir():
        raise DemoFailedError(
            f"There is no folder {options.report_file.parent}; choose another with --report."
        )
    try:
        _write_document(DemoResult((), ()), options)
    except OSError as error:
        raise DemoFailedError(f"Cannot write {options.json_file}: {error.strerror}.") from None


async def run(cast: Cast, options: DemoOptions) -> DemoOutcome:
    """Play every journey and write what was asked for. Raises DemoFailedError.

    When it is interrupted, every process is stopped and nothing is left behind.
    """
    # Short, for the agents' sockets lie in it and the kernel takes no path above 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="cigarjack-"))
    try:
        outcome = await _run_in(folder, cast, options)
    except asyncio.CancelledError:
        shutil.rmtree(folder)
        raise
    if outcome.folder is None:
        shutil.rmtree(folder)
    return outcome


async def _run_in(folder: Path, cast: Cast, options: DemoOptions) -> DemoOutcome:
    began_s = time.monotonic()
    screen = screen_for(journeys.JOURNEYS)
    played: list[JourneyResult] = []
    async with Stage(cast, folder, seed=options.seed, progress=screen.step) as stage:
        try:
            with screen:
                await stage.provision()
                await play(stage, screen, journeys.JOURNEYS, played)
                screen.step("audit")
                result = DemoResult(played, await journeys.audit(stage))
            write_report(options.report_file, stage, result, time.monotonic() - began_s)
            _write_document(result, options)
        except (StageError, TraceError, OSError) as error:
            _write_document(DemoResult(played, ()), options)
            raise DemoFailedError("\n".join(_what_failed(stage, error))) from None
        lines = _summary(result, stage, options)
        if options.keep:
            # Before it is said that Ctrl-C ends it, for whoever reads that may press it at once.
            interrupted = _interruption()
            print("\n".join((*lines, *_by_hand(stage))), flush=True)
            await interrupted.wait()
            return DemoOutcome(result, folder, ["", f"Stopped. State and logs are in {folder}"])
    return DemoOutcome(result, None if result.ok else folder, lines)


async def play(
    stage: Stage, screen: Screen, chosen: Iterable[Journey], played: list[JourneyResult]
) -> None:
    """Play journeys; ``played`` grows with each, for the case of a failure."""
    for journey in chosen:
        screen.began(journey)
        played.append(await journeys.perform(stage, journey))
        screen.ended(played[-1])


def write_report(file: Path, stage: Stage, result: DemoResult, took_s: float) -> None:
    """Write demo-report.html. Raises OSError."""
    about = report.About(
        made_at=datetime.now(UTC).strftime("%-d %B %Y, %H:%M UTC"),
        took_s=f"{took_s:.1f}",
        seed=stage.seed,
        version=version("cigarjack"),
    )
    file.write_text(report.render(result, stage.events(), about), encoding="utf-8")


def _write_document(result: DemoResult, options: DemoOptions) -> None:
    if options.json_file:
        text = json.dumps(result.to_json(), indent=2) + "\n"
        options.json_file.write_text(text, encoding="utf-8")


def _summary(result: DemoResult, stage: Stage, options: DemoOptions) -> list[str]:
    good, count = sum(journey.ok for journey in result.journeys), len(result.journeys)
    lines = [f"{good} of {count} journeys ended as they must."]
    lines += [f"Audit: {finding}" for finding in result.findings] or ["Audit: clean."]
    lines.append(f"Report: {options.report_file}")
    if not result.ok:
        lines += ["", *ended_unasked(stage), f"State, traces and logs are kept in {stage.folder}"]
    return lines


def _what_failed(stage: Stage, error: Exception) -> list[str]:
    """Which process it was, the end of its log, and where the rest is."""
    lines = [f"The demo failed: {error}"]
    lines += [f"  {line}" for line in getattr(error, "log", ())] or ended_unasked(stage)
    return [*lines, f"State, traces and logs are kept in {stage.folder}"]


def ended_unasked(stage: Stage) -> list[str]:
    """The last log lines of processes that ended though nobody asked them to."""
    lines = []
    for process in stage.processes.values():
        if process.ended_unasked:
            lines.append(f"{process.name} has ended by itself; the end of {process.log}:")
            lines += [f"  {line}" for line in process.last_log()]
    return lines


def _by_hand(stage: Stage) -> list[str]:
    """How to use what is running, in commands that can be copied."""
    lane = stage.by_hand(stage.cast.terminals[0].name)
    phone, jack = stage.by_hand(stage.cast.phone.name), stage.by_hand(stage.cast.jack.name)
    server = stage.by_hand(SERVER)
    return [
        "",
        f"Everything still runs. The server is at {stage.processes[SERVER].ready['url']}",
        f"The car stands at {stage.cast.terminals[0].label}. In another shell:",
        "",
        *_path_to_commands(lane),
        f"  {lane} jacks",
        f"  {lane} charge 3.20 EUR --reference by-hand-1",
        "",
        "Above the owner's limit the phone asks, for up to a minute. In a third shell:",
        "",
        f"  {lane} charge 45.00 EUR --reference by-hand-2",
        f"  {phone} payments",
        f"  {phone} approve PAYMENT-ID     # or decline",
        f"  {phone} page                   # or in a browser: a link that opens it",
        f"  {lane} page                    # and the lane's page, for who charges",
        "",
        "An amount that is only held, then taken in part or released:",
        "",
        f"  {lane} charge 8.00 EUR --reference by-hand-3 --manual",
        f"  {lane} capture PAYMENT-ID 5.00 EUR     # or cancel PAYMENT-ID",
        "",
        "What everybody knows of it:",
        "",
        f"  {jack} status",
        f"  {server} payments list",
        f"  {server} payments show PAYMENT-ID",
        f"  {server} audit",
        "",
        "Ctrl-C ends it.",
    ]


def _path_to_commands(command: str) -> list[str]:
    """How the shell finds the commands, unless it finds those of this demo already."""
    folder = Path(sys.executable).parent
    found = shutil.which(command.split()[0])
    return [] if found and Path(found).parent == folder else [f'  export PATH="{folder}:$PATH"']


def _interruption() -> asyncio.Event:
    """Set by Ctrl-C and by SIGTERM, from now on in place of an end at once."""
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, interrupted.set)
    return interrupted
