"""What a report has to tell of each fault that was played, by what the agents noted alone."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fieldkit.trials.alignment import Alignment
from tests.trials.virtual import PlayedTrial, on_timeline_us

#: By fault: of which kind the incident is that tells of it, and how it is told.
FOUND: Final = {
    "wifi_lost": ("wifi", r"did not answer over Wi-Fi, though it was up; found again after"),
    "radio_restarted": ("radio", r"radio lost \(.+\); recovered by (reopened|power cycle) after"),
    "power_cut": ("restart", r"machine lost its power or was reset, with no orderly end"),
    "clock_in_1970": ("clock", r"wall clock 5\d\.\d years behind the server's"),
    "clock_stepped": ("clock", r"wall clock set back by 7[45]\.\d+ s"),
    "server_restarted": ("restart", r"agent was stopped and started again"),
}
#: A fault is noted at the latest so long after it has ended; an agent that restarts has then gone.
NOTED_S: Final = 30
_NS_PER_S: Final = 1_000_000_000


def found(
    trial: PlayedTrial,
    alignment: Alignment,
    incidents: Sequence[dict[str, Any]],
    fault: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The incidents that tell of ``fault``, at its agent and time."""
    begins_ns, ends_ns = (
        1000 * on_timeline_us(trial, alignment, fault[f"{end}_true_us"]) for end in ("from", "to")
    )
    kind, text = FOUND[fault["name"]]
    noted_ns = 0 if kind == "restart" else NOTED_S * _NS_PER_S
    return [
        incident
        for incident in incidents
        if (incident["kind"], incident["agent"]) == (kind, fault["machine"])
        and re.search(text, incident["text"])
        and incident["at_ns"] <= ends_ns + noted_ns
        and (incident["until_ns"] or incident["at_ns"]) >= begins_ns
    ]


def without_truth(archive: Path, to: Path) -> Path:
    """The same archive as if nobody had played it."""
    with zipfile.ZipFile(archive) as opened, zipfile.ZipFile(to, "w") as written:
        for name in opened.namelist():
            data = opened.read(name)
            if name == "trial.json":
                data = json.dumps(json.loads(data) | {"truth": None, "scenario": None}).encode()
            written.writestr(name, data)
    return to
