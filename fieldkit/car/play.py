"""Inside the virtual car: plays journeys on its streets, and leaves all that came of it.

``python -m fieldkit.car.play FOLDER [--faults] JOURNEY…`` writes to FOLDER::

    run.json       every journey and fault, the audit, and what was measured
    report.html    as that of the demo
    logs/          what every process said: agents, air, hostapd, wpa_supplicant, bluetoothd
    traces/        trace of every agent
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from fieldkit import demo, journeys
from fieldkit.car import faults, measures
from fieldkit.car.daemon import run
from fieldkit.car.faults import FaultResult
from fieldkit.car.measures import RadioFigures
from fieldkit.car.streets import WITNESS, Streets
from fieldkit.cast import DEMO_CAST, Cast, load
from fieldkit.journeys import Journey
from fieldkit.process import StageError
from fieldkit.results import AuditCheck, DemoResult, JourneyResult
from fieldkit.screen import PlainScreen
from fieldkit.sniffer import Sniffer
from fieldkit.stage import Stage
from fieldkit.trace import TraceError
from twochannel.radio.port import RadioError

DOCUMENT: Final = "run.json"
REPORT: Final = "report.html"
NOT_AS_IT_MUST: Final = 3
#: Some two hundred adverts.
_BESIDE_A_LANE_S: Final = 20.0


@dataclass(slots=True)
class Outcome:
    """What a run has come to so far."""

    journeys: list[JourneyResult] = field(default_factory=list)
    faults: list[FaultResult] = field(default_factory=list)
    audit: Sequence[AuditCheck] = ()
    radio: RadioFigures | None = None

    @property
    def ok(self) -> bool:
        """Everything ended as it must, and the books are clean."""
        result = DemoResult(self.journeys, self.audit)
        return result.ok and all(fault.ok for fault in self.faults)

    def to_json(self) -> dict[str, Any]:
        """The document of ``fieldkit car run --json``: that of the demo, and more."""
        result = DemoResult(self.journeys, self.audit)
        return {
            "ok": self.ok,
            "journeys": result.to_json()["journeys"],
            "audit": {"clean": result.clean, "findings": result.findings},
            "radio": self.radio.to_json() if self.radio else None,
            "faults": [fault.to_json() for fault in self.faults],
        }


async def play(
    playlist: Sequence[Journey], out: Path, outcome: Outcome, *, with_faults: bool
) -> None:
    """Play on the streets; ``outcome`` grows. Raises StageError, TraceError, OSError."""
    screen, streets = PlainScreen(), Streets()
    cast = _needed(playlist)
    first, *closed = (terminal.name for terminal in cast.terminals)
    with tempfile.TemporaryDirectory(prefix="cj-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with Stage(cast, folder, venue=streets, progress=screen.step) as stage:
            began_s = time.monotonic()
            try:
                await stage.provision(closed)
                async with Sniffer(stage.radio(WITNESS)) as witness:
                    await witness.pass_by()
                    for journey in playlist:
                        await _open_only(stage, {first, *journey.visits})
                        await demo.play(stage, screen, [journey], outcome.journeys)
                    screen.step("radio beside a lane")
                    outcome.radio = await _radio(stage, witness)
                for fault in faults.on(streets, stage.cast.jack.name) if with_faults else ():
                    screen.step(fault.title)
                    outcome.faults.append(await faults.perform(stage, fault))
                screen.step("audit")
                outcome.audit = await journeys.audit(stage)
                result = DemoResult(outcome.journeys, outcome.audit)
                demo.write_report(out / REPORT, stage, result, time.monotonic() - began_s)
            finally:
                print("\n".join(demo.ended_unasked(stage)), flush=True)
                said = await run("journalctl", "--quiet", "--no-pager", "--unit=bluetooth")
                (folder / "logs" / "bluetoothd.log").write_text(said, encoding="utf-8")
                await asyncio.to_thread(keep, folder, out)


def _needed(playlist: Sequence[Journey]) -> Cast:
    """Who takes part in these journeys. The first terminal is where the radios are measured."""
    whole = load(DEMO_CAST)
    visited = {name for journey in playlist for name in journey.visits}
    radios = {name for journey in playlist for name in journey.extra_radios}
    return whole.at({whole.terminals[0].name} | visited, radios)


async def _open_only(stage: Stage, terminals: Collection[str]) -> None:
    """Start and stop terminals, so that none works for nobody: emulated, listening costs much."""
    for terminal in (one.name for one in stage.cast.terminals):
        process = stage.processes.get(terminal)
        runs = process is not None and process.running
        if runs and terminal not in terminals:
            await stage.processes[terminal].stop()
        elif not runs and terminal in terminals:
            await stage.start(terminal)


async def _radio(stage: Stage, witness: Sniffer) -> RadioFigures | None:
    """Measured while the car stands at the first lane and nobody does anything."""
    lane = stage.cast.terminals[0].name
    await journeys.arrive(stage, lane)
    began_ns = time.monotonic_ns()
    await asyncio.sleep(_BESIDE_A_LANE_S)
    of_jack = stage.traces[stage.cast.jack.name].events()
    heard = [e for e in stage.traces[lane].events() if e.event == "code_heard"]
    return measures.figures(witness.codes, heard, of_jack, (began_ns, time.monotonic_ns()))


def keep(folder: Path, out: Path) -> None:
    """Copy logs and traces out of a stage's folder, whatever has happened."""
    shutil.copytree(folder / "logs", out / "logs", dirs_exist_ok=True)
    (out / "traces").mkdir(exist_ok=True)
    for trace in folder.glob("*/trace.jsonl"):
        shutil.copy(trace, out / "traces" / f"{trace.parent.name}.jsonl")


def chosen(names: Sequence[str]) -> list[Journey]:
    """The journeys of these names, in their order; all if there are none. Raises ValueError."""
    known = {journey.name: journey for journey in journeys.JOURNEYS}
    if unknown := set(names) - known.keys():
        there_are = ", ".join(known)
        raise ValueError(f"No journey is called {', '.join(sorted(unknown))}; it is {there_are}.")
    return [journey for journey in known.values() if not names or journey.name in names]


@click.command()
@click.argument("out", type=click.Path(file_okay=False, exists=True, path_type=Path))
@click.option("--faults", "with_faults", is_flag=True)
@click.argument("names", nargs=-1)
def main(out: Path, with_faults: bool, names: tuple[str, ...]) -> None:
    """Play the journeys NAMES, or all, in this virtual car; results go to the folder OUT."""
    outcome, failure = Outcome(), ""
    try:
        asyncio.run(play(chosen(names), out, outcome, with_faults=with_faults))
    except (StageError, TraceError, RadioError, OSError) as error:
        failure = str(error) + "".join(f"\n  {line}" for line in getattr(error, "log", ()))
    text = json.dumps(outcome.to_json(), indent=2) + "\n"
    (out / DOCUMENT).write_text(text, encoding="utf-8")
    if failure:
        raise click.ClickException(failure)
    sys.exit(0 if outcome.ok else NOT_AS_IT_MUST)


if __name__ == "__main__":
    main()
