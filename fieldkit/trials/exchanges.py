"""What tells the clocks of a trial apart: events of which one must have come first. Pure.

An event of the sender counts only if it is noted before anything leaves, and one of the receiver
only after it has come in. Between several of the same payment the first that was sent stands for
all: whatever was received came after it. A sender's record that begins in the middle of a payment
says nothing, for its first event may be lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Protocol

from fieldkit.trace import TraceEvent
from fieldkit.trials.bounds import ClockId, Order, Reading

_NS_PER_MS: Final = 1_000_000
#: A beacon is noted when the adapter has confirmed it, through a daemon that may be busy.
_NOTED_LATE_NS: Final = 1_000 * _NS_PER_MS
#: An advert is handed on by the adapter and the daemon, when they get to it.
_HEARD_LATE_NS: Final = 2_000 * _NS_PER_MS


class Record(Protocol):
    """What one agent wrote, every boot and run of it, in the order of the file."""

    @property
    def machine(self) -> str: ...
    @property
    def agent(self) -> str: ...
    @property
    def party(self) -> str: ...
    @property
    def events(self) -> Sequence[TraceEvent]: ...


@dataclass(frozen=True, slots=True)
class Exchange:
    """One kind of message: the sender's event, the receiver's, and which of them count.

    ``opening``: an event of the sender without which its first message may be lost.
    """

    sent: tuple[str, str]
    received: tuple[str, str]
    opening: str = ""
    sent_if: Callable[[Mapping[str, Any]], bool] = lambda _fields: True
    received_if: Callable[[Mapping[str, Any]], bool] = lambda _fields: True


def _accepted(fields: Mapping[str, Any]) -> bool:
    """Another answer may be to a message that the server never judged."""
    return bool(fields.get("status_code") == 200)


def _charged(fields: Mapping[str, Any]) -> bool:
    return fields.get("operation") == "charge"


def _decided(fields: Mapping[str, Any]) -> bool:
    """Without a confirmation of the phone none of these is reached."""
    return fields.get("status") in {"authorized", "captured", "refused", "declined"}


def _paid(fields: Mapping[str, Any]) -> bool:
    return fields.get("status") in {"authorized", "captured"}


EXCHANGES: Final = (
    Exchange(("terminal", "request_sent"), ("server", "request_received"), "charge_asked"),
    Exchange(("server", "request_received"), ("phone", "challenge_received")),
    Exchange(("phone", "auth_code_asked"), ("jack", "challenge_received"), "challenge_received"),
    Exchange(("jack", "auth_code_signed"), ("phone", "auth_code_received")),
    Exchange(("phone", "confirmation_sent"), ("server", "confirmation_received"), "decision"),
    Exchange(
        ("server", "confirmation_received"),
        ("phone", "confirmation_answered"),
        received_if=_accepted,
    ),
    Exchange(
        ("server", "request_received"), ("terminal", "request_answered"), received_if=_accepted
    ),
    Exchange(
        ("server", "confirmation_received"), ("terminal", "payment_settled"), received_if=_decided
    ),
    Exchange(
        ("server", "processor_called"),
        ("terminal", "payment_settled"),
        sent_if=_charged,
        received_if=_paid,
    ),
)


@dataclass(frozen=True, slots=True)
class _Noted:
    clock: ClockId
    event: TraceEvent

    @property
    def reading(self) -> Reading:
        return Reading(self.clock, self.event.mono_ns)


def clock_of(record: Record, event: TraceEvent) -> ClockId:
    """The clock that an event of ``record`` was noted by."""
    return ClockId(record.machine, event.boot)


def messages(records: Sequence[Record]) -> Iterator[Order]:
    """The orders that the messages of payments give, between different clocks."""
    for payment, noted in _by_payment(records).items():
        for exchange in EXCHANGES:
            yield from _of_exchange(payment, exchange, noted)
    yield from _lanes(records)


def _by_payment(records: Sequence[Record]) -> dict[str, dict[tuple[str, str], list[_Noted]]]:
    payments: dict[str, dict[tuple[str, str], list[_Noted]]] = {}
    for record in records:
        for event in record.events:
            if event.payment is not None:
                noted = payments.setdefault(event.payment, {})
                key = (event.party, event.event)
                noted.setdefault(key, []).append(_Noted(clock_of(record, event), event))
    return payments


def _of_exchange(
    payment: str, exchange: Exchange, noted: Mapping[tuple[str, str], Sequence[_Noted]]
) -> Iterator[Order]:
    if exchange.opening and (exchange.sent[0], exchange.opening) not in noted:
        return
    sent = [n for n in noted.get(exchange.sent, ()) if exchange.sent_if(n.event.fields)]
    received = noted.get(exchange.received, ())
    for arrival in (n for n in received if exchange.received_if(n.event.fields)):
        if sent and sent[0].clock != arrival.clock:
            yield Order(sent[0].reading, arrival.reading, _told(payment, exchange))


def _told(payment: str, exchange: Exchange) -> str:
    (sender, sent), (receiver, received) = exchange.sent, exchange.received
    words = f"{sender} {sent} before {receiver} {received}".replace("_", " ")
    return f"{words} of payment {payment}"


def _lanes(records: Sequence[Record]) -> Iterator[Order]:
    """A jack heard a lane's nonce after its terminal had chosen whom to charge."""
    chosen: dict[str, _Noted] = {}
    for record, event in _all(records):
        if event.event == "jack_chosen" and event.payment:
            chosen.setdefault(event.payment, _Noted(clock_of(record, event), event))
    lanes = {
        str(event.fields["lane"]): chosen[event.payment]
        for _, event in _all(records)
        if event.event == "lane_broadcast" and event.payment in chosen and "lane" in event.fields
    }
    for record, event in _all(records):
        if event.event == "lane_heard" and event.fields.get("lane") in lanes:
            began, clock = lanes[event.fields["lane"]], clock_of(record, event)
            if clock != began.clock:
                why = (
                    f"terminal jack chosen before jack lane heard of payment {began.event.payment}"
                )
                yield Order(began.reading, Reading(clock, event.mono_ns), why)


