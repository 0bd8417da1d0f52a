"""Fetching what the machines of a bench have recorded, by rsync over SSH (docs/recording.md).

Only pieces of rings are ever asked for. A piece that has a number is never changed again: what is
here of it stays, and is gone on with after an interruption. rsync compares the digest of each file
with that of the other side. What was fetched earlier and has gone there stays here, unless it is of
another recording.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fieldkit.hosts import Bench, Host
from fieldkit.trials.packing import RINGS, Record, recordings
from twochannel.ring import pieces

#: Seconds without a byte after which a machine counts as lost.
_SILENCE_S: Final = 30
#: A ring may turn while it is fetched; then it is looked at again.
_LOOKS: Final = 3
#: A piece that is not written any more.
_NUMBERED: Final = re.compile(r"(trace|adverts)\.(\d+)\.(?:jsonl|btsnoop)", re.ASCII)
#: rsync: a file that it was told of has gone, for the ring has turned.
_VANISHED: Final = 24
#: By party, the command whose name an installed agent's folder has.
_COMMANDS: Final = {
    "server": "cigarjack-server",
    "jack": "cigarjack",
    "phone": "phone-agent",
    "terminal": "payment-device",
}


class CollectError(Exception):
    """A machine did not give what it has recorded. The text says which, and what it said."""


@dataclass(frozen=True, slots=True)
class Source:
    """One agent on one machine of a bench."""

    machine: str
    party: str
    host: Host

    @property
    def folder(self) -> str:
        """Where the agent keeps its state, there."""
        return self.host.state or f"/var/lib/{_COMMANDS[self.party]}"

    def here(self, parts: Path) -> Path:
        """Where what is fetched of it lies."""
        return parts / self.machine

    def record(self, parts: Path) -> Record:
        """What was fetched of it. Raises OSError."""
        return Record(self.machine, self.machine, self.party, recordings(self.here(parts)))


def sources(bench: Bench) -> list[Source]:
    """Every agent of a bench."""
    always = [
        Source("server", "server", bench.server),
        Source("jack", "jack", bench.jack),
        Source("phone", "phone", bench.phone),
    ]
    return [*always, *(Source(name, "terminal", host) for name, host in bench.terminals.items())]


async def collect(
    bench: Bench, parts: Path, told: Callable[[str], None] = lambda _line: None
) -> list[Record]:
    """Fetch what is new of every agent to ``parts``, all machines at once; ``told`` of each.

    Raises CollectError when all have been tried; what was fetched stays for the next time.
    """
    if shutil.which("rsync") is None:
        raise CollectError("There is no rsync here; install it: apt install rsync")
    wanted = sources(bench)
    tries = (_fetch_all(source, parts, told) for source in wanted)
    failures = [each for each in await asyncio.gather(*tries, return_exceptions=True) if each]
    expected = [str(each) for each in failures if isinstance(each, CollectError)]
    for failure in failures:
        if not isinstance(failure, CollectError):
            raise failure
    if expected:
        raise CollectError("\n".join(expected))
    return [source.record(parts) for source in wanted]


async def _fetch_all(source: Source, parts: Path, told: Callable[[str], None]) -> None:
    """Raises CollectError."""
    folder = source.here(parts)
    await _refuse_another(source, folder)
    for ring in RINGS:
        await _fetch_ring(source, folder, ring)
    held = list(_held(folder))
    if not held:
        raise CollectError(f"{source.machine}: nothing is recorded in {source.folder} there")
    kib = sum(path.stat().st_size for path in held) // 1024
    told(f"{source.machine}: {len(held)} files, {kib} KiB")


async def _fetch_ring(source: Source, folder: Path, ring: str) -> None:
    """Raises CollectError."""
    before: list[str] | None = None
    for _ in range(_LOOKS):
        whole = await _fetch(source, folder, ring)
        there = sorted(path.name for path in _held(folder))
        if whole and there == before:
            break
        before = there if whole else None


async def _refuse_another(source: Source, folder: Path) -> None:
    """Raise CollectError if ``folder`` has what the machine cannot have recorded before.

    Numbers grow with time, so that a machine whose newest piece is older than one here has begun
    anew: another card, or another machine.
    """
    if not (here := _newest(path.name for path in _held(folder))):
        return
    _, listing = await _rsync(source, folder, RINGS, "--list-only")
    there = _newest(line.rpartition(" ")[2] for line in listing)
    if any(number > there.get(ring, 0) for ring, number in here.items()):
        raise CollectError(
            f"{source.machine}: {folder} holds newer pieces than {source.folder} there: they are "
            "of another recording. Collect under another NAME, or remove that folder"
        )


def _newest(files: Iterable[str]) -> dict[str, int]:
    """By ring, the highest number of a piece."""
    found: dict[str, int] = {}
    for file in files:
        if numbered := _NUMBERED.fullmatch(file):
            ring, number = numbered[1], int(numbered[2])
            found[ring] = max(found.get(ring, 0), number)
    return found


async def _fetch(source: Source, folder: Path, ring: str) -> bool:
    """One look; whether every file was there that rsync was told of. Raises CollectError."""
    _prepare(folder, ring)
    returncode, _ = await _rsync(source, folder, [ring], "--checksum", "--partial")
    return returncode == 0


async def _rsync(
    source: Source, folder: Path, rings: Iterable[str], *options: str
) -> tuple[int, list[str]]:
    """Its exit code and what it said. Raises CollectError."""
    process = await asyncio.create_subprocess_exec(
        *_line(source, folder, rings, options),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    lines = said.decode("utf-8", "replace").strip().splitlines()
    if process.returncode not in (0, _VANISHED):
        raise CollectError(f"{source.machine} ({source.host.ssh}): {'; '.join(lines[-3:])}")
    return process.returncode, lines


def _prepare(folder: Path, ring: str) -> None:
    """The piece that is written may have become one with a number since: it is fetched anew."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / ring).unlink(missing_ok=True)


def _line(
    source: Source, folder: Path, rings: Iterable[str], options: Sequence[str]
) -> Iterator[str]:
    ssh = ("ssh", "-T", "-o", "BatchMode=yes", *source.host.ssh_options)
    yield from ("rsync", "--dirs", "--times", "--chmod=F600,D700", *options)
    yield from (f"--timeout={_SILENCE_S}", f"--rsh={shlex.join(ssh)}")
    yield f"--rsync-path={source.host.rsync}"
    for name in map(Path, rings):
        yield f"--include=/{name.name}"
        yield f"--include=/{name.stem}.[0-9]*{name.suffix}"
    yield from ("--exclude=*", f"{source.host.ssh}:{source.folder}/", f"{folder}/")


def _held(folder: Path) -> Sequence[Path]:
    return [path for ring in RINGS for _, path in pieces(folder / ring)]
