"""``fieldkit bench``: measure speed and memory of the real processes."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console, Group

from fieldkit.bench import (
    agent_footprint,
    bytecode,
    ciba_peer,
    latency,
    machine,
    neighbours,
    phone_streams,
    registered_jacks,
    replay_speed,
    server_load,
    tables,
)
from fieldkit.bench.machine import Machine
from fieldkit.bench.progress import BenchProgress
from fieldkit.bench.server_load import Site
from fieldkit.cast import DEMO_CAST, CastError, load
from fieldkit.interruption import sigterm_as_ctrl_c
from fieldkit.journeys import JourneyFailedError
from fieldkit.process import StageError
from fieldkit.trace import TraceError

#: Kept over a reboot (FHS 3.0, section 5.15), hence on a disk; /tmp is often in memory, where a
#: commit costs nothing.
_ON_DISK: Final = Path("/var/tmp")  # noqa: S108
_IN_MEMORY: Final = "tmpfs"

#: Sizes of the registry that are compared: the smallest, and what a country's may come to.
JACKS: Final = (1, 1_000, 1_000_000)

Measure = Callable[[Path, BenchProgress], Coroutine[Any, Any, Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class Bench:
    """One measurement to be made: its name, the command that repeats it, how, and its tables."""

    name: str
    command: str
    measure: Measure
    tables: Callable[[Any], list[Group]]


def json_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--json",
        "json_file",
        type=click.Path(dir_okay=False, writable=True, path_type=Path),
        help="Write all figures to this file.",
    )(command)


def folder_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--folder",
        type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
        help="Where the agents keep their state meanwhile: choose the disk to be measured.  "
        "[default: /var/tmp]",
    )(command)


@click.group("bench", context_settings={"help_option_names": ["-h", "--help"]})
def bench() -> None:
    """Measure speed and memory of the real processes; no hardware and no root needed.

    Figures depend on the machine and on what else it does: compare them within one run. What
    each means is said in docs/measurements.md.
    """


@bench.command("latency")
@click.option("-n", "--payments", type=click.IntRange(min=1), default=50, show_default=True)
@folder_option
@json_option
def latency_command(payments: int, folder: Path | None, json_file: Path | None) -> None:
    """From a charge that is typed to a captured payment, leg by leg."""
    perform([latency_bench(payments)], folder, json_file)


@bench.command("server")
@click.option("--payments", type=click.IntRange(min=1), default=500, show_default=True)
@click.option("--concurrency", type=click.IntRange(1, 64), default=16, show_default=True)
@click.option(
    "--servers",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    help="So many over one database, which --database must name.",
)
@click.option("--database", default="", help="URL of an empty PostgreSQL.  [default: SQLite]")
@click.option(
    "--jacks",
    type=click.IntRange(min=1),
    help="So many are registered in all: the others are paired and never pay. A million take 5 GB"
    " of disk and some minutes before the first payment.  [default: one for each lane]",
)
@click.option(
    "--peer",
    type=click.Choice([ciba_peer.NAME]),
    help="Measure this in the same run: OpenID CIBA, installed with npm into ~/.cache.",
)
@click.option(
    "--profile", is_flag=True, help="Then so many payments again, and where the server's time goes."
)
@folder_option
@json_option
def server_command(
    payments: int,
    concurrency: int,
    servers: int,
    database: str,
    jacks: int | None,
    peer: str | None,
    profile: bool,
    folder: Path | None,
    json_file: Path | None,
) -> None:
    """What a whole payment costs the server, and how many it does in a second."""
    if servers > 1 and not database.startswith("postgresql"):
        raise click.UsageError("Several servers share a PostgreSQL: name it with --database.")
    site = Site(payments, concurrency, servers, database, peer is not None, profile, jacks or 0)
    if jacks is not None and jacks < site.lanes:
        raise click.UsageError(
            f"{site.lanes} lanes pay, each with a jack of its own: give --jacks {site.lanes} or"
            " more, or fewer lanes with --concurrency."
        )
    perform([server_bench(site)], folder, json_file)


@bench.command("streams")
@click.option("--phones", type=click.IntRange(1, 100_000), default=5_000, show_default=True)
@click.option(
    "--idle-s",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    help="For so long nothing happens; the server's longest round is 15 s.",
)
@folder_option
@json_option
def streams_command(phones: int, idle_s: int, folder: Path | None, json_file: Path | None) -> None:
    """What connected phones cost the server: memory, and processor time while nothing happens."""
    perform([streams_bench(phones, idle_s)], folder, json_file)


@bench.command("agents")
@click.option("--payments", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--restarts", type=click.IntRange(min=1), default=5, show_default=True)
@folder_option
@json_option
def agents_command(
    payments: int, restarts: int, folder: Path | None, json_file: Path | None
) -> None:
    """How fast the agents start, and the memory they hold after many payments."""
    perform([agents_bench(payments, restarts)], folder, json_file)


@bench.command("jacks")
@click.option(
    "--jacks",
    type=click.IntRange(min=1),
    multiple=True,
    default=JACKS,
    show_default=True,
    help="How many are registered; give it several times to compare.",
)
@folder_option
@json_option
def jacks_command(jacks: tuple[int, ...], folder: Path | None, json_file: Path | None) -> None:
    """What registered jacks cost the server: rotation, memory, look-up of a code."""
    perform([jacks_bench(jacks)], folder, json_file)


@bench.command("replay")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@folder_option
@json_option
def replay_command(rounds: int, folder: Path | None, json_file: Path | None) -> None:
    """How fast recorded adverts are replayed through a terminal's decision."""
    perform([replay_bench(rounds)], folder, json_file)


