"""``fieldkit bench jacks``: what many registered jacks cost the server's resolver.

Each size runs in a process of its own, ``python -m fieldkit.bench.registered_jacks COUNT``, so that
its memory is its own. It fills the server's ``CodeIndex`` with made-up jacks and prepares all slots
as the server does, in the same small steps.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fieldkit.bench import consumption
from fieldkit.bench.progress import BenchProgress
from fieldkit.bench.quantiles import Summary, summary
from fieldkit.process import StageError
from server.code_index import CodeIndex
from server.resolver import CODES_AT_ONCE
from twochannel.protocol.beacon import DEFAULT_ROTATION_EXPONENT, code_at, identity_key
from twochannel.protocol.wire import base64url

#: Slots that the index holds: the one before, this one, and the two to come.
SLOTS: Final = 4
EXPONENT: Final = DEFAULT_ROTATION_EXPONENT
#: A moment in the middle of a slot.
_NOW_S: Final = (1_700_000_000 >> EXPONENT << EXPONENT) + (1 << EXPONENT >> 1)
_LOOK_UPS: Final = 1_000
_AGREEMENTS: Final = 500
_US_PER_S: Final = 1_000_000
_MS_PER_S: Final = 1_000
_MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class IndexFigures:
    """What an index of ``jacks`` jacks costs.

    ``slot_ms``: processor time of all codes of one slot, which is what a rotation costs;
    ``code_us``: its share. ``step_ms``: wall time of one piece, for which requests wait.
    ``bytes_per_jack``: resident memory with all four slots; None where it is below what the kernel
    counts. ``look_up_us``: a code that is known; ``unknown_us``: one that is not.
    """

    jacks: int
    slot_ms: float
    code_us: float
    step_ms: Summary
    bytes_per_jack: float | None
    look_up_us: Summary
    unknown_us: Summary


@dataclass(frozen=True, slots=True)
class JacksFigures:
    """The sizes, smallest first; and what a jack costs once, when the server takes it in.

    ``identity_key_us``: key agreement and derivation.
    """

    identity_key_us: Summary
    sizes: list[IndexFigures]


async def measure(sizes: Sequence[int], progress: BenchProgress) -> JacksFigures:
    """Measure every size. Raises StageError if one could not be."""
    progress.step("identity keys")
    keys = summary(_identity_keys_us(_AGREEMENTS))
    progress.step("jacks", len(sizes))
    measured = []
    for size in sizes:
        measured.append(await _in_a_process(size))
        progress.advance()
    return JacksFigures(keys, measured)


async def _in_a_process(jacks: int) -> IndexFigures:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, str(jacks)),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        raise StageError(f"the process with {jacks:,} jacks ended with {process.returncode}")
    told = json.loads(output)
    for name in ("step_ms", "look_up_us", "unknown_us"):
        told[name] = Summary(**told[name])
    return IndexFigures(**told)


def _identity_keys_us(count: int) -> list[float]:
    """Key agreement and derivation with ``count`` jacks, as at the start of the server."""
    server = ec.generate_private_key(ec.SECP256R1())
    server_point = _point(server.public_key())
    taken = []
    for _ in range(count):
        jack = ec.generate_private_key(ec.SECP256R1()).public_key()
        began = time.perf_counter()
        identity_key(server.exchange(ec.ECDH(), jack), server_point, _point(jack))
        taken.append((time.perf_counter() - began) * _US_PER_S)
    return taken


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


# --- in the process of one size


def index_figures(jacks: int) -> IndexFigures:
    """Fill an index with ``jacks`` made-up jacks (at least 1), prepare it, look codes up."""
    before = _resident_bytes()
    index = CodeIndex(EXPONENT)
    for number in range(jacks):
        index.put(*_made_up(number))
    used_s = time.process_time()
    steps_ms = _prepare(index)
    slot_ms = (time.process_time() - used_s) * _MS_PER_S / SLOTS
    held = _resident_bytes() - before
    return IndexFigures(
        jacks=jacks,
        slot_ms=round(slot_ms, 3),
        code_us=round(slot_ms * _MS_PER_S / jacks, 2),
        step_ms=summary(steps_ms),
        bytes_per_jack=round(held / jacks) if held >= _MIB else None,
        look_up_us=summary(_look_ups_us(index, jacks)),
        unknown_us=summary(_unknown_us(index)),
    )


def _made_up(number: int) -> tuple[str, bytes]:
    """A jack's id, as long as a real one, and its identity key."""
    seed = hashlib.sha256(number.to_bytes(8)).digest()
    return base64url(seed), seed[:16]


def _prepare(index: CodeIndex) -> list[float]:
    """Milliseconds of each step until the codes of all slots are there."""
    steps_ms, ready = [], False
    while not ready:
        began = time.perf_counter()
        ready = index.prepare(_NOW_S, CODES_AT_ONCE)
        steps_ms.append((time.perf_counter() - began) * _MS_PER_S)
    return steps_ms


def _look_ups_us(index: CodeIndex, jacks: int) -> list[float]:
    taken = []
    for number in range(_LOOK_UPS):
        name, key = _made_up(number * 7919 % jacks)
        code = code_at(key, _NOW_S, EXPONENT)
        began = time.perf_counter()
        found = index.resolve(code, _NOW_S)
        taken.append((time.perf_counter() - began) * _US_PER_S)
        if found != name:
            raise RuntimeError(f"a code of {name} resolved to {found}")
    return taken


def _unknown_us(index: CodeIndex) -> list[float]:
    taken = []
    for number in range(_LOOK_UPS):
        code = hashlib.sha256(b"unknown" + number.to_bytes(8)).digest()[:8]
        began = time.perf_counter()
        index.resolve(code, _NOW_S)
        taken.append((time.perf_counter() - began) * _US_PER_S)
    return taken


def _resident_bytes() -> int:
    return round(consumption.memory(os.getpid()).rss_mib * _MIB)


if __name__ == "__main__":
    json.dump(dataclasses.asdict(index_figures(int(sys.argv[1]))), sys.stdout)
