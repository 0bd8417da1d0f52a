"""What a lane decided and what the decision was made of, in the trace (docs/trace.md).

With the recorded adverts that is enough to decide again at the desk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from payment_device.sightings import Ambiguous, Choice, Chosen, LaneRules, Nearby
from twochannel.trace import Trace

#: At least so often while anything is heard.
_EVERY_US: Final = 1_000_000
#: Of a code that another lane hears, at least.
_PREFIX_DIGITS: Final = 4


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What a decision was made of.

    ``asked``: by whom. ``now_us``: CLOCK_MONOTONIC. ``adverts``: how many the run had heard.
    ``picked``: a handle that the attendant named. ``elsewhere``: how well other lanes heard codes.
    """

    asked: str
    now_us: int
    adverts: int
    picked: str | None
    elsewhere: Mapping[bytes, float]
    payment: str | None = None


class DecisionTrace:
    """Writes what is new, and while jacks are heard once a second what is not."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._last: tuple[object, ...] = ()
        self._last_us: int | None = None

    def rules(self, rules: LaneRules) -> None:
        """By which the lane decides from now on."""
        self._trace.event("lane_rules", **asdict(rules))

    def due(self, now_us: int) -> bool:
        """Whether nothing was written for a second."""
        return self._last_us is None or now_us - self._last_us >= _EVERY_US

    def note(
        self, inquiry: Inquiry, choice: Choice, codes: Sequence[bytes], *, final: bool = False
    ) -> None:
        """``codes``: all that are heard. ``final``: the answer that a charge gets."""
        answer = _answer(choice)
        handles = tuple(jack["jack"] for jack in answer["candidates"])
        known = (answer["outcome"], answer["reason"], handles, inquiry.picked)
        again = bool(codes) and self.due(inquiry.now_us)
        if known == self._last and not final and not again:
            return
        self._last, self._last_us = known, inquiry.now_us
        self._trace.event(
            "lane_decision",
            inquiry.payment,
            asked=inquiry.asked,
            now_us=inquiry.now_us,
            adverts=inquiry.adverts,
            picked=inquiry.picked,
            elsewhere=_by_prefix(inquiry.elsewhere, codes),
            **answer,
        )


def _answer(choice: Choice) -> dict[str, Any]:
    if isinstance(choice, Chosen):
        jack = {"jack": choice.jack.handle, "others": choice.others}
        return {"outcome": "chosen", "reason": None, **jack, "candidates": _shown([choice.jack])}
    return {
        "outcome": "ambiguous" if isinstance(choice, Ambiguous) else "none",
        "reason": choice.reason.value,
        "jack": None,
        "others": None,
        "candidates": _shown(choice.candidates if isinstance(choice, Ambiguous) else ()),
    }


def _shown(jacks: Iterable[Nearby]) -> list[dict[str, Any]]:
    return [{"jack": jack.handle, "rssi_dbm": jack.rssi_dbm} for jack in jacks]


def _by_prefix(elsewhere: Mapping[bytes, float], codes: Sequence[bytes]) -> dict[str, float]:
    """By the beginning of each code that no other one heard here has."""
    digits = [code.hex() for code in codes] if elsewhere else []
    found = {}
    for code, level_db in elsewhere.items():
        whole = code.hex()
        length = _PREFIX_DIGITS
        while sum(other.startswith(whole[:length]) for other in digits) > 1:
            length += 1
        found[whole[:length]] = level_db
    return found
