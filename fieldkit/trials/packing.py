"""Packs the recordings of agents of this machine into one archive (docs/field-trials.md)."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from twochannel.ring import older, pieces
from twochannel.trace import boot_id

FORMAT: Final = 1
#: What may be packed, and nothing else: no keys, no databases. In the order in which they are taken
#: from an agent that goes on: what a trace says of adverts is then in those taken after it.
RINGS: Final = ("trace.jsonl", "adverts.btsnoop")
#: Of a machine in ``trial.json``: its clocks when its recordings were taken.
COLLECTED: Final = ("collected_wall_ms", "collected_mono_ns", "collected_boot")


@dataclass(frozen=True, slots=True)
class Record:
    """One agent on its machine; ``files``: its recordings by name.

    ``collected``: the clocks of that machine when they were taken, if they were taken there.
    """

    machine: str
    agent: str
    party: str
    files: Mapping[str, bytes]
    collected: Mapping[str, Any] | None = None


def clocks() -> dict[str, Any]:
    """This machine's clocks now, as ``trial.json`` has them of a machine that packed itself."""
    now = (time.time_ns() // 1_000_000, time.monotonic_ns(), boot_id())
    return dict(zip(COLLECTED, now, strict=True))


def pack(
    archive: Path,
    trial: str,
    records: Sequence[Record],
    *,
    truth: Mapping[str, Any] | None = None,
    scenario: str | None = None,
    left_out: Mapping[str, int] | None = None,
) -> None:
    """Write ``archive``. ``left_out``: how many files and bytes were not. Raises OSError."""
    files = {
        f"{record.machine}/{record.agent}/{name}": data
        for record in records
        for name, data in record.files.items()
    }
    told = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    }
    manifest = {
        "format": FORMAT,
        "trial": trial,
        "machines": _machines(records),
        "files": told,
        "left_out": left_out,
        "truth": truth,
        "scenario": scenario,
    }
    text = json.dumps(manifest, indent=1).encode()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in {"trial.json": text, **files}.items():
            opened.writestr(name, data)


def _machines(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Fetched ones were collected by the wall clock of this machine; its others say nothing."""
    here: Mapping[str, Any] = {"collected_wall_ms": time.time_ns() // 1_000_000}
    machines: dict[str, dict[str, Any]] = {}
    for record in records:
        told = {"name": record.machine, "agents": [], **(record.collected or here)}
        machine = machines.setdefault(record.machine, told)
        machine["agents"].append({"name": record.agent, "party": record.party})
    return list(machines.values())


def in_order(names: Iterable[str]) -> list[str]:
    """Those of ``names`` that are pieces of rings, as they are to be taken."""
    files = [Path(name) for name in sorted(names)]
    return [
        file.name
        for ring in map(Path, RINGS)
        for file in files
        if file.suffix == ring.suffix and file.name.partition(".")[0] == ring.stem
    ]


def recordings(state: Path) -> dict[str, bytes]:
    """Every piece of the rings in a state folder, by the name of its file. Raises OSError."""
    return {
        older(Path(ring), number).name: file.read_bytes()
        for ring in RINGS
        for number, file in pieces(state / ring)
    }
