"""``fieldkit collect`` and ``fieldkit bundle``: recordings of all machines become one archive."""

from __future__ import annotations

import asyncio
import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from fieldkit.hosts import Bench, BenchError
from fieldkit.trials import parts
from fieldkit.trials.archive import SUFFIX, TrialError
from fieldkit.trials.collecting import CollectError, collect
from fieldkit.trials.joining import joined
from fieldkit.trials.packing import Record, pack
from fieldkit.trials.trimming import Trimmed, trimmed
from twochannel.console import json_option, say
from twochannel.state_folder import default_folder

_HELP: Final = {"help_option_names": ["-h", "--help"]}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_AGENTS: Final = ("cigarjack-server", "cigarjack", "phone-agent", "payment-device")


def _name(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not _NAME.fullmatch(value):
        raise click.BadParameter("letters, digits, '.', '_' and '-', please: it names a file")
    return value


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cigarjack" / "trials"


@click.command("collect", context_settings=_HELP)
@click.argument("name", callback=_name)
@click.option(
    "--bench",
    "bench_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Fetch from the machines of this file by SSH (docs/bench.md).",
)
@click.option(
    "--from",
    "carried",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Join this part, made with `fieldkit bundle`; may be repeated.",
)
@click.option(
    "--out",
    "archive",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the archive goes.  [default: NAME.trial]",
)
@click.option("--whole", is_flag=True, help="Pack also what is from before and after the trial.")
@json_option
def collect_command(
    name: str,
    bench_file: Path | None,
    carried: Sequence[Path],
    archive: Path | None,
    whole: bool,
    as_json: bool,
) -> None:
    """Make one archive of what the machines recorded in trial NAME, and 15 minutes around it.

    Files that are certainly from before its start or after its stop are left out; where nobody
    noted these, or a clock cannot be compared with the others, everything is packed.

    What is interrupted goes on where it was when it is called again; so does what is called again
    after the next trial. Only traces and recorded adverts are fetched, never keys or databases.
    """
    if bench_file is None and not carried:
        raise click.UsageError("say from where: --bench bench.toml, or --from PART")
    archive, folder = archive or Path(f"{name}{SUFFIX}"), _cache() / name
    try:
        records = _fetched(bench_file, folder) if bench_file else []
        for part in carried:
            records += parts.read(part)
        records = joined(records)
        cut = Trimmed(records, 0, 0) if whole else trimmed(name, records)
        _write(archive, name, cut.records, {"files": cut.files, "bytes": cut.bytes})
    except (CollectError, TrialError, BenchError, OSError) as error:
        raise click.ClickException(str(error)) from None
    machines = sorted({record.machine for record in records})
    _say(archive, machines, as_json=as_json, cut=cut)


@click.command("bundle", context_settings=_HELP)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="State folder of an agent; may be repeated.  [default: the usual ones of all agents]",
)
@click.option(
    "--out",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Folder for the part, say a USB stick.  [default: this one]",
)
@click.option("--machine", help="Name of this machine.  [default: its host name]")
@json_option
def bundle_command(
    states: Sequence[Path], folder: Path, machine: str | None, as_json: bool
) -> None:
    """Pack what the agents of this machine recorded, to be carried to the desk.

    There: fieldkit collect NAME --from MACHINE.part …

    A part that is there already is added to; that of another machine of the same name is refused.
    """
    machine = _name(click.get_current_context(), click.Argument(["m"]), machine or platform.node())
    usual = [default_folder(agent, os.environ) for agent in _AGENTS]
    asked = list(states) or [state for state in usual if state.is_dir()] or usual
    part = folder / f"{machine}{parts.SUFFIX}"
    try:
        before = parts.read(part) if part.exists() else []
        _write(part, machine, joined([*before, *parts.recorded(machine, asked)]))
    except (TrialError, OSError) as error:
        raise click.ClickException(str(error)) from None
    _say(part, [machine], as_json=as_json)


def _fetched(bench_file: Path, folder: Path) -> list[Record]:
    """Raises BenchError, CollectError."""
    click.echo(f"What is fetched stays in {folder} until you remove it.", err=True)
    told = lambda line: click.echo(line, err=True)  # noqa: E731
    return asyncio.run(collect(Bench.load(bench_file), folder, told))


def _write(
    archive: Path, name: str, records: Sequence[Record], left_out: Mapping[str, int] | None = None
) -> None:
    """Whole or not at all, and on the stick when it returns. Raises OSError."""
    half = archive.with_name(f".{archive.name}.half")
    half.touch(0o600)
    try:
        pack(half, name, records, left_out=left_out)
        _sync(half)
        half.replace(archive)
        _sync(archive.parent)
    finally:
        half.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _say(
    archive: Path, machines: Sequence[str], *, as_json: bool, cut: Trimmed | None = None
) -> None:
    size = archive.stat().st_size
    told: dict[str, object] = {"archive": str(archive), "machines": machines, "bytes": size}
    text = f"{archive}: {', '.join(machines)}; {size // 1024} KiB."
    if cut is not None:
        told["left_out"] = {"files": cut.files, "bytes": cut.bytes}
        text += f" {_left_out(cut)}".rstrip()
    say(told, text, as_json=as_json)


def _left_out(cut: Trimmed) -> str:
    parts = [f"{cut.unbounded} All from that side is packed."] if cut.unbounded else []
    if cut.files:
        parts.append(
            f"{cut.files} files of {cut.bytes} bytes from before or after the trial were left out;"
            " --whole packs them."
        )
    return " ".join(parts)
