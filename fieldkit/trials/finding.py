"""What a cause rule has found. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from fieldkit.trials.timeline import Happening


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence, and the events that show it, besides those of the payment itself."""

    text: str
    evidence: tuple[Happening, ...] = ()
