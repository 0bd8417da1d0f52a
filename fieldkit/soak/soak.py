"""The soak itself: payments and faults by a seed, samples beside them, the audit at the end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from fieldkit import journeys
from fieldkit.results import AuditCheck
from fieldkit.soak.growth import Growth, Verdict, growth
from fieldkit.soak.plan import stretches
from fieldkit.soak.samples import Samples
from fieldkit.stage import Stage
from fieldkit.trials.company import Company
from fieldkit.trials.ground import TrialStage
from fieldkit.trials.player import Played, Player
from fieldkit.trials.proving_ground import ProvingGround
from fieldkit.trials.scenario import Scenario
from twochannel.protocol.beacon import DEFAULT_ROTATION_EXPONENT

_SAMPLES: Final = 400
_LONGEST_PAUSE_S: Final = 30.0
_SHORTEST_PAUSE_S: Final = 1.0
_S_PER_HOUR: Final = 3600.0
_NS_PER_S: Final = 1_000_000_000
#: No step looks further back in the traces.
_REMEMBERED_S: Final = 900.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """What an agent may grow by in an hour."""

    memory_mib: float = 4.0
    descriptors: float = 6.0


@dataclass(frozen=True, slots=True)
class Paid:
    """A payment. ``at_s``: since the soak began."""

    at_s: float
    took_ms: float
    status: str


@dataclass(slots=True)
class Outcome:
    """What the soak has come to so far.

    ``rotation_exponent``: jacks had a new code every 2^that seconds; ``codes``: so many, by jack.
    ``audit`` None: it was not made.
    """

    seed: int
    bounds: Bounds
    rotation_exponent: int = DEFAULT_ROTATION_EXPONENT
    samples: Samples = field(default_factory=Samples)
    paid: list[Paid] = field(default_factory=list)
    steps: int = 0
    failures: list[str] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    audit: Sequence[AuditCheck] | None = None
    lasted_s: float = 0.0
    interrupted: bool = False

    @property
    def findings(self) -> list[str]:
        """Of the auditor."""
        return [finding for check in self.audit or () for finding in check.findings]

    def memory(self, agent: str) -> Growth:
        return growth(self.samples.runs(agent, lambda s: s.rss_mib), self.bounds.memory_mib)

    def descriptors(self, agent: str) -> Growth:
        runs = self.samples.runs(agent, lambda sample: sample.descriptors)
        return growth(runs, self.bounds.descriptors)

    @property
    def problems(self) -> list[str]:
        """Everything that is not as it must be, in sentences; empty if all is well."""
        told = [*self.failures, *(f"Audit: {finding}" for finding in self.findings)]
        if self.audit is None:
            told.append("The audit was not made.")
        for agent in self.samples.agents:
            for what, grown in (
                ("memory (MiB)", self.memory(agent)),
                ("descriptors", self.descriptors(agent)),
            ):
                if grown.verdict is Verdict.GROWS:
                    told.append(f"{agent}: {what} grow by {grown.low:.1f} or more an hour.")
        return told

    def to_json(self) -> dict[str, Any]:
        """The document of ``fieldkit soak --json``."""
        return {
            "ok": not self.problems,
            "seed": self.seed,
            "lasted_s": round(self.lasted_s, 1),
            "interrupted": self.interrupted,
            "payments": dict(Counter(paid.status for paid in self.paid)),
            "steps": self.steps,
            "rotation_exponent": self.rotation_exponent,
            "codes": dict(self.codes),
            "faults": dict(Counter(fault["name"] for fault in self.faults)),
            "problems": self.problems,
            "audit": {"made": self.audit is not None, "findings": self.findings},
            "agents": {
                agent: {
                    "memory_mib": self.memory(agent).to_json(),
                    "descriptors": self.descriptors(agent).to_json(),
                    "processes": len(self.samples.runs(agent, lambda s: s.rss_mib)),
                }
                for agent in self.samples.agents
            },
            "latencies": [asdict(paid) for paid in self.paid],
            "samples": [asdict(sample) for sample in self.samples.taken],
        }


class Soak:
    """``tell`` is told in a few words how far it is."""

    def __init__(self, scenario: Scenario, outcome: Outcome, tell: Callable[[str], None]) -> None:
        self._scenario, self._outcome, self._tell = scenario, outcome, tell
        self._zero_us = 0
        self._counted_ns: dict[str, int] = {}

    async def run(self, folder: Path, hours: float) -> None:
        """In ``folder``, a short path; Ctrl-C ends it early, with its audit. Raises StageError."""
        outcome, lasts_s = self._outcome, hours * _S_PER_HOUR
        ground = ProvingGround(self._scenario, outcome.seed)
        cast = self._scenario.cast(outcome.seed)
        exponent = outcome.rotation_exponent
        async with TrialStage(
            ground, cast, folder, rotation_exponent=exponent, progress=self._tell
        ) as stage:
            await stage.provision()
            company = Company("soak", self._scenario, stage, ground)
            player = Player(company, self._played)
            outcome.samples = Samples()
            self._zero_us = company.truth.now_us()
            jacks = (car.jack.name for car in cast.cars)
            self._counted_ns = dict.fromkeys(jacks, time.monotonic_ns())
            with self._interruptible(player), _sampling(outcome.samples, stage, lasts_s):
                await self._play(player, company, lasts_s)
            outcome.lasted_s = time.monotonic() - outcome.samples.began_s
            self._count_codes(stage)
            self._tell("audit")
            outcome.audit = await journeys.audit(stage)
            ended = (p.name for p in stage.processes.values() if p.ended_unasked)
            outcome.failures += [f"{name} has ended by itself." for name in ended]

    async def _play(self, player: Player, company: Company, lasts_s: float) -> None:
        began_s = self._outcome.samples.began_s
        for stretch in stretches(self._scenario, self._outcome.seed):
            gone_s = time.monotonic() - began_s
            if gone_s >= lasts_s or self._outcome.interrupted:
                return
            problems = len(self._outcome.failures)
            self._tell(
                f"{gone_s / lasts_s:.0%}: {len(self._outcome.paid)} payments, {problems} problems"
            )
            await player.play(stretch)
            self._keep_little(player, company)

    def _keep_little(self, player: Player, company: Company) -> None:
        """What is kept must not grow with every payment as long as it lasts."""
        player.played.clear()
        self._outcome.faults += [
            {
                "name": fault.name,
                "machine": fault.machine,
                "from_s": self._since_s(fault.from_us),
                "to_s": self._since_s(fault.to_us),
            }
            for fault in company.truth.faults
            if fault.to_us is not None
        ]
        company.truth.forget()
        self._count_codes(company.stage)
        before_ns = time.monotonic_ns() - round(_REMEMBERED_S * _NS_PER_S)
        for trace in company.stage.traces.values():
            trace.forget(before_ns)

    def _count_codes(self, stage: Stage) -> None:
        for jack, counted_ns in self._counted_ns.items():
            events = (e for e in stage.traces[jack].events() if e.event == "beacon_rotated")
            turned_ns = [event.mono_ns for event in events if event.mono_ns > counted_ns]
            self._outcome.codes[jack] += len(turned_ns)
            self._counted_ns[jack] = max(turned_ns, default=counted_ns)

    def _played(self, one: Played) -> None:
        self._outcome.steps += 1
        if one.failure:
            self._outcome.failures.append(f"{one.step.do}: {one.failure}")
        if one.ending.took_ms is not None:
            at_s = self._since_s(one.to_us)
            self._outcome.paid.append(Paid(at_s, one.ending.took_ms, one.ending.status))

    def _since_s(self, true_us: int) -> float:
        """Seconds since the soak began."""
        return round((true_us - self._zero_us) / 1e6, 1)

    @contextlib.contextmanager
    def _interruptible(self, player: Player) -> Iterator[None]:
        """Ctrl-C and SIGTERM let steps that have begun end, and nothing begin."""

        def interrupt() -> None:
            self._outcome.interrupted = True
            player.stop()
            self._tell("interrupted; what has begun is ended, then comes the audit")

        loop, numbers = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM)
        before = [signal.getsignal(number) for number in numbers]
        for number in numbers:
            loop.add_signal_handler(number, interrupt)
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                loop.remove_signal_handler(number)
                signal.signal(number, handler)


@contextlib.contextmanager
def _sampling(samples: Samples, stage: TrialStage, lasts_s: float) -> Iterator[None]:
    every_s = min(max(lasts_s / _SAMPLES, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)
    taking = asyncio.create_task(samples.keep_taking(stage, every_s))
    try:
        yield
    finally:
        taking.cancel()
