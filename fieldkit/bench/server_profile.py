"""Where a server's time goes: py-spy looks from outside, a few hundred times a second.

py-spy (https://github.com/benfred/py-spy) writes a line for each stack that it has seen: its frames
from the outermost, ``function (file:line)`` with semicolons between, and how often. A thread that
waits for the disk is at work to it, one that waits for work is not, as a rule: see ``_WAITING``.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fieldkit.process import StageError

RATE_HZ: Final = 200
#: Functions that are told, those that took most.
TOP: Final = 20
#: py-spy attaches in a tenth of a second, and writes in another.
_PATIENCE_S: Final = 20.0
_FRAME: Final = re.compile(r"(?P<function>.+) \((?P<file>.+):\d+\)")

_ROOT: Final = Path(__file__).parents[2]

COMMIT: Final = "commit, with its wait for the disk"
SQL: Final = "SQL"
SIGNATURES: Final = "statements: read, verify, sign"
HTTP: Final = "HTTP, TLS, event loop"
PROCESSOR: Final = "simulated processor"
LOGS: Final = "trace and log"
REST: Final = "the payment itself, and the rest"
LAYERS: Final = (HTTP, SIGNATURES, SQL, COMMIT, PROCESSOR, LOGS, REST)

#: What a frame stands for, by a part of it; the first that fits. Of a stack the innermost frame
#: counts that stands for anything: what is called on behalf of a layer is the layer's.
_MARKS: Final = (
    (COMMIT, ("do_commit (", "do_rollback (", "_commit (")),
    (PROCESSOR, ("server/processors/",)),
    (SQL, ("/sqlalchemy/", "/psycopg/", "server/prepared.py", "server/transaction.py")),
    (SQL, ("server/store.py", "_database.py", "server/schema/")),
    (SIGNATURES, ("/cryptography/", "/jwt/", "protocol/envelope.py", "protocol/keys.py")),
    (SIGNATURES, ("twochannel/keystore/",)),
    (LOGS, ("twochannel/ring.py", "twochannel/trace.py", "twochannel/logs.py", "/logging/")),
    (HTTP, ("/uvicorn/", "/starlette/", "/fastapi/", "/sse_starlette/", "/httptools/")),
    (HTTP, ("/asyncio/", "/uvloop/", "/ssl.py", "twochannel/serving.py", "twochannel/intake.py")),
    (REST, (f"{_ROOT}/server/", f"{_ROOT}/twochannel/")),
)
#: Innermost frames of threads that wait for work, which py-spy cannot always tell.
_WAITING: Final = (
    re.compile(r"^_worker \(.*concurrent/futures/thread\.py"),
    re.compile(r"^(Condition\.)?wait \(.*/threading\.py"),
    re.compile(r"^(Store\.)?_(serve|gather) \(.*server/store\.py"),
    re.compile(r"^(\w+\.)?select \(.*/selectors\.py"),
)


@dataclass(frozen=True, slots=True)
class Spent:
    """One function and the share of samples in it, or in C that it had called, in per cent."""

    function: str
    file: str
    percent: float


@dataclass(frozen=True, slots=True)
class Profile:
    """``layers``: share of samples of each, in per cent. ``samples``: of threads at work."""

    samples: int
    rate_hz: int
    layers: dict[str, float]
    functions: list[Spent]


def read_profile(lines: Iterable[str]) -> Profile:
    """What py-spy has written. Raises ValueError."""
    layers: Counter[str] = Counter()
    functions: Counter[tuple[str, str]] = Counter()
    for line in lines:
        stack, _, text = line.rstrip("\n").rpartition(" ")
        frames, count = stack.split(";"), int(text)
        if any(waiting.search(frames[-1]) for waiting in _WAITING):
            continue
        layers[layer_of(frames)] += count
        functions[_named(frames[-1])] += count
    samples = layers.total()
    return Profile(
        samples,
        RATE_HZ,
        {layer: _percent(layers[layer], samples) for layer in LAYERS},
        [Spent(*name, _percent(count, samples)) for name, count in functions.most_common(TOP)],
    )


def layer_of(frames: list[str]) -> str:
    """Of a stack, its outermost frame first."""
    for frame in reversed(frames):
        for layer, marks in _MARKS:
            if any(mark in frame for mark in marks):
                return layer
    return REST


def _named(frame: str) -> tuple[str, str]:
    """Function and file, without what is the machine's own."""
    found = _FRAME.fullmatch(frame)
    if found is None:
        return frame, ""
    file = re.sub(r"^.*/(site-packages|python3\.\d+)/", "", found["file"])
    return found["function"], file.removeprefix(f"{_ROOT}/")


def _percent(count: int, samples: int) -> float:
    return round(100 * count / samples, 1) if samples else 0.0


@contextlib.asynccontextmanager
async def watching(pid: int, output: Path) -> AsyncIterator[None]:
    """Profile a process while the block runs; ``output`` is py-spy's afterwards.

    Raises StageError if there is no py-spy, or it may not look into the process.
    """
    spy = await _attached(pid, output)
    try:
        yield
    finally:
        if spy.returncode is None:
            spy.send_signal(signal.SIGINT)
        async with asyncio.timeout(_PATIENCE_S):
            _, said = await spy.communicate()
    if spy.returncode != 0:
        raise StageError(f"py-spy saw nothing: {said.decode(errors='replace').strip()}")


async def _attached(pid: int, output: Path) -> asyncio.subprocess.Process:
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which(
        "py-spy"
    )
    if program is None:
        raise StageError("there is no py-spy; run: pip install py-spy")
    options = ("--rate", str(RATE_HZ), "--duration", "unlimited", "--format", "raw")
    spy = await asyncio.create_subprocess_exec(
        *(program, "record", "--pid", str(pid), *options, "--full-filenames"),
        *("--output", str(output)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert spy.stdout is not None
    async with asyncio.timeout(_PATIENCE_S):
        # Its first words are that it samples, or why it may not.
        said = await spy.stdout.readline()
    if b"Sampling" not in said:
        rest = await spy.stdout.read()
        await spy.wait()
        why = (said + rest).decode(errors="replace").strip()
        raise StageError(f"py-spy may not look into the server: {why}")
    return spy
