"""How an outcome looks on a page."""

from __future__ import annotations

from enum import StrEnum


class Tone(StrEnum):
    """Named by what it says, not by its colour; the stylesheet has one look for each."""

    GOOD = "good"
    WAITING = "waiting"
    BAD = "bad"
    CALM = "calm"
