"""Packs the recordings of agents of this machine into one archive (docs/field-trials.md)."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from twochannel.ring import older, pieces

FORMAT: Final = 1
#: What may be packed, and nothing else: no keys, no databases.
RINGS: Final = ("trace.jsonl", "adverts.btsnoop")


@dataclass(frozen=True, slots=True)
class Record:
    """One agent on its machine; ``files``: its recordings by name."""

    machine: str
    agent: str
    party: str
    files: Mapping[str, bytes]


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
    collected_ms = time.time_ns() // 1_000_000
    machines: dict[str, list[dict[str, str]]] = {}
    for record in records:
        agent = {"name": record.agent, "party": record.party}
        machines.setdefault(record.machine, []).append(agent)
    return [
        {"name": name, "agents": agents, "collected_wall_ms": collected_ms}
        for name, agents in machines.items()
    ]


def recordings(state: Path) -> dict[str, bytes]:
    """Every piece of the rings in a state folder, by the name of its file. Raises OSError."""
    return {
        older(Path(ring), number).name: file.read_bytes()
        for ring in RINGS
        for number, file in pieces(state / ring)
    }