def restarts(records: Sequence[Record]) -> Iterator[Order]:
    """A machine's next boot begins after its last one has ended."""
    for record in records:
        for before, after in pairwise(record.events):
            if before.boot != after.boot:
                yield Order(
                    Reading(clock_of(record, before), before.mono_ns),
                    Reading(clock_of(record, after), after.mono_ns),
                    f"{record.machine} restarted",
                )


def beacons(records: Sequence[Record]) -> Iterator[Order]:
    """A code is heard after it is put on the air, and no more once another is: within seconds.

    How late either is noted is not known exactly, and codes go by four digits here. So this is
    asked only where no message tells anything.
    """
    spans = _on_air(records)
    for record in records:
        heard: dict[tuple[ClockId, str], list[TraceEvent]] = {}
        for event in record.events:
            if event.event == "code_heard":
                key = (clock_of(record, event), str(event.fields.get("jack")))
                heard.setdefault(key, []).append(event)
        for (clock, handle), events in heard.items():
            if len(spans.get(handle, ())) == 1:
                yield from _of_beacon(*spans[handle][0], clock, events)


def _on_air(records: Sequence[Record]) -> dict[str, list[tuple[_Noted, _Noted | None]]]:
    """By handle: when the code came on the air, and when it had left it."""
    spans: dict[str, list[tuple[_Noted, _Noted | None]]] = {}
    for record in records:
        changes = [e for e in record.events if e.event in {"beacon_rotated", "beacon_silent"}]
        for event, after in zip(changes, [*changes[1:], None], strict=False):
            if event.event == "beacon_rotated":
                begins = _Noted(clock_of(record, event), event)
                same_boot = after is not None and after.boot == event.boot
                ends = _Noted(begins.clock, after) if after is not None and same_boot else None
                spans.setdefault(str(event.fields.get("handle")), []).append((begins, ends))
    return spans


def _of_beacon(
    begins: _Noted, ends: _Noted | None, clock: ClockId, heard: Sequence[TraceEvent]
) -> Iterator[Order]:
    if clock == begins.clock:
        return
    handle = begins.event.fields.get("handle")
    first, last = Reading(clock, heard[0].mono_ns), Reading(clock, heard[-1].mono_ns)
    yield Order(begins.reading, first, f"code {handle} on the air before heard", _NOTED_LATE_NS)
    if ends is not None:
        why = f"code {handle} heard before it left the air"
        yield Order(last, ends.reading, why, _HEARD_LATE_NS)


def _all(records: Sequence[Record]) -> Iterator[tuple[Record, TraceEvent]]:
    return ((record, event) for record in records for event in record.events)
