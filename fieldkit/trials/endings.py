"""How a boot of a machine ended, as far as its last line tells. Pure."""

from __future__ import annotations

from fieldkit.trials.timeline import Happening


def told_end(last: Happening) -> str:
    """In words, to follow "the machine": by the ``last`` that an agent noted in that boot."""
    if last.name == "agent_stopped":
        return "was rebooted, or lost its power after its agent had been stopped"
    return "lost its power or was reset, with no orderly end"
