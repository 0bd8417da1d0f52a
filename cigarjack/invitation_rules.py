"""PURE. When the jack takes connections over GATT (docs/protocol.md, Phone and jack over GATT).

To invite is to be connectable, and on most adapters to show the adapter's own address. So it is
done only while somebody is expected.
"""

from __future__ import annotations

from enum import StrEnum


class Occasion(StrEnum):
    """Whom the jack expects."""

    PAIRING = "pairing"
    CLOCK_UNSYNCHRONISED = "clock_unsynchronised"
    CALLED = "called"


def occasion(
    *, window_open: bool, paired: bool, clock_trusted: bool, called: bool
) -> Occasion | None:
    """Why to invite now, or None: whoever holds the label, or the owner's phone.

    Without the time nothing payable is on the air that the invitation would be seen with.
    """
    if window_open:
        return Occasion.PAIRING
    if not paired:
        return None
    if not clock_trusted:
        return Occasion.CLOCK_UNSYNCHRONISED
    return Occasion.CALLED if called else None
