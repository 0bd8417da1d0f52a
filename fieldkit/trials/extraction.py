"""From a recorded payment to a case for the tests: the seconds before its decision. Pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from fieldkit.trials.lane_case import LaneCase
from fieldkit.trials.lane_recording import (
    Answer,
    Decision,
    HeardAdvert,
    LaneRecording,
    Outcome,
    Stretch,
)
from fieldkit.trials.replaying import Ear, replay
from payment_device.sightings import LaneRules

#: The first length is the longest memory of the sightings but for levels and the age of a track,
#: the last is longer than a code lives.
LENGTHS_S: Final = (12.0, 24.0, 48.0, 96.0, 192.0, 384.0)
_HANDLE_BYTES: Final = 2
#: Of a line in the module that is made.
_WIDTH: Final = 96


class ExtractionError(Exception):
    """No case can be made of that payment. The text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a test wants: an outcome, and of one that is chosen its handle."""

    outcome: Outcome
    jack: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """``chosen:HANDLE``, ``ambiguous`` or ``none``. Raises ValueError."""
        outcome, _, jack = text.partition(":")
        if outcome == Outcome.CHOSEN and re.fullmatch("[0-9a-f]{4}", jack):
            return cls(Outcome.CHOSEN, jack)
        if text in (Outcome.AMBIGUOUS, Outcome.NONE):
            return cls(Outcome(text))
        raise ValueError(f"write chosen:HANDLE, ambiguous or none, not {text!r}")

    @classmethod
    def of(cls, answer: Answer) -> Self:
        """That it stays as it is."""
        return cls(answer.outcome, answer.jack)

    def __str__(self) -> str:
        return f"chosen {self.jack}" if self.jack else self.outcome.value

    def met_by(self, answer: Answer) -> bool:
        """Whether an answer is what is wanted."""
        return (answer.outcome, answer.jack) == (self.outcome, self.jack)


def extract(
    trial: str,
    recordings: Iterable[LaneRecording],
    payment: str,
    trace: Sequence[Mapping[str, Any]],
) -> LaneCase:
    """The case of ``payment``: no longer than the code of today needs to answer as with all.

    Raises ExtractionError.
    """
    recording, index = _found(list(recordings), payment)
    decision = recording.decisions[index]
    *_, whole = replay(replace(recording, decisions=recording.decisions[: index + 1]))
    if whole.answer is None or recording.rules is None:
        raise ExtractionError(f"The decision of {payment} cannot be decided again: {whole.reason}.")
    for length_s in LENGTHS_S:
        begins_us = decision.now_us - round(length_s * 1e6)
        cut = _cut(recording, recording.rules, index, begins_us)
        case = LaneCase(
            trial, recording.machine, recording.lane, payment, recording.rules, *cut, trace
        )
        if case.decided() == whole.answer:
            return case
    raise ExtractionError(
        f"The decision of {payment} depends on what was heard more than {LENGTHS_S[-1]:g} s "
        "before it; keep the whole trial for this one."
    )


def _found(recordings: Sequence[LaneRecording], payment: str) -> tuple[LaneRecording, int]:
    """The decision that ended the question of ``payment``."""
    for recording in recordings:
        for index in reversed(range(len(recording.decisions))):
            if recording.decisions[index].payment == payment:
                return recording, index
    known = sorted({d.payment for r in recordings for d in r.decisions if d.payment})
    raise ExtractionError(
        f"No terminal recorded a decision for payment {payment}. "
        + (f"There are decisions for: {', '.join(known)}." if known else "There are none at all.")
    )


def _cut(
    recording: LaneRecording, rules: LaneRules, index: int, begins_us: int
) -> tuple[list[HeardAdvert], list[Decision]]:
    """Adverts and decisions from ``begins_us`` to the decision, without other payments."""
    decision = recording.decisions[index]
    stretch = next(s for s in recording.stretches if s.before <= decision.adverts <= s.after)
    heard = stretch.adverts[: decision.adverts - stretch.before]
    skipped = next((n for n, a in enumerate(heard) if a.mono_us >= begins_us), len(heard))
    alias = _aliases({advert.code for advert in heard[skipped:]})
    adverts = [replace(advert, code=alias[advert.code]) for advert in heard[skipped:]]
    ear, decisions = Ear(Stretch(0, heard), rules), []
    before = stretch.before + skipped
    for one in _kept(recording.decisions[: index + 1], decision.payment, before):
        ear.feed(one.adverts - stretch.before)
        named = ear.codes(one.elsewhere, one.now_us)
        elsewhere = {alias[code].hex(): db for code, db in named.items() if code in alias}
        decisions.append(replace(one, adverts=one.adverts - before, elsewhere=elsewhere))
    return adverts, decisions


def _kept(decisions: Sequence[Decision], payment: str | None, before: int) -> Iterator[Decision]:
    """Those of this payment, and those that belong to none."""
    for decision in decisions:
        if decision.adverts >= before and decision.payment in (None, payment):
            yield decision


def _aliases(codes: set[bytes]) -> dict[bytes, bytes]:
    """Other codes with the same handles, in the same order."""
    alias, seen = {}, dict[bytes, int]()
    for code in sorted(codes):
        handle = code[:_HANDLE_BYTES]
        seen[handle] = seen.get(handle, 0) + 1
        alias[code] = handle + seen[handle].to_bytes(len(code) - _HANDLE_BYTES)
    return alias


def settled(trace: Sequence[Mapping[str, Any]]) -> str:
    """How a payment ended, by what agents wrote of it."""
    ends = (e["fields"]["status"] for e in trace if e["event"] == "payment_settled")
    return str(next(ends, "never settled"))


def module_name(case: LaneCase) -> str:
    """Of the test's file, without its ending: lane and the end of the payment's id."""
    lane = re.sub("[^a-z0-9]+", "_", case.lane.lower()).strip("_")
    return f"test_{lane}_{case.payment.replace('-', '')[-8:]}"


def module_text(case: LaneCase, wanted: Expectation) -> str:
    """The module that replays a case and demands what is wanted."""
    heard_s = (case.decision.now_us - case.adverts[0].mono_us) / 1e6 if case.adverts else 0.0
    codes = len({advert.code for advert in case.adverts})
    about = (
        f"Recorded: {case.decision.answer}. Wanted: {wanted}. The file beside this one has what "
        f"the lane heard in the {heard_s:.0f} s before: {codes} codes."
    )
    title = f"Payment …{case.payment[-8:]} at {case.lane}, from the trial {case.trial}."
    return _MODULE.format(
        title=textwrap.fill(title, _WIDTH - 3),
        about=textwrap.fill(about, _WIDTH),
        name=str(wanted).replace(" ", "_"),
        demand=f'(answer.outcome, answer.jack) == ("chosen", "{wanted.jack}")'
        if wanted.jack
        else f'answer.outcome == "{wanted.outcome}"',
    )


_MODULE: Final = '''"""{title}

{about}
"""

from __future__ import annotations

from pathlib import Path

from fieldkit.trials.lane_case import load

CASE = load(Path(__file__).with_suffix(".json"))


def test_the_answer_is_{name}() -> None:
    answer = CASE.decided()
    assert {demand}, str(answer)
'''
