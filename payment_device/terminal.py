"""The terminal: charges the jack at its lane, captures, cancels and refunds, and finishes it all.

``charge`` in this order: choose the jack; put a fresh lane nonce on the air while the request is
signed and stored; send it; follow the payment. Nothing is sent that is not on disk.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import sqlite3
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from payment_device.answers import (
    UnsettledError,
    not_chosen,
    refund_view,
    settled_view,
    view,
)
from payment_device.errands import Equipment, Errand, Errands
from payment_device.intents import (
    AT_THE_LANE,
    OPEN,
    VOID,
    Intent,
    Kind,
    Operation,
    OperationPhase,
    Phase,
)
from payment_device.operation_errand import OperationErrand
from payment_device.orders import (
    UNHEARD,
    Asking,
    Charge,
    GivingBack,
    Lane,
    Order,
    cancel_of,
    capture_of,
    refund_of,
    report_sighting,
)
from payment_device.payment_errand import FIRST_WAIT_S, PaymentErrand
from payment_device.refund_errand import RefundErrand
from payment_device.sightings import Chosen, Nearby, handle_of
from twochannel.protocol.envelope import digest, sign
from twochannel.protocol.errors import CodedError, ErrorCode, PaymentError
from twochannel.protocol.lane import NONCE_LENGTH
from twochannel.protocol.limits import MAX_WAIT_S
from twochannel.protocol.money import Amount
from twochannel.protocol.payment import Status
from twochannel.protocol.statements import Cancel, Capture, Refund, SightingReport

_log = logging.getLogger(__name__)

#: The claims of an operation with this statement id and time.
_Claims = Callable[[str, int], Capture | Cancel | Refund]
#: Swept at start: whatever has no outcome that can be believed.
_SWEPT: Final = OPEN | {Phase.UNVERIFIED}


@dataclass(frozen=True, slots=True)
class _Target:
    """Whom to charge. ``jack`` None: a code that was typed in and is not heard."""

    code: bytes
    jack: Nearby | None
    others: int


class Terminal:
    """One lane. One payment at a time is undecided; earlier ones may still be processed."""

    def __init__(
        self,
        lane: Lane,
        equipment: Equipment,
        errands: Errands,
        *,
        new_id: Callable[[], str],
        patience_s: float,
    ) -> None:
        """``patience_s``: how long a silent server is waited for before the till is told."""
        self.lane = lane
        self._equipment = equipment
        self._intents = equipment.intents
        self._errands = errands
        self._new_id = new_id
        self._patience_s = patience_s
        self._opening = asyncio.Lock()
        self._opening_reference = ""
        self._ordering = asyncio.Lock()

    # --- what a till can do

    async def charge(self, charge: Charge) -> dict[str, Any]:
        """Ask for a payment; return it as it is after at most ``wait_s``. Raises CodedError."""
        reference = charge.order.reference
        if self._opening.locked() and self._opening_reference != reference:
            raise PaymentError(ErrorCode.TERMINAL_BUSY)
        async with self._opening:
            self._opening_reference = reference
            payment = self._known(charge.order) or await self._open(charge)
        return await self._outcome(payment, charge)

    async def capture(self, payment: str, amount: Amount, wait_s: int) -> dict[str, Any]:
        """Take ``amount`` of a held payment. Asking twice for the same takes it once."""
        intent = self._intent(payment)
        settled = settled_view(intent)
        if settled and (settled.status, settled.captured_minor) == (Status.CAPTURED, amount.value):
            return view(intent)
        _check_currency(intent, amount)

        def claims(statement: str, now_s: int) -> Capture:
            return capture_of(intent.asked, digest(intent.request), amount, statement, now_s)

        await self._operate(intent, Kind.CAPTURE, claims, wait_s)
        return view(self._intents.get(payment))

    async def cancel(self, payment: str, reason: str, wait_s: int) -> dict[str, Any]:
        """End a pending payment or release a hold."""
        intent = self._intent(payment)
        settled = settled_view(intent)
        ended = settled is not None and settled.status in (Status.CANCELED, Status.VOIDED)
        if ended or intent.phase is Phase.LAPSED:
            return view(intent)

        def claims(statement: str, now_s: int) -> Cancel:
            return cancel_of(intent.asked, digest(intent.request), reason, statement, now_s)

        await self._operate(intent, Kind.CANCEL, claims, wait_s)
        return view(self._intents.get(payment))

    async def refund(self, payment: str, asked: GivingBack) -> dict[str, Any]:
        """Give back what was captured, or a part of it. The same reference is given back once."""
        intent = self._intent(payment)
        _check_currency(intent, asked.amount)

        def claims(statement: str, now_s: int) -> Refund:
            return refund_of(intent.asked, digest(intent.request), asked, statement, now_s)

        statement = await self._operate(intent, Kind.REFUND, claims, asked.wait_s, asked.reference)
        refund = refund_view(self._intents.get_operation(statement))
        return view(self._intents.get(payment)) | {"refund": refund}

    async def payment(self, payment: str, wait_s: int = 0) -> dict[str, Any]:
        """One payment; with ``wait_s`` held back until its outcome is known."""
        intent = self._intent(payment)
        if wait_s and intent.phase in OPEN:
            await self._settled(payment, wait_s)
        return view(self._intents.get(payment))

    def payments(
        self, limit: int, *, reference: str | None = None, active: bool = False
    ) -> list[dict[str, Any]]:
        """The newest payments first; of a till's reference; those that are not over."""
        found = self._intents.newest(limit, reference=reference, active=active)
        return [view(intent) for intent in found]

    def at_the_lane(self) -> str | None:
        """The id of the payment that nobody has decided yet."""
        undecided = self._intents.in_phases(AT_THE_LANE)
        return undecided[-1].payment if undecided else None

    # --- after a restart

    async def sweep(self) -> None:
        """Take up what an earlier run of this terminal has left open."""
        for intent in self._intents.in_phases(_SWEPT):
            self._equipment.trace.event("intent_swept", intent.payment, phase=intent.phase.value)
            if intent.phase in AT_THE_LANE:
                await self._announce_again(intent)
            self._errands.begin(PaymentErrand(intent.payment, self._equipment, swept=True))
        for operation in self._intents.open_operations():
            self._equipment.trace.event(
                "intent_swept", operation.payment, operation=operation.kind.value
            )
            self._begin_operation(operation)

    async def _announce_again(self, intent: Intent) -> None:
        try:
            await self._equipment.radio.broadcast(intent.payment, intent.lane_nonce)
        except CodedError as error:
            # The radio broadcasts it as soon as it is back.
            _log.warning("lane_silent", extra={"payment": intent.payment, "reason": error.detail})

    # --- charging

    def _known(self, order: Order) -> str | None:
        """The payment that this order already has; one that came to nothing does not count."""
        intent = self._intents.find_reference(order.reference)
        if intent is None or intent.phase in VOID:
            return None
        if Order.of(intent.asked) != order:
            raise PaymentError(
                ErrorCode.PAYMENT_CONFLICT, "the reference was used for another payment"
            )
        return intent.payment

    async def _open(self, charge: Charge) -> str:
        asked_s = time.monotonic()
        if self._intents.in_phases(AT_THE_LANE):
            raise PaymentError(ErrorCode.TERMINAL_BUSY)
        self._equipment.forbearance.check()
        payment, amount = self._new_id(), charge.order.amount
        self._equipment.trace.event(
            "charge_asked", payment, amount_minor=amount.value, currency=amount.currency
        )
        target = await self._choose(payment, charge)
        chosen_s = time.monotonic()
        nonce = secrets.token_bytes(NONCE_LENGTH)
        sighting = _reported(target, chosen_s)
        asking = Asking(payment, charge.order, self.lane, target.code, nonce, sighting)
        await self._announce_and_store(asking)
        errand = PaymentErrand(
            payment,
            self._equipment,
            first_wait_s=min(FIRST_WAIT_S, charge.wait_s),
            asked_s=asked_s,
            chosen_s=chosen_s,
        )
        self._errands.begin(errand)
        return payment

    async def _choose(self, payment: str, charge: Charge) -> _Target:
        if charge.code is not None:
            target = self._typed_in(charge.code)
        else:
            choice = await self._equipment.radio.choose(charge.jack)
            if not isinstance(choice, Chosen):
                self._equipment.trace.event("jack_not_chosen", payment, reason=choice.reason.value)
                raise not_chosen(choice)
            target = _Target(choice.jack.code, choice.jack, choice.others)
        self._equipment.trace.event(
            "jack_chosen",
            payment,
            jack=handle_of(target.code),
            rssi_dbm=target.jack.rssi_dbm if target.jack else None,
            others=target.others,
        )
        return target

    def _typed_in(self, code: bytes) -> _Target:
        heard = [jack for jack in self._equipment.radio.nearby() if not jack.quiet]
        jack = next((jack for jack in heard if jack.code == code), None)
        return _Target(code, jack, len(heard) - (jack is not None))

    async def _announce_and_store(self, asking: Asking) -> None:
        """Lane nonce on the air and request on disk, at the same time; both before it is sent."""
        radio, payment = self._equipment.radio, asking.payment
        announced, stored = await asyncio.gather(
            radio.broadcast(payment, asking.lane_nonce),
            asyncio.to_thread(self._store, asking),
            return_exceptions=True,
        )
        if isinstance(stored, BaseException):
            await radio.silence(payment)
            if isinstance(stored, sqlite3.Error):
                raise CodedError(ErrorCode.NOT_READY, f"cannot write to disk: {stored}")
            raise stored
        self._equipment.trace.event("intent_stored", payment)
        if isinstance(announced, BaseException):
            await radio.silence(payment)
            self._intents.close_without(payment, Phase.REFUSED, ErrorCode.NOT_READY.value)
            raise announced

    def _store(self, asking: Asking) -> None:
        request = asking.request(self._equipment.client.now_s())
        compact = sign(request, self._equipment.signer)
        self._intents.store(asking.payment, request.reference, compact, asking.lane_nonce)

    # --- outcomes

    async def _outcome(self, payment: str, charge: Charge) -> dict[str, Any]:
        """The payment as it is once it is known what the till waits for, or time has passed."""
        wait_s = charge.wait_s
        first_answer = charge.first_answer or wait_s == 0

        def known() -> bool:
            phase = self._intents.get(payment).phase
            return phase not in OPEN or (first_answer and phase is not Phase.STORED)

        errand = self._errands.find(payment)
        # Even a till that does not wait is told whether the server took the request.
        await self._watch(errand, known, wait_s or MAX_WAIT_S, payment)
        intent = self._intents.get(payment)
        if intent.code is not None:
            told = errand.refusal if errand else None
            raise told or CodedError(ErrorCode(intent.code))
        return view(intent)

    async def _settled(self, payment: str, wait_s: int) -> None:
        def known() -> bool:
            return self._intents.get(payment).phase not in OPEN

        await self._watch(self._errands.find(payment), known, wait_s, payment)

    async def _operate(
        self,
        intent: Intent,
        kind: Kind,
        claims: _Claims,
        wait_s: int,
        reference: str | None = None,
    ) -> str:
        """Begin the operation, or join it, and wait for its outcome; its statement's id."""
        async with self._ordering:
            statement = self._joined(intent.payment, kind, claims, reference)
            if statement is None:
                statement = self._new_id()
                made = claims(statement, self._equipment.client.now_s())
                compact = sign(made, self._equipment.signer)
                operation = Operation(
                    statement, intent.payment, kind, compact, OperationPhase.STORED, None
                )
                await asyncio.to_thread(self._intents.store_operation, operation)
                self._begin_operation(operation)
        errand = self._errands.find(statement)

        def known() -> bool:
            open_phase = OperationPhase.STORED
            settled = self._intents.get_operation(statement).phase is not open_phase
            return settled or (errand is not None and errand.refusal is not None)

        await self._watch(errand, known, wait_s, intent.payment)
        if errand is not None and errand.refusal is not None:
            raise errand.refusal
        return statement

    def _begin_operation(self, operation: Operation) -> None:
        kind = RefundErrand if operation.kind is Kind.REFUND else OperationErrand
        self._errands.begin(kind(operation.statement, self._equipment))

    def _joined(
        self, payment: str, kind: Kind, claims: _Claims, reference: str | None
    ) -> str | None:
        """The same operation, if it is under way already. Another one has to wait for it.

        A refund is known by its ``reference`` for good, unless it was refused.
        """
        kept = self._intents.find_refund(payment, reference) if reference is not None else None
        for operation in ([kept] if kept else []) + self._intents.open_operations(payment):
            wanted = claims(operation.statement, operation.claims.iat)
            if operation.kind is kind and wanted == operation.claims:
                return operation.statement
            if operation is kept:
                detail = "the reference was used for another refund"
                raise PaymentError(ErrorCode.PAYMENT_CONFLICT, detail)
            raise PaymentError(ErrorCode.PAYMENT_STATE, f"a {operation.kind.noun} is under way")
        return None

    async def _watch(
        self, errand: Errand | None, known: Callable[[], bool], wait_s: int, payment: str
    ) -> None:
        """Until ``known``, or ``wait_s`` has passed. Raises UnsettledError for a silent server."""
        ends_s = time.monotonic() + wait_s
        while errand is not None and not known():
            if errand.unreachable_s > self._patience_s:
                raise UnsettledError(payment)
            left_s = ends_s - time.monotonic()
            if left_s <= 0 or not await _within(left_s, errand.change()):
                return

    def _intent(self, payment: str) -> Intent:
        intent = self._intents.find(payment)
        if intent is None:
            raise PaymentError(ErrorCode.PAYMENT_UNKNOWN, "this terminal has no such payment")
        return intent


def _check_currency(intent: Intent, amount: Amount) -> None:
    agreed = intent.asked.amount.currency
    if amount.currency != agreed:
        raise PaymentError(ErrorCode.CURRENCY_UNKNOWN, f"the payment is in {agreed}")


def _reported(target: _Target, now_s: float) -> SightingReport:
    if target.jack is None:
        return UNHEARD
    heard_s_ago = now_s - target.jack.heard_at_s
    return report_sighting(target.jack.rssi_dbm, heard_s_ago, target.others)


async def _within(timeout_s: float, change: Awaitable[None]) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await change
    except TimeoutError:
        return False
    return True
