"""One trial is held: a scenario played on its ground, the audit, and the archive of it all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fieldkit import journeys
from fieldkit.results import AuditCheck
from fieldkit.trials import packing
from fieldkit.trials.company import Company
from fieldkit.trials.ground import Ground, TrialStage
from fieldkit.trials.order import Order
from fieldkit.trials.player import Played, Player

_PARTIES: Final = {
    "server": "server",
    "cigarjack": "jack",
    "phone_agent": "phone",
    "payment_device": "terminal",
}


@dataclass(slots=True)
class Outcome:
    """What has come of it so far."""

    played: list[Played] = field(default_factory=list)
    audit: Sequence[AuditCheck] = ()
    truth: dict[str, Any] = field(default_factory=dict)
    ended_unasked: list[str] = field(default_factory=list)
    took_s: float = 0.0

    @property
    def failures(self) -> list[str]:
        """What did not go as it must, in sentences."""
        failed = [played for played in self.played if played.failure]
        told = [f"Step {one.number} ({one.step.do}): {one.failure}" for one in failed]
        told += [f"Audit: {finding}" for check in self.audit for finding in check.findings]
        return told + [f"{agent} has ended by itself." for agent in self.ended_unasked]

    @property
    def statuses(self) -> dict[str, int]:
        """How many payments ended how."""
        found: dict[str, int] = {}
        for one in self.played:
            if one.ending.status:
                found[one.ending.status] = found.get(one.ending.status, 0) + 1
        return found

    def to_json(self) -> dict[str, Any]:
        """The document of ``fieldkit trial play --json``."""
        return {
            "ok": bool(self.played) and not self.failures,
            "took_s": round(self.took_s, 1),
            "payments": self.statuses,
            "failures": self.failures,
            "steps": [one.to_json() for one in sorted(self.played, key=lambda one: one.number)],
            "faults": self.truth.get("faults", []),
        }


async def hold(
    order: Order,
    ground: Ground,
    folder: Path,
    archive: Path,
    outcome: Outcome,
    progress: Callable[[str], None],
    tell: Callable[[Played], None],
) -> None:
    """Play it on ``ground``, in ``folder``, a short path; ``outcome`` grows.

    Raises StageError, TraceError and OSError.
    """
    began_s = time.monotonic()
    cast = order.scenario.cast(order.seed)
    async with TrialStage(ground, cast, folder, progress=progress) as stage:
        await stage.provision()
        company = Company(order.name, order.scenario, stage, ground)
        player = Player(company, tell)
        outcome.played = player.played
        try:
            await company.starts()
            await player.play(order.timeline)
            await company.stops()
        finally:
            outcome.truth = company.truth.to_json(ground.machines.values())
        progress("audit")
        outcome.audit = await journeys.audit(stage)
        progress("collecting")
        recorded = {agent: await ground.recordings(stage, agent) for agent in ground.machines}
        outcome.ended_unasked = [p.name for p in stage.processes.values() if p.ended_unasked]
    records = [
        packing.Record(agent, agent, _PARTIES[stage.module(agent)], files)
        for agent, files in recorded.items()
    ]
    packing.pack(archive, order.name, records, truth=outcome.truth, scenario=order.text)
    outcome.took_s = time.monotonic() - began_s
