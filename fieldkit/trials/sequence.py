"""What happened, listed no finer than its times are known. Pure.

A list goes by the middles of the bounds, but what was received is below what was sent, and each
clock's own readings are in their order. What may have come before something above it is marked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from fieldkit.trials.alignment import Relation
from fieldkit.trials.exchanges import EXCHANGES, Exchange
from fieldkit.trials.timeline import Happening, Timeline

#: The server notes a challenge when it is on its way: good enough for a list, not for a bound.
_SENT: Final = (
    *EXCHANGES,
    Exchange(("server", "challenge_issued"), ("phone", "challenge_received")),
    Exchange(("terminal", "jack_chosen"), ("jack", "lane_heard")),
)


@dataclass(frozen=True, slots=True)
class Listed:
    """``unsure``: it may have come before something above it."""

    happening: Happening
    unsure: bool


def in_order(happenings: Iterable[Happening], timeline: Timeline) -> list[Listed]:
    """What was noted of one payment and beside it."""
    noted = sorted(happenings, key=lambda happening: happening.at_ns)
    before = _before(noted, timeline)
    left, known, listed = list(range(len(noted))), dict[int, set[int]](), list[Listed]()
    while left:
        place = next((p for p in left if before[p].isdisjoint(left)), left[0])
        left.remove(place)
        earlier = before[place] & known.keys()
        known[place] = earlier.union(*(known[p] for p in earlier))
        listed.append(Listed(noted[place], len(known[place]) < len(listed)))
    return listed


def _before(noted: Sequence[Happening], timeline: Timeline) -> list[set[int]]:
    """The places of what is known to have come before each, as far as pairs tell."""
    found: list[set[int]] = [set() for _ in noted]
    for later, one in enumerate(noted):
        for earlier, other in enumerate(noted[:later]):
            known = timeline.order(other, one)
            if other.clock == one.clock or known is Relation.BEFORE:
                found[later].add(earlier)
            elif known is Relation.AFTER:
                # By a wall clock, beside what is known of it.
                found[earlier].add(later)
    for sent, received in _messages(noted):
        if received not in found[sent]:
            found[received].add(sent)
    return found


def _messages(noted: Sequence[Happening]) -> Iterator[tuple[int, int]]:
    """Places of what was sent, and of what was received after it."""
    kinds = [(happening.party, happening.name) for happening in noted]
    fields = [happening.event.fields for happening in noted]
    for exchange in _SENT:
        if exchange.opening and (exchange.sent[0], exchange.opening) not in kinds:
            continue
        places = [p for p, k in enumerate(kinds) if k == exchange.sent]
        sent = next((p for p in places if exchange.sent_if(fields[p])), None)
        for place, kind in enumerate(kinds):
            counts = kind == exchange.received and exchange.received_if(fields[place])
            if sent is not None and counts:
                yield sent, place


def unsure(spans: Iterable[tuple[str, int, float]]) -> list[bool]:
    """Of each teller, middle and uncertainty: whether it may have come before one above it.

    Sorted by the middles. What one of them tells is in order.
    """
    found: list[bool] = []
    latest_ns: dict[str, float] = {}
    for teller, at_ns, within_ns in spans:
        others_ns = (ns for other, ns in latest_ns.items() if other != teller)
        found.append(any(ns >= at_ns - within_ns for ns in others_ns))
        latest_ns[teller] = max(latest_ns.get(teller, -math.inf), at_ns + within_ns)
    return found
