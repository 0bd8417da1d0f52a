"""PURE. The rows of what a radio was measured to do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Final

from twochannel.doctor import catalogue
from twochannel.doctor.findings import Missing, Refused, Row, Unread, judged
from twochannel.doctor.readings import AdapterReading, Broadcasting, Listening

MEASURED: Final = (
    *(catalogue.HEARS, catalogue.BLIND, catalogue.RSSI_STEP),
    *(catalogue.ADVERTISES, catalogue.INTERVAL),
)

#: Below this many adverts a second, gaps are the place's and not the radio's.
_BUSY_ENOUGH_PER_S: Final = 1.0
#: The jack waits this long for a lane frame (docs/protocol.md, Presence).
_BLIND_WARNING_S: Final = 2.0
#: BlueZ without a filter pauses for 5 s.
_BLIND_FAILING_S: Final = 4.0
#: A gap is the radio's only if it stands out from the usual ones.
_BLIND_TO_USUAL: Final = 10.0
#: BlueZ without a filter: RSSI_THRESHOLD in its src/device.c.
COARSE_STEP_DB: Final = 8
_CHANGES_NEEDED: Final = 5
#: Of bluetoothd that takes no interval: the kernel's le_adv_max_interval, 0x0800 * 0.625 ms.
KERNEL_INTERVAL_MS: Final = 1280
#: Without extended advertising (hci_enable_advertising_sync, docs/decisions/0010).
LEGACY_INTERVAL_MS: Final = (100, 150)
#: An advert adds up to 10 ms of its own accord; the rest is for adverts that are lost.
_INTERVAL_SLACK: Final = 1.6
_GAPS_NEEDED: Final = 5


def gaps_s(listening: Listening) -> list[float]:
    """Between adverts, and from the ends of the measurement to the nearest one."""
    return [b - a for a, b in pairwise((0.0, *listening.heard_at_s, listening.seconds))]


def hears_row(listening: Listening | Missing) -> Row:
    def rule(known: Listening) -> Row:
        rate = len(known.heard_at_s) / known.seconds
        found = f"{rate:.1f} a second in {known.seconds:.0f} s"
        if not known.heard_at_s:
            return catalogue.HEARS.warning(f"none in {known.seconds:.0f} s", 0.0)
        return catalogue.HEARS.ok(found, round(rate, 2))

    return judged(catalogue.HEARS, listening, rule)


def blind_row(listening: Listening | Missing) -> Row:
    def rule(known: Listening) -> Row:
        if len(known.heard_at_s) < known.seconds * _BUSY_ENOUGH_PER_S:
            heard = len(known.heard_at_s)
            quiet = f"only {heard} adverts in {known.seconds:.0f} s: put a sender beside it"
            return catalogue.BLIND.missing(Unread(quiet))
        gaps = gaps_s(known)
        longest, usual = max(gaps), median(gaps)
        found = f"{longest:.2f} s; usually {usual:.2f} s"
        value = round(longest, 3)
        if longest < max(_BLIND_WARNING_S, _BLIND_TO_USUAL * usual):
            return catalogue.BLIND.ok(found, value)
        if longest < _BLIND_FAILING_S:
            return catalogue.BLIND.warning(found, value)
        return catalogue.BLIND.failing(found, value)

    return judged(catalogue.BLIND, listening, rule)


def changes_db(levels: Sequence[tuple[str, int]]) -> list[int]:
    """How far the level moved, each time that it moved, sender by sender."""
    last: dict[str, int] = {}
    changes = []
    for sender, level in levels:
        if (change := abs(level - last.get(sender, level))) > 0:
            changes.append(change)
        last[sender] = level
    return changes


def rssi_step_row(listening: Listening | Missing) -> Row:
    def rule(known: Listening) -> Row:
        changes = changes_db(known.levels)
        if len(changes) < _CHANGES_NEEDED:
            few = f"only {len(changes)} changes of level in {len(known.levels)} adverts of agents"
            return catalogue.RSSI_STEP.missing(Unread(f"{few}: move a sender beside it"))
        step = min(changes)
        found = f"{step} dB, in {len(known.levels)} adverts"
        if step >= COARSE_STEP_DB:
            return catalogue.RSSI_STEP.failing(found, step)
        return catalogue.RSSI_STEP.ok(found, step)

    return judged(catalogue.RSSI_STEP, listening, rule)


def advertises_row(broadcast: Broadcasting | Refused | Missing) -> Row:
    def rule(_known: Broadcasting) -> Row:
        return catalogue.ADVERTISES.ok("accepted", value=True)

    return judged(catalogue.ADVERTISES, broadcast, rule)


def interval_row(
    adapter: AdapterReading | Missing | None,
    broadcast: Broadcasting | Refused | Missing,
    asked_ms: int,
) -> Row:
    """``adapter``: None for a radio that commands its controller itself."""
    low_ms, high_ms = LEGACY_INTERVAL_MS
    heard = broadcast.heard_at_s if isinstance(broadcast, Broadcasting) else None
    if heard is not None and len(heard) > _GAPS_NEEDED:
        return _measured_row(median(b - a for a, b in pairwise(heard)) * 1000, asked_ms)
    as_asked = catalogue.INTERVAL.ok(f"{asked_ms} ms as asked, not measured", asked_ms)
    if adapter is None:
        return judged(catalogue.INTERVAL, broadcast, lambda _sent: as_asked)
    if not isinstance(adapter, AdapterReading):
        return catalogue.INTERVAL.missing(adapter)
    if not adapter.intervals:
        found = f"{KERNEL_INTERVAL_MS} ms, not {asked_ms} ms: bluetoothd takes no interval"
        return catalogue.INTERVAL.failing(found, KERNEL_INTERVAL_MS)
    if adapter.extended:
        return as_asked
    found = f"{low_ms} to {high_ms} ms for {asked_ms} ms asked, not measured"
    return catalogue.INTERVAL.ok(found, high_ms)


def _measured_row(measured_ms: float, asked_ms: int) -> Row:
    found = f"{measured_ms:.0f} ms measured for {asked_ms} ms asked"
    value = round(measured_ms, 1)
    if measured_ms <= _INTERVAL_SLACK * max(asked_ms, LEGACY_INTERVAL_MS[1]):
        return catalogue.INTERVAL.ok(found, value)
    if measured_ms < KERNEL_INTERVAL_MS / _INTERVAL_SLACK:
        do = "end other programs that use this adapter, and use 5 GHz Wi-Fi"
        return catalogue.INTERVAL.warning(found, value, do)
    return catalogue.INTERVAL.failing(found, value)
