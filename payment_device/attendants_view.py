"""What the lane page shows of payments and jacks, in the words of a person. Pure.

The texts are English and the keys of the catalogues in ``twochannel/pages/locale``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from payment_device.fuel import ACTIVE, Kind, Phase
from payment_device.sightings import Absence, Ambiguity
from twochannel.pages.tones import Tone
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.payment import CaptureMode, Status

OUTCOMES: Final[dict[Status, tuple[Tone, str]]] = {
    Status.PENDING: (Tone.WAITING, "Waiting for the driver"),
    Status.CONFIRMED: (Tone.WAITING, "Approved, being paid"),
    Status.UNKNOWN: (Tone.WAITING, "Approved, the bank has not said yet"),
    Status.AUTHORIZED: (Tone.GOOD, "Amount held"),
    Status.CAPTURED: (Tone.GOOD, "Paid"),
    Status.DECLINED: (Tone.BAD, "Declined"),
    Status.EXPIRED: (Tone.BAD, "Not paid, nobody answered"),
    Status.CANCELED: (Tone.CALM, "Cancelled"),
    Status.REFUSED: (Tone.BAD, "The bank has refused"),
    Status.VOIDED: (Tone.CALM, "Released, nothing was paid"),
}
ASKING: Final = "Asking the server"
NOTHING: Final = "Not paid"
TOO_LITTLE: Final = "Not paid in full"
UNVERIFIED: Final = "Not proven, call the operator"
#: What is asked for and has no outcome yet, by the noun of ``intents.Kind``.
UNDER_WAY: Final = {
    "capture": "Taking the amount …",
    "cancellation": "Cancelling …",
    "refund": "Giving back …",
}
REASONS: Final[dict[str, str]] = {
    Absence.NONE_HEARD: "No jack is heard",
    Absence.STALE: "The jack that was here is gone",
    Absence.TOO_WEAK: "The nearest jack is too far away",
    Absence.AT_ANOTHER_LANE: "The nearest jack is at another lane",
    Absence.SETTLING: "A jack has just come",
    Absence.LEAVING: "The nearest jack is driving away",
    Ambiguity.CROWDED: "More jacks than can be told apart",
    Ambiguity.EQUALLY_NEAR: "Several jacks are equally near",
    Ambiguity.SENT_TWICE: "Somebody else sends the code of this jack, too",
    Ambiguity.BETWEEN_LANES: "Another lane hears this jack nearly as well",
    Ambiguity.SAME_HANDLE: "Several jacks have this name",
}
#: What the attendant may do about what did not work.
PROBLEMS: Final[dict[ErrorCode, str]] = {
    ErrorCode.NO_JACK_HEARD: "No jack can be charged here. Let the car stand at the lane.",
    ErrorCode.JACK_AMBIGUOUS: "Several jacks are near. Pick the one that is at this lane.",
    ErrorCode.TERMINAL_BUSY: "A payment is under way already.",
    ErrorCode.JACK_BUSY: "This car has a payment under way elsewhere. Try again in a moment.",
    ErrorCode.CODE_UNKNOWN: "This jack cannot be charged. Take another way to pay.",
    ErrorCode.JACK_PROMPTED: "The driver was asked too often. Wait a few minutes.",
    ErrorCode.TERMINAL_THROTTLED: "Most payments here came to nothing. Wait a few minutes.",
    ErrorCode.SERVER_UNREACHABLE: "The server does not answer. The payment is kept, and goes on.",
    ErrorCode.PAYMENT_STATE: "The payment has moved on; see what became of it.",
    ErrorCode.PAYMENT_CONFLICT: "This form was used for another payment. Begin again.",
    ErrorCode.AMOUNT_EXCEEDED: "That is more than was agreed.",
    ErrorCode.STATEMENT_EXPIRED: "It took too long. Charge again.",
    ErrorCode.DEVICE_REVOKED: "The server has shut out this terminal. Call the operator.",
    ErrorCode.NOT_READY: "The radio or the disk is not ready. Try again in a moment.",
    ErrorCode.CLAIM_INVALID: "That is not an amount in this currency. Write it like 20.00,"
    " without a sign.",
}
SOMETHING_ELSE: Final = "That did not work. The log of the terminal says why."
#: Signal bars: one for each level that is reached, in dBm.
_BARS_DBM: Final = (-95, -85, -75, -65, -55)


@dataclass(frozen=True, slots=True)
class PaymentView:
    """A payment as the lane page shows it. Texts are for the catalogue; empty where there is none.

    ``value_minor``: what was taken, else what was asked for. ``capturable_minor`` and
    ``refundable_minor``: at most so much may be taken or given back; 0: nothing.
    """

    id: str
    tone: Tone
    outcome: str
    under_way: str
    problem: str
    code: str
    is_over: bool
    is_cancellable: bool
    is_hold: bool
    value_minor: int
    asked_minor: int
    held_minor: int
    captured_minor: int
    refunded_minor: int
    capturable_minor: int
    refundable_minor: int
    currency: str
    match_code: str
    reference: str
    description: str
    lane: str
    asked_ms: int


def payment_shown(told: Mapping[str, Any]) -> PaymentView:
    """``told``: the payment as a till is told (``answers.view``)."""
    tone, outcome = _outcome(told)
    status, under_way = told["status"], told["under_way"]
    held_minor, captured_minor = int(told["authorized_minor"]), int(told["captured_minor"])
    settled = told["phase"] == "settled" and under_way is None
    is_held = settled and status == Status.AUTHORIZED
    refundable_minor = captured_minor - _given_back(told) if settled else 0
    return PaymentView(
        id=str(told["id"]),
        tone=tone,
        outcome=outcome,
        under_way=UNDER_WAY.get(str(under_way), ""),
        problem=problem(told["code"]) if told["code"] else "",
        code=str(told["code"] or ""),
        is_over=told["phase"] not in ("stored", "pending"),
        is_cancellable=told["phase"] in ("stored", "pending") and under_way is None,
        is_hold=told["capture"] == CaptureMode.MANUAL,
        value_minor=captured_minor or int(told["amount"]["value"]),
        asked_minor=int(told["amount"]["value"]),
        held_minor=held_minor,
        captured_minor=captured_minor,
        refunded_minor=int(told["refunded_minor"]),
        capturable_minor=held_minor if is_held else 0,
        refundable_minor=max(0, refundable_minor),
        currency=str(told["amount"]["currency"]),
        match_code=str(told["match_code"] or ""),
        reference=str(told["reference"]),
        description=str(told["description"]),
        lane=str(told["lane"]),
        asked_ms=_asked_ms(str(told["id"])),
    )


def _outcome(told: Mapping[str, Any]) -> tuple[Tone, str]:
    if told["phase"] == "stored":
        return Tone.WAITING, ASKING
    if told["phase"] == "unverified":
        return Tone.BAD, UNVERIFIED
    if told["phase"] in ("refused", "lapsed"):
        return Tone.BAD, NOTHING
    tone, outcome = OUTCOMES[Status(told["status"])]
    if tone is Tone.GOOD and not told["paid"]:
        return Tone.BAD, TOO_LITTLE
    return tone, outcome


def _given_back(told: Mapping[str, Any]) -> int:
    """All that was asked to be given back, whether it is proven yet or not."""
    asked = sum(int(refund["amount"]["value"]) for refund in told["refunds"])
    return max(asked, int(told["refunded_minor"]))


def _asked_ms(ident: str) -> int:
    """Ids of version 7 begin with their time: Unix milliseconds (RFC 9562)."""
    return int(ident.replace("-", "")[:12], 16)


def problem(code: str) -> str:
    """What the attendant is told of an error code."""
    return PROBLEMS.get(ErrorCode(code), SOMETHING_ELSE)


@dataclass(frozen=True, slots=True)
class JackView:
    """``bars``: 0 to 5. ``seconds``: since it was last heard, to a tenth."""

    handle: str
    state: str
    rssi_dbm: int
    bars: int
    seconds: str


@dataclass(frozen=True, slots=True)
class JacksView:
    """``state``: ``chosen``, ``ambiguous`` or ``none``. ``more``: so many are not shown."""

    state: str
    reason: str
    shown: tuple[JackView, ...]
    more: int


def jacks_shown(told: Mapping[str, Any], longest: int) -> JacksView:
    """``told``: as a till is told (``answers.jacks_view``). At most ``longest`` are shown."""
    jacks = [_jack(jack) for jack in told["items"]]
    # Those that may be meant come first: they have to be seen.
    jacks.sort(key=lambda jack: jack.state not in ("chosen", "ambiguous"))
    states = {jack.state for jack in jacks}
    state = next((s for s in ("chosen", "ambiguous") if s in states), "none")
    reason = REASONS[told["reason"]] if told["reason"] else ""
    return JacksView(state, reason, tuple(jacks[:longest]), max(0, len(jacks) - longest))


def _jack(told: Mapping[str, Any]) -> JackView:
    rssi_dbm = int(told["rssi_dbm"])
    bars = sum(rssi_dbm >= level for level in _BARS_DBM)
    return JackView(
        handle=str(told["handle"]),
        state=str(told["state"]),
        rssi_dbm=rssi_dbm,
        bars=0 if told["state"] == "quiet" else bars,
        seconds=f"{told['age_ms'] / 1000:.1f}",
    )


#: The pump by the phase of the fuelling that has it or had it last (``fuel.Phase``).
PUMP_STATES: Final[dict[Phase, tuple[Tone, str]]] = {
    Phase.ASKED: (Tone.WAITING, "Waiting for the driver"),
    Phase.OPEN: (Tone.GOOD, "Fuel now"),
    Phase.CLOSED: (Tone.WAITING, "Being paid"),
    Phase.PAID: (Tone.GOOD, "Paid"),
    Phase.RELEASED: (Tone.CALM, "Nothing was pumped, nothing is paid"),
    Phase.FAILED: (Tone.BAD, "Not approved, the pump stayed locked"),
    Phase.UNPAID: (Tone.BAD, "Not paid yet"),
    Phase.SETTLED: (Tone.CALM, "Paid in another way"),
}
FUELLING: Final = "Fuelling"
FREE: Final = "The pump is free"
PUMP_LOST: Final = "The pump does not answer"


@dataclass(frozen=True, slots=True)
class PumpView:
    """The pump as its page shows it. ``most_minor``: what was agreed to; 0: nothing was."""

    tone: Tone
    text: str
    problem: str
    is_active: bool
    is_asked: bool
    is_unpaid: bool
    is_stoppable: bool
    has_fuelling: bool
    cost_minor: int
    most_minor: int
    currency: str
    litres: str
    price: str
    match_code: str


def pump_shown(told: Mapping[str, Any], paying: Mapping[str, Any] | None) -> PumpView:
    """``told``: the pump as a till is told; ``paying``: the payment of its fuelling."""
    fuelling = told["fuelling"] or {}
    phase = Phase(fuelling["phase"]) if fuelling else None
    tone, text = PUMP_STATES[phase] if phase else (Tone.CALM, FREE)
    if phase is Phase.OPEN and fuelling["pumped_ml"]:
        text = FUELLING
    if told["problem"]:
        tone, text = Tone.BAD, PUMP_LOST
    asked = paying is not None and paying["phase"] in ("stored", "pending")
    return PumpView(
        tone=tone,
        text=text,
        problem=_pump_problem(fuelling.get("problem")),
        is_active=phase in ACTIVE,
        is_asked=phase is Phase.ASKED,
        is_unpaid=phase is Phase.UNPAID,
        is_stoppable=phase in (Phase.ASKED, Phase.OPEN),
        has_fuelling=bool(fuelling),
        cost_minor=int(fuelling.get("cost_minor", 0)),
        most_minor=int(fuelling["most_minor"]) if fuelling.get("kind") == Kind.PREPAY else 0,
        currency=str(told["price"]).rpartition(" ")[2],
        litres=f"{int(fuelling.get('pumped_ml', 0)) / 1000:.2f}",
        price=str(told["price"]),
        match_code=str(paying["match_code"] or "") if paying and asked else "",
    )


def _pump_problem(why: str | None) -> str:
    """``why``: an error code, or the status that the payment ended with."""
    if not why:
        return ""
    return OUTCOMES[Status(why)][1] if why in set(Status) else problem(why)
