"""How a boot of a machine ended, as far as its last line tells. Pure."""

from __future__ import annotations

from fieldkit.trials.timeline import Happening


def told_end(last: Happening) -> str:
    """In words, to follow "the machine": by the ``last`` that an agent noted in that boot.

    A jack notes that its radio is off when it is stopped; others note nothing on their way out.
    """
    if last.name == "beacon_silent" and last.field("reason") == "radio_off":
        return "was rebooted, or lost its power while its radio was off"
    if last.party == "jack":
        return "lost its power or was reset, with no orderly end"
    return "was rebooted or lost its power"
