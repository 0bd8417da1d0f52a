"""``fieldkit bench latency``: from a charge that is typed to a captured payment.

Everything runs as in the demo: all agents as processes, virtual air, automatic capture, approved
by the phone's policy with presence proven.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fieldkit import journeys, legs, motion
from fieldkit.bench import commit_floor, crypto_floor, radio_floor, till
from fieldkit.bench.progress import BenchProgress
from fieldkit.bench.quantiles import Summary, shares, summary
from fieldkit.bench.radio_floor import Broadcasting
from fieldkit.cast import Cast
from fieldkit.motion import Position
from fieldkit.propagation import Propagation
from fieldkit.stage import Stage
from fieldkit.trace import TraceEvent, of_payment

#: docs/protocol.md, Presence: the terminal's lane frame.
LANE_INTERVAL_MS: Final = 20
#: docs/protocol.md, The beacon.
BEACON_INTERVAL_MS: Final = 100
#: A lane frame fills a legacy advert.
_LANE_DATA_BYTES: Final = 31
#: Payments before the first that counts: connections are opened and caches filled.
_WARM_UP: Final = 3
_INTERPRETER_STARTS: Final = 10
_NS_PER_MS: Final = 1_000_000
_DECIMALS: Final = 3


@dataclass(frozen=True, slots=True)
class LatencyFloors:
    """What no software can save. ``lane_…``: from the lane frame on the air to the jack hearing
    one, as computed; ``lane_wait_half_duty_ms``: for a scanner that listens half of the time.
    ``beacon_first_heard_ms``: a car that has just come into range. ``crypto_ms``: all signatures
    of all parties. ``commit_ms``: one durable transaction. ``interpreter_ms``: an empty Python
    process.
    """

    lane_delivered: float
    lane_wait_mean_ms: float
    lane_wait_p99_ms: float
    lane_wait_half_duty_ms: float
    advert_air_time_ms: float
    beacon_first_heard_ms: float
    crypto_ms: float
    commit_ms: Summary
    interpreter_ms: Summary


@dataclass(frozen=True, slots=True)
class LatencyFigures:
    """What was measured, in milliseconds.

    ``command_ms``: the process ``payment-device charge``, from spawn to exit. ``agents_ms``: from
    ``charge_asked`` to ``payment_settled`` in the terminal. ``around_ms``: the rest of the command:
    its start, its request to the terminal, its exit. ``legs_ms`` and ``leg_shares``: its
    parts (``fieldkit.legs``). ``lane_on_air_ms``: from ``charge_asked`` to the lane frame on the
    air; ``lane_heard_ms``: from there to the jack hearing it. Only captured payments count;
    ``outcomes`` has all; ``with_presence`` counts proven ones.
    """

    payments: int
    outcomes: dict[str, int]
    with_presence: int
    command_ms: Summary
    agents_ms: Summary
    around_ms: Summary
    legs_ms: dict[str, Summary]
    leg_shares: dict[str, float]
    lane_on_air_ms: Summary
    lane_heard_ms: Summary
    floors: LatencyFloors


async def measure(
    cast: Cast, folder: Path, payments: int, progress: BenchProgress
) -> LatencyFigures:
    """Run ``payments`` one after the other on a stage in ``folder``. Raises StageError."""
    commits = commit_floor.measure(folder)
    async with Stage(cast, folder, progress=progress.step) as stage:
        await stage.provision()
        await journeys.heard(stage, till.lane(stage).name)
        progress.step("warming up", _WARM_UP)
        await _charge(stage, "warm-up", _WARM_UP, progress)
        progress.step("payments", payments)
        since_ns = time.monotonic_ns()
        taken = await _charge(stage, "latency", payments, progress)
        events = [event for event in stage.events() if event.mono_ns >= since_ns]
    progress.step("floors", _INTERPRETER_STARTS)
    starts = [await till.interpreter_ms() for _ in range(_INTERPRETER_STARTS)]
    floors = _floors(cast, commits, summary(starts))
    return figures(taken, events, floors)


@dataclass(frozen=True, slots=True)
class Charged:
    """One run of the command: its wall milliseconds, the payment's id and status."""

    taken_ms: float
    payment: str
    status: str


