"""From beacon codes to jacks (docs/protocol.md, Channel one). Pure: time is an argument.

For each slot around the present the index holds the code of every jack. It is built a piece at a
time, ahead of need (``prepare``), and finished on the spot when a code has to be resolved.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from twochannel.protocol.beacon import MAX_COUNTER_S, code_at, slot_length_s, slot_of


@dataclass(slots=True)
class _Slot:
    """Codes of the first ``entries`` entries: code to entry numbers, more than one if shared."""

    codes: dict[bytes, tuple[int, ...]] = field(default_factory=dict)
    entries: int = 0


class CodeIndex:
    """Resolves codes in the slots -1, 0 and +1 around a time."""

    def __init__(self, rotation_exponent: int) -> None:
        self._exponent = rotation_exponent
        self._entries: list[tuple[str, bytes]] = []
        self._current: dict[str, int] = {}
        self._slots: dict[int, _Slot] = {}

    def __len__(self) -> int:
        """How many jacks it knows."""
        return len(self._current)

    def put(self, jack_id: str, identity_key: bytes) -> None:
        """Know a jack, or its new key: from then on its old one resolves to nothing."""
        number = self._current.get(jack_id)
        if number is None or self._entries[number][1] != identity_key:
            self._current[jack_id] = len(self._entries)
            self._entries.append((jack_id, identity_key))

    def resolve(self, code: bytes, now_s: int) -> str | None:
        """The jack that uses ``code`` about now; None if there is none, or more than one."""
        self._forget(now_s)
        found: set[str] = set()
        for start_s in self._starts(now_s, (-1, 0, 1)):
            numbers = self._finished(start_s).codes.get(code, ())
            found.update(name for name in map(self._current_jack, numbers) if name)
        return found.pop() if len(found) == 1 else None

    def prepare(self, now_s: int, budget: int) -> bool:
        """Compute at most ``budget`` codes of this and the coming slots; whether all is ready."""
        self._forget(now_s)
        for start_s in self._starts(now_s, (-1, 0, 1, 2)):
            budget -= self._extend(start_s, budget)
        return budget > 0

    def _current_jack(self, number: int) -> str | None:
        jack_id = self._entries[number][0]
        return jack_id if self._current[jack_id] == number else None

    def _starts(self, now_s: int, offsets: tuple[int, ...]) -> list[int]:
        length_s = slot_length_s(self._exponent)
        starts = (slot_of(now_s, self._exponent) + offset * length_s for offset in offsets)
        return [start_s for start_s in starts if 0 <= start_s <= MAX_COUNTER_S]

    def _forget(self, now_s: int) -> None:
        wanted = set(self._starts(now_s, (-1, 0, 1, 2)))
        for start_s in self._slots.keys() - wanted:
            del self._slots[start_s]

    def _finished(self, start_s: int) -> _Slot:
        self._extend(start_s, len(self._entries))
        return self._slots[start_s]

    def _extend(self, start_s: int, budget: int) -> int:
        slot = self._slots.setdefault(start_s, _Slot())
        end = min(slot.entries + max(budget, 0), len(self._entries))
        for number in range(slot.entries, end):
            code = code_at(self._entries[number][1], start_s, self._exponent)
            slot.codes[code] = (*slot.codes.get(code, ()), number)
        computed = end - slot.entries
        slot.entries = end
        return computed