@bench.command("all")
@folder_option
@json_option
def all_command(folder: Path | None, json_file: Path | None) -> None:
    """All measurements, each as often as it does by itself."""
    benches = [
        latency_bench(50),
        server_bench(Site(500, 16)),
        agents_bench(100, 5),
        jacks_bench(JACKS),
        replay_bench(5),
    ]
    perform(benches, folder, json_file)


def latency_bench(payments: int) -> Bench:
    """``fieldkit bench latency``."""
    return Bench(
        "latency",
        f"fieldkit bench latency -n {payments}",
        lambda folder, progress: latency.measure(load(DEMO_CAST), folder, payments, progress),
        tables.latency_tables,
    )


def server_bench(site: Site) -> Bench:
    """``fieldkit bench server``. The database's address is the machine's own affair."""
    return Bench(
        "server",
        f"fieldkit bench server --payments {site.payments} --concurrency {site.concurrency}"
        + (f" --servers {site.servers}" if site.servers > 1 else "")
        + (" --database URL" if site.database else "")
        + (f" --jacks {site.jacks}" if site.jacks else "")
        + (f" --peer {ciba_peer.NAME}" if site.peer else "")
        + (" --profile" if site.profile else ""),
        lambda folder, progress: server_load.measure(folder, site, progress),
        tables.server_tables,
    )


def streams_bench(phones: int, idle_s: int) -> Bench:
    """``fieldkit bench streams``."""
    return Bench(
        "streams",
        f"fieldkit bench streams --phones {phones} --idle-s {idle_s}",
        lambda folder, progress: phone_streams.measure(folder, phones, idle_s, progress),
        tables.streams_tables,
    )


def agents_bench(payments: int, restarts: int) -> Bench:
    """``fieldkit bench agents``."""
    return Bench(
        "agents",
        f"fieldkit bench agents --payments {payments} --restarts {restarts}",
        lambda folder, progress: agent_footprint.measure(
            load(DEMO_CAST), folder, payments, restarts, progress
        ),
        tables.agent_tables,
    )


def jacks_bench(jacks: tuple[int, ...]) -> Bench:
    """``fieldkit bench jacks``."""
    return Bench(
        "jacks",
        " ".join(["fieldkit bench jacks", *(f"--jacks {size}" for size in jacks)]),
        lambda _folder, progress: registered_jacks.measure(sorted(jacks), progress),
        tables.jacks_tables,
    )


def replay_bench(rounds: int) -> Bench:
    """``fieldkit bench replay``."""
    return Bench(
        "replay",
        f"fieldkit bench replay --rounds {rounds}",
        lambda _folder, progress: replay_speed.measure(rounds, progress),
        tables.replay_tables,
    )


def perform(benches: list[Bench], folder: Path | None, json_file: Path | None) -> None:
    """Run ``benches`` one after the other; print their tables, write the figures."""
    parent = folder or (_ON_DISK if _ON_DISK.is_dir() else Path(tempfile.gettempdir()))
    here, measured_at = machine.describe(parent), datetime.now(UTC)
    console, documents = Console(), {}
    if not bytecode.prepare():
        click.echo("The code cannot be compiled here; every start will take longer.", err=True)
    for one in benches:
        with told_errors(), sigterm_as_ctrl_c(), BenchProgress() as progress:
            before = neighbours.now()
            figures = measured(one, parent, progress)
            others = neighbours.cores_of_others(before, neighbours.now())
        show(console, one, figures, here, others)
        documents[one.name] = {
            "command": one.command,
            "cores_of_others": others,
            "figures": dataclasses.asdict(figures),
        }
    if json_file is not None:
        document = {
            "measured_at": measured_at.isoformat(timespec="seconds"),
            "machine": dataclasses.asdict(here),
            "benches": documents,
        }
        json_file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def measured(one: Bench, parent: Path, progress: BenchProgress) -> Any:
    """The figures of one bench, made in a folder of its own that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=parent) as name:
        return asyncio.run(one.measure(Path(name), progress))


def show(console: Console, one: Bench, figures: Any, here: Machine, others: float) -> None:
    """Print the tables of one bench, and how, where and beside what they were measured."""
    for table in one.tables(figures):
        console.print(table)
    console.print(f"[dim]{one.command}[/dim]", highlight=False)
    console.print(f"[dim]{here}[/dim]\n", highlight=False)
    if others > neighbours.QUIET_CORES:
        console.print(
            f"Other processes used {others:.1f} of {here.cores} cores meanwhile: "
            "the figures are those of a busy machine."
        )
    if here.filesystem == _IN_MEMORY:
        console.print("The state lay in memory: commits cost nothing. Choose a disk: --folder DIR")


@contextmanager
def told_errors() -> Iterator[None]:
    """Failures of the stage as a plain sentence with the log's last lines."""
    try:
        yield
    except (StageError, TraceError, JourneyFailedError, CastError, TimeoutError) as error:
        log = "".join(f"\n  {line}" for line in getattr(error, "log", ()))
        text = str(error) or "the stage did not get ready in time"
        raise click.ClickException(f"Nothing was measured: {text}.{log}") from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise click.ClickException("Interrupted; everything was stopped.") from None
