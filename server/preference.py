"""``Prefer: wait=N`` (RFC 7240): how long an answer may be held. Pure."""

from __future__ import annotations

import re
from typing import Final

from twochannel.protocol.limits import MAX_WAIT_S

APPLIED_HEADER: Final = "Preference-Applied"
_WAIT = re.compile(r'\s*wait\s*=\s*"?([0-9]{1,6})"?\s*(?:;.*)?', re.ASCII | re.IGNORECASE)


def wait_preference_s(header: str) -> int | None:
    """Seconds to wait, at most the limit; None without a preference that can be read.

    Preferences are wishes: one that cannot be read is passed over, the first ``wait`` counts.
    """
    for preference in header.split(","):
        if match := _WAIT.fullmatch(preference):
            return min(int(match[1]), MAX_WAIT_S)
    return None


def applied(wait_s: int | None) -> dict[str, str]:
    """The header that says which preference was honoured."""
    return {} if wait_s is None else {APPLIED_HEADER: f"wait={wait_s}"}
