"""Hand-made traces: payments that go wrong in a known way, on one machine's clock."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from fieldkit.trials.timeline import Timeline, lay_out
from tests.fieldkit.trials.machines import NS, STEPS, Machine, Trip

MS = NS // 1000
PAYMENT = "01890a5d-ac96-774b-bcce-b302099a8057"
ASKED_NS = 100 * NS


def trip() -> Trip:
    """Four agents that have started, phone and server connected, a code on the air."""
    parties = ("server", "terminal", "phone", "jack")
    made = Trip({party: Machine("desk") for party in parties})
    for party in parties:
        made.note(party, "agent_started", NS)
    made.note("phone", "server_connected", 2 * NS)
    made.note("phone", "jack_found", 2 * NS, jack="J")
    made.note("jack", "beacon_rotated", 3 * NS, handle="3f2a")
    return made


def pay(
    made: Trip,
    *,
    payment: str = PAYMENT,
    at_ns: int = ASKED_NS,
    until: str = "",
    without: Collection[str] = (),
    delays_ms: Mapping[str, int] | None = None,
    fields: Mapping[str, Mapping[str, Any]] | None = None,
) -> int:
    """A payment step by step, as it goes well.

    Steps go by ``party event``: ``until`` is the last that happens, those ``without`` do not,
    ``delays_ms`` come before one, ``fields`` replace its own. When it was over.
    """
    now_ns = at_ns
    for party, event, _, usual in STEPS:
        step = f"{party} {event}"
        now_ns += (delays_ms or {}).get(step, 2) * MS
        if step not in without:
            made.note(party, event, now_ns, payment, **(fields or {}).get(step, usual))
        if step == until:
            break
    return now_ns


def laid_out(play: Callable[[Trip], object]) -> Timeline:
    """The timeline after ``play`` has noted what went on."""
    made = trip()
    play(made)
    for record in made.agents:
        record.events.sort(key=lambda event: event.mono_ns)
    return lay_out(made)
