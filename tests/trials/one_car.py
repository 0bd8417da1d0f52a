"""What the desk has to find of the shipped ``one-car``, wherever it was played."""

from __future__ import annotations

from typing import Any, Final

from fieldkit.trials.alignment import align
from fieldkit.trials.archive import Trial
from tests.trials.virtual import PlayedTrial, on_timeline_us

#: What the report says of each fault by what the agents noted, without the truth.
FOUND: Final = {
    "radio_restarted": ("mina-jack", "radio", "radio lost"),
    "wifi_lost": ("mina-phone", "wifi", "the jack did not answer over Wi-Fi"),
    "server_restarted": ("server", "restart", "agent was stopped and started again"),
}
#: A fault is noted at the latest so long after it has ended.
_NOTED_S: Final = 30
_US_PER_S: Final = 1_000_000


def found(trial: PlayedTrial, report: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The incidents of a report that tell of the fault of that name, at its agent and time."""
    agent, kind, text = FOUND[name]
    fault = trial.fault(name, agent)
    alignment = align(Trial.open(trial.archive))
    until_us = on_timeline_us(trial, alignment, fault["to_true_us"] + _NOTED_S * _US_PER_S)
    from_us = on_timeline_us(trial, alignment, fault["from_true_us"] - _US_PER_S)
    return [
        incident
        for incident in report["incidents"]
        if (incident["agent"], incident["kind"]) == (agent, kind)
        and incident["text"].startswith(text)
        and from_us <= incident["at_ns"] // 1000 <= until_us
    ]
