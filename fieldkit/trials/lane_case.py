"""One decision of a lane and what it was made of, as a file that a test can keep.

JSON: where it comes from, the rules, the adverts before it (a line each: microseconds, code, dBm),
the decisions of those seconds, the one that counts last, and the payment's trace. Codes are not the
real ones: their first four digits are, by which people know them, and their order is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from fieldkit.trials.lane_recording import (
    Answer,
    Decision,
    HeardAdvert,
    LaneRecording,
    Outcome,
    Stretch,
)
from fieldkit.trials.replaying import replay
from payment_device.sightings import LaneRules

FORMAT: Final = 1


class CaseError(Exception):
    """The file is no case, or its decision cannot be decided again. The text says why."""


@dataclass(frozen=True, slots=True)
class LaneCase:
    """``decisions`` are those of the recorded seconds; the last is the one in question.

    ``trace``: what all agents wrote about the payment, in the order of the archive.
    """

    trial: str
    machine: str
    lane: str
    payment: str
    rules: LaneRules
    adverts: Sequence[HeardAdvert]
    decisions: Sequence[Decision]
    trace: Sequence[Mapping[str, Any]]

    @property
    def decision(self) -> Decision:
        """The one in question, as it was recorded."""
        return self.decisions[-1]

    def decided(self, **changed_rules: float) -> Answer:
        """What today's code answers; by name, rules in place of the recorded ones.

        Raises CaseError.
        """
        rules = replace(self.rules, **changed_rules)  # type: ignore[arg-type]
        recording = LaneRecording(
            self.machine, self.lane, 1, rules, [Stretch(0, self.adverts)], self.decisions
        )
        *_, last = replay(recording)
        if last.answer is None:
            raise CaseError(f"the decision cannot be decided again: {last.reason}")
        return last.answer

    def to_text(self) -> str:
        """As it is written, with a line for each advert and each decision."""
        adverts = [[a.mono_us, a.code.hex(), a.rssi_dbm] for a in self.adverts]
        members: dict[str, Any] = {
            "format": FORMAT,
            "trial": self.trial,
            "machine": self.machine,
            "lane": self.lane,
            "payment": self.payment,
            "rules": asdict(self.rules),
        }
        lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in members.items()]
        lines += [
            _listed("adverts", adverts),
            _listed("decisions", [_document(decision) for decision in self.decisions]),
            _listed("trace", self.trace),
        ]
        return "{\n" + ",\n".join(lines) + "\n}\n"


def load(file: Path) -> LaneCase:
    """Raises CaseError."""
    try:
        members = json.loads(file.read_text(encoding="utf-8"))
        if members["format"] != FORMAT:
            raise CaseError(f"{file}: format {members['format']} is not known")
        return LaneCase(
            trial=members["trial"],
            machine=members["machine"],
            lane=members["lane"],
            payment=members["payment"],
            rules=LaneRules(**members["rules"]),
            adverts=[HeardAdvert(at, bytes.fromhex(c), dbm) for at, c, dbm in members["adverts"]],
            decisions=[_decision(document) for document in members["decisions"]],
            trace=members["trace"],
        )
    except OSError as error:
        raise CaseError(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CaseError(f"{file} is no case of a lane: {error}") from None


def _listed(name: str, values: Sequence[object]) -> str:
    lines = ",\n".join(f"    {json.dumps(value)}" for value in values)
    return f"  {json.dumps(name)}: [\n{lines}\n  ]" if lines else f"  {json.dumps(name)}: []"


def _document(decision: Decision) -> dict[str, Any]:
    return {
        "now_us": decision.now_us,
        "adverts": decision.adverts,
        "asked": decision.asked,
        "payment": decision.payment,
        "picked": decision.picked,
        "elsewhere": dict(decision.elsewhere),
        "answer": decision.answer.to_json(),
    }


def _decision(document: Mapping[str, Any]) -> Decision:
    names = ("now_us", "adverts", "asked", "payment", "picked", "elsewhere")
    return Decision(answer=read_answer(document["answer"]), **{n: document[n] for n in names})


def read_answer(document: Mapping[str, Any]) -> Answer:
    """The reverse of ``Answer.to_json``. Raises ValueError, KeyError, TypeError."""
    return Answer(
        Outcome(document["outcome"]),
        document["reason"],
        document["jack"],
        document["others"],
        tuple((one["jack"], one["rssi_dbm"]) for one in document["candidates"]),
    )
