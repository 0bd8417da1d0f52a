"""Why a payment failed or was slow: an ordered catalogue of rules. Pure.

Each rule names what must be seen in the traces. The first that fits is the cause: what explains
more stands before what it brings about. Where none fits, that is said (docs/trial-report.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from fieldkit.trials import failure_rules, slowness_rules
from fieldkit.trials.finding import Finding
from fieldkit.trials.scene import Scene

UNEXPLAINED: Final = "unexplained"


@dataclass(frozen=True, slots=True)
class Rule:
    """``title``: the kind of cause, in tables. ``seen``: what must be in the traces."""

    name: str
    title: str
    seen: str
    judge: Callable[[Scene], Finding | None]


@dataclass(frozen=True, slots=True)
class Cause:
    """``title`` of the rule that fitted, ``text`` as one sentence, ``evidence`` for it."""

    name: str
    title: str
    finding: Finding

    @property
    def text(self) -> str:
        return self.finding.text


def _rule(name: str, title: str, judge: Callable[[Scene], Finding | None]) -> Rule:
    """``seen`` is what the judge's docstring says."""
    return Rule(name, title, " ".join((judge.__doc__ or "").split()), judge)


FAILURES: Final = (
    _rule("owner_declined", "owner declined", failure_rules.owner_declined),
    _rule("canceled", "canceled", failure_rules.canceled),
    _rule("power_cut", "power cut or reboot", failure_rules.power_cut),
    _rule("restarted", "agent restarted", failure_rules.restarted),
    _rule("terminal_radio", "terminal without radio", failure_rules.terminal_radio),
    _rule("jack_radio", "jack without radio", failure_rules.jack_radio),
    _rule("jack_silent", "jack silent", failure_rules.jack_silent),
    _rule("ambiguous", "ambiguous lane", failure_rules.ambiguous),
    _rule("no_jack", "no jack at the lane", failure_rules.no_jack),
    _rule("request_refused", "request refused", failure_rules.request_refused),
    _rule("request_lost", "server not reached", failure_rules.request_lost),
    _rule("phone_offline", "phone offline", failure_rules.phone_offline),
    _rule("jack_refused", "jack refused", failure_rules.jack_refused),
    _rule("jack_unreachable", "jack not reached", failure_rules.jack_unreachable),
    _rule("presence", "lane not heard", failure_rules.presence),
    _rule("owner_silent", "owner silent", failure_rules.owner_silent),
    _rule("confirmation_lost", "confirmation lost", failure_rules.confirmation_lost),
    _rule("confirmation_refused", "confirmation refused", failure_rules.confirmation_refused),
    _rule("processor_refused", "processor declined", failure_rules.processor_refused),
    _rule("processor_unknown", "processor did not answer", failure_rules.processor_unknown),
    _rule("outcome_lost", "outcome not told", failure_rules.outcome_lost),
)
SLOWNESS: Final = (
    _rule("slow_restart", "agent restarted", slowness_rules.restarted),
    _rule("slow_gatt", "Bluetooth instead of Wi-Fi", slowness_rules.over_gatt),
    _rule("slow_wifi", "Wi-Fi lost for a while", slowness_rules.wifi_back),
    _rule("slow_presence", "waited for the lane", slowness_rules.presence),
    _rule("slow_choice", "waited for a clear lane", slowness_rules.choice),
    _rule("slow_request", "request sent again", slowness_rules.request_again),
    _rule("slow_phone", "phone was offline", slowness_rules.phone_back),
    _rule("slow_confirmation", "confirmation sent again", slowness_rules.confirmation_again),
    _rule("slow_processor", "slow processor", slowness_rules.processor),
)


def cause(scene: Scene) -> Cause:
    """Why the attempt failed, or was slow if it did not."""
    rules: Sequence[Rule] = FAILURES if scene.failed else SLOWNESS
    return next(_fitting(rules, scene), None) or Cause(
        UNEXPLAINED, "not explained", _unexplained(scene)
    )


def _fitting(rules: Iterable[Rule], scene: Scene) -> Iterator[Cause]:
    for rule in rules:
        finding = rule.judge(scene)
        if finding is not None:
            yield Cause(rule.name, rule.title, finding)


def _unexplained(scene: Scene) -> Finding:
    unplaced = [(p, h) for p in failure_rules.PARTIES if (h := scene.unplaced_start(p))]
    doubts = "".join(
        f" Whether it was a new start of the {party} cannot be told: its time is not known."
        for party, _ in unplaced
    )
    starts = tuple(happening for _, happening in unplaced)
    if scene.failed:
        last = scene.attempt.own[-1]
        return Finding(
            "Not explained by the recording: the last that any party noted of it is "
            f"{last.party} {last.name.replace('_', ' ')}.{doubts}",
            (last, *starts),
        )
    leg = slowness_rules.slowest_leg(scene)
    return Finding(f"Not explained by the recording; {leg}.{doubts}", starts)
