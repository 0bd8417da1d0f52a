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
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from payment_device.answers import not_chosen, refund_view, view
from payment_device.errands import Equipment, Errands
from payment_device.intents import AT_THE_LANE, OPEN, VOID, Intent, Phase
from payment_device.operations import Operations
from payment_device.orders import (
    UNHEARD,
    Asking,
    Charge,
    GivingBack,
    Lane,
    Order,
    report_sighting,
)
from payment_device.patience import Patience
from payment_device.payment_errand import FIRST_WAIT_S, PaymentErrand
from payment_device.sightings import Chosen, Nearby, handle_of
from twochannel.protocol.envelope import sign
from twochannel.protocol.errors import CodedError, ErrorCode, PaymentError
from twochannel.protocol.lane import NONCE_LENGTH
from twochannel.protocol.limits import MAX_WAIT_S
from twochannel.protocol.money import Amount
from twochannel.protocol.statements import SightingReport

_log = logging.getLogger(__name__)

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
        self.patience = Patience(patience_s)
        self._operations = Operations(equipment, errands, new_id, self.patience)
        self._opening = asyncio.Lock()
        self._opening_reference = ""

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
        await self._operations.capture(self._intent(payment), amount, wait_s)
        return self._shown(payment)

    async def cancel(self, payment: str, reason: str, wait_s: int) -> dict[str, Any]:
        """End a pending payment or release a hold."""
        await self._operations.cancel(self._intent(payment), reason, wait_s)
        return self._shown(payment)

    async def refund(self, payment: str, asked: GivingBack) -> dict[str, Any]:
        """Give back what was captured, or a part of it. The same reference is given back once."""
        statement = await self._operations.refund(self._intent(payment), asked)
        refund = refund_view(self._intents.get_operation(statement))
        return self._shown(payment) | {"refund": refund}

    async def payment(self, payment: str, wait_s: int = 0) -> dict[str, Any]:
        """One payment; with ``wait_s`` held back until its outcome is known."""
        intent = self._intent(payment)
        if wait_s and intent.phase in OPEN:
            await self._settled(payment, wait_s)
        return self._shown(payment)

    def payments(
        self, limit: int, *, reference: str | None = None, active: bool = False
    ) -> list[dict[str, Any]]:
        """The newest payments first; of a till's reference; those that are not over."""
        found = self._intents.newest(limit, reference=reference, active=active)
        return [self._view(intent) for intent in found]

    def changed_since(self, revision: int | None) -> list[tuple[int, dict[str, Any]]]:
        """Payments that changed after ``revision``, oldest change first, each with its revision.

        None: those that are not over, as a till wants them that knows nothing.
        """
        changed = self._intents.changed_since(revision)
        return [(number, self._view(intent)) for number, intent in changed]

    @property
    def revision(self) -> int:
        """A number that rises whenever anything changes in any payment."""
        return self._intents.revision

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
        self._operations.resume()

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
            choice = await self._equipment.radio.choose(charge.jack, payment=payment)
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
        await self.patience.watch(errand, known, wait_s or MAX_WAIT_S, payment)
        intent = self._intents.get(payment)
        if intent.code is not None:
            told = errand.refusal if errand else None
            raise told or CodedError(ErrorCode(intent.code))
        return self._shown(payment)

    async def _settled(self, payment: str, wait_s: int) -> None:
        def known() -> bool:
            return self._intents.get(payment).phase not in OPEN

        await self.patience.watch(self._errands.find(payment), known, wait_s, payment)

    def _shown(self, payment: str) -> dict[str, Any]:
        return self._view(self._intents.get(payment))

    def _view(self, intent: Intent) -> dict[str, Any]:
        return view(intent, self._intents.operations(intent.payment))

    def _intent(self, payment: str) -> Intent:
        intent = self._intents.find(payment)
        if intent is None:
            raise PaymentError(ErrorCode.PAYMENT_UNKNOWN, "this terminal has no such payment")
        return intent


def _reported(target: _Target, now_s: float) -> SightingReport:
    if target.jack is None:
        return UNHEARD
    heard_s_ago = now_s - target.jack.heard_at_s
    return report_sighting(target.jack.rssi_dbm, heard_s_ago, target.others)
