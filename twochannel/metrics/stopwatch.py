"""PURE. Times the legs of payments from the events of one agent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from twochannel.metrics.catalogue import Leg

#: Legs that are under way at once. A payment that never ends is forgotten for a newer one.
_UNDER_WAY: Final = 1000


class Stopwatch:
    """Legs that begin twice count from the second time."""

    def __init__(self, legs: Sequence[Leg]) -> None:
        self._legs = legs
        self._began_ns: dict[tuple[object, str], int] = {}

    def take(self, line: Mapping[str, object]) -> Iterator[tuple[str, float]]:
        """The legs that end with this line of a trace, with their seconds."""
        payment, event, at_ns = line["payment"], line["event"], line["mono_ns"]
        if payment is None or not isinstance(at_ns, int):
            return
        for leg in self._legs:
            key = payment, leg.name
            if event == leg.ends and (began_ns := self._began_ns.pop(key, None)) is not None:
                yield leg.name, (at_ns - began_ns) / 1e9
            if event == leg.begins:
                self._began_ns[key] = at_ns
        while len(self._began_ns) > _UNDER_WAY:
            del self._began_ns[next(iter(self._began_ns))]
