"""Archives of hand-made traces, as they are collected."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fieldkit.trace import TraceEvent
from tests.fieldkit.trials.machines import Trip

MODULES = {
    "server": "server",
    "terminal": "payment_device",
    "phone": "phone_agent",
    "jack": "cigarjack",
}


def line(event: TraceEvent) -> str:
    members: dict[str, Any] = {
        "v": 1,
        "party": event.party,
        "event": event.event,
        "payment": event.payment,
        "mono_ns": event.mono_ns,
        "wall_ms": event.wall_ms,
        "boot": event.boot,
        "clock": event.clock,
    }
    return json.dumps(members | dict(event.fields)) + "\n"


def packed(made: Trip, path: Path, truth: dict[str, Any] | None = None) -> Path:
    """The archive of what was noted, each agent on the machine that noted it."""
    machines: dict[str, list[dict[str, str]]] = {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for record in made.agents:
            agent = {
                "name": record.agent,
                "party": record.party,
                "module": MODULES[record.party],
            }
            machines.setdefault(record.machine, []).append(agent)
            lines = "".join(line(event) for event in in_order(record.events))
            archive.writestr(f"{record.machine}/{record.agent}/trace.jsonl", lines)
        manifest = {
            "format": 1,
            "trial": path.stem,
            "machines": [{"name": name, "agents": agents} for name, agents in machines.items()],
            "files": {},
            "truth": truth,
        }
        archive.writestr("trial.json", json.dumps(manifest))
    return path


def in_order(events: Iterable[TraceEvent]) -> list[TraceEvent]:
    return sorted(events, key=lambda event: (event.boot, event.mono_ns))