async def _charge(
    stage: Stage, series: str, payments: int, progress: BenchProgress
) -> list[Charged]:
    charged = []
    for number in range(payments):
        taken_ms, payment = await till.charge_by_command(stage, f"{series}-{number}")
        charged.append(Charged(taken_ms, str(payment.get("id", "")), str(payment["status"])))
        progress.advance()
    return charged


def figures(
    charged: Sequence[Charged], events: Sequence[TraceEvent], floors: LatencyFloors
) -> LatencyFigures:
    """What ``charged`` and the traces of their payments come to."""
    captured = [charge for charge in charged if charge.status == "captured"]
    measured = [legs.measure(events, charge.payment).legs_ms for charge in captured]
    parts = {leg: _known(one[leg] for one in measured) for leg in legs.ENDS}
    around = (
        charge.taken_ms - one["total"]
        for charge, one in zip(captured, measured, strict=True)
        if one["total"] is not None
    )
    lanes = [_lane_ms(events, charge.payment) for charge in captured]
    return LatencyFigures(
        payments=len(charged),
        outcomes=dict(Counter(charge.status for charge in charged)),
        with_presence=sum(_presence(events, charge.payment) for charge in captured),
        command_ms=summary([charge.taken_ms for charge in captured]),
        agents_ms=summary(_known(one["total"] for one in measured)),
        around_ms=summary(list(around)),
        legs_ms={leg: summary(values) for leg, values in parts.items()},
        leg_shares=shares(parts),
        lane_on_air_ms=summary(_known(on_air for on_air, _ in lanes)),
        lane_heard_ms=summary(_known(heard for _, heard in lanes)),
        floors=floors,
    )


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _presence(events: Sequence[TraceEvent], payment: str) -> bool:
    own = of_payment(events, payment)
    return any(e.event == "auth_code_received" and e.fields.get("presence") for e in own)


def _lane_ms(events: Sequence[TraceEvent], payment: str) -> tuple[float | None, float | None]:
    """From the charge to the lane frame on the air, and from there to the jack hearing it.

    The jack does not know whose nonce it hears: it is the first that it hears after the charge.
    """
    own = {event.event: event.mono_ns for event in reversed(of_payment(events, payment))}
    asked_ns, on_air_ns = own.get("charge_asked"), own.get("lane_broadcast")
    if asked_ns is None or on_air_ns is None:
        return None, None
    settled_ns = own.get("payment_settled", asked_ns)
    heard_ns = [e.mono_ns for e in events if e.event == "lane_heard"]
    first_ns = next((at for at in sorted(heard_ns) if asked_ns <= at <= settled_ns), None)
    heard_ms = None if first_ns is None else (first_ns - on_air_ns) / _NS_PER_MS
    return (on_air_ns - asked_ns) / _NS_PER_MS, heard_ms


def _floors(cast: Cast, commits: Summary, interpreter: Summary) -> LatencyFloors:
    terminal = cast.terminals[0]
    places = Position(*terminal.at_m), Position(*cast.jack.at_m)
    delivered = radio_floor.delivered(
        Propagation(**cast.air.propagation),
        cast.air.seed,
        terminal.name,
        cast.jack.name,
        0,
        motion.distance_m(*places),
    )
    lane = Broadcasting(LANE_INTERVAL_MS, delivered)
    beacon = Broadcasting(BEACON_INTERVAL_MS, delivered)
    half_duty = lane.with_duty(radio_floor.BLUEZ_PASSIVE_DUTY)
    return LatencyFloors(
        lane_delivered=round(delivered, _DECIMALS),
        lane_wait_mean_ms=round(lane.mean_wait_ms, _DECIMALS),
        lane_wait_p99_ms=round(lane.wait_ms(0.99), _DECIMALS),
        lane_wait_half_duty_ms=round(half_duty.mean_wait_ms, _DECIMALS),
        advert_air_time_ms=radio_floor.air_time_us(_LANE_DATA_BYTES) / 1000,
        beacon_first_heard_ms=round(beacon.mean_wait_from_anywhere_ms, _DECIMALS),
        crypto_ms=round(crypto_floor.measure().chain_ms, _DECIMALS),
        commit_ms=commits,
        interpreter_ms=interpreter,
    )
