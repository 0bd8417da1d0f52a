"""Packs the recordings of agents of this machine into one archive (docs/field-trials.md)."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from twochannel.ring import older, pieces

FORMAT: Final = 1
#: What may be packed, and nothing else: no keys, no databases.
RINGS: Final = ("trace.jsonl", "adverts.btsnoop")
_PARTIES: Final = {
    "server": "server",
    "cigarjack": "jack",
    "phone_agent": "phone",
    "payment_device": "terminal",
}


@dataclass(frozen=True, slots=True)
class Record:
    """One agent on its machine; ``state``: its folder."""

    machine: str
    agent: str
    module: str
    state: Path


def pack(
    archive: Path,
    trial: str,
    records: Sequence[Record],
    *,
    truth: Mapping[str, Any] | None = None,
    scenario: str | None = None,
) -> None:
    """Write ``archive``. Raises OSError."""
    files = dict(_files(records))
    told = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    }
    manifest = {
        "format": FORMAT,
        "trial": trial,
        "machines": list(_machines(records)),
        "files": told,
        "truth": truth,
        "scenario": scenario,
    }
    text = json.dumps(manifest, indent=1).encode()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in {"trial.json": text, **files}.items():
            opened.writestr(name, data)


def _machines(records: Sequence[Record]) -> Iterator[dict[str, Any]]:
    """Each machine once, with its agents."""
    for machine in dict.fromkeys(record.machine for record in records):
        yield {
            "name": machine,
            "agents": [
                {
                    "name": record.agent,
                    "party": _PARTIES[record.module],
                    "module": record.module,
                }
                for record in records
                if record.machine == machine
            ],
            "collected_wall_ms": time.time_ns() // 1_000_000,
        }


def _files(records: Sequence[Record]) -> Iterator[tuple[str, bytes]]:
    for record in records:
        for ring in RINGS:
            for number, file in pieces(record.state / ring):
                name = older(Path(ring), number).name
                yield f"{record.machine}/{record.agent}/{name}", file.read_bytes()
