"""When to be connectable: every state of the jack, in a table."""

from __future__ import annotations

from itertools import product

from cigarjack.invitation_rules import Occasion, occasion


def test_it_invites_only_whom_it_expects() -> None:
    for window_open, paired, clock_trusted, called in product((False, True), repeat=4):
        found = occasion(
            window_open=window_open, paired=paired, clock_trusted=clock_trusted, called=called
        )
        if window_open:
            assert found is Occasion.PAIRING
        elif paired and not clock_trusted:
            assert found is Occasion.CLOCK_UNSYNCHRONISED
        elif paired and called:
            assert found is Occasion.CALLED
        else:
            assert found is None
