"""The pump at this lane: fuel for a hold (pre-pay), or fuel first and then the request (post-pay).

Every step is on disk before it is taken, and each may be taken twice: the pump's limit is one of
its own counter, charges go by reference, captures take effect once. So after a crash in the middle
the same step is taken again, and what is captured is what the pump has counted.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from payment_device.answers import UnsettledError, not_chosen
from payment_device.dispenser import Dispenser, DispenserError
from payment_device.fuel import (
    Fuelling,
    Kind,
    Phase,
    Price,
    Reading,
    fuelling_view,
    is_over,
    most_without_limit,
)
from payment_device.intents import OPEN
from payment_device.lane_radio import LaneRadio
from payment_device.orders import Charge, FuelBody, Order, read_amount
from payment_device.pump_memory import PumpMemory
from payment_device.sightings import Chosen, handle_of
from payment_device.terminal import Terminal
from twochannel.changes import Changes
from twochannel.protocol.errors import CodedError, ErrorCode, PaymentError
from twochannel.protocol.money import Amount
from twochannel.protocol.payment import CaptureMode, Status

_log = logging.getLogger(__name__)

#: The pump is looked at this often while it is released.
_LOOK_S: Final = 0.2
#: A step waits so long for the server; the next one joins what is under way.
_STEP_WAIT_S: Final = 2
#: Larger than a car's tank: fuel that nobody agreed to a maximum for ends here.
_TANK_LITRES: Final = 150
_DESCRIPTION: Final = "Fuel"


@dataclass
class Forecourt:
    """Run ``run`` beside everything else. ``patience_s``: a released pump is locked after it.

    ``postpay_on_lift``: a nozzle that is lifted begins a post-pay, once a jack is recognised.
    """

    terminal: Terminal
    radio: LaneRadio
    pump: Dispenser
    memory: PumpMemory
    price: Price
    changes: Changes
    new_id: Callable[[], str]
    now_s: Callable[[], int]
    patience_s: int
    postpay_on_lift: bool = False

    def __post_init__(self) -> None:
        self._stepping = asyncio.Lock()
        self._reading: Reading | None = None
        self._pump_problem = ""
        self._step_problem = ""
        #: The nozzle was seen in its place since the last fuelling: who lifts it now is the next.
        self._nozzle_was_back = False

    async def run(self) -> None:
        """Take step after step, for ever."""
        while True:
            async with self._stepping:
                await self._take_step()
            await self.changes.wait(_LOOK_S)

    async def _take_step(self) -> None:
        try:
            fuelling = self.memory.active()
            self._see(await self.pump.reading())
            if self._reading is not None:
                await self._act(fuelling, self._reading)
        except DispenserError as error:
            self._lose(str(error))
        except UnsettledError:
            # It is under way, and the next step joins it.
            return
        except (CodedError, sqlite3.Error) as error:
            if str(error) != self._step_problem:
                self._step_problem = str(error)
                _log.warning("pump_step_failed", extra={"reason": str(error)})

    def _see(self, reading: Reading) -> None:
        if reading != self._reading:
            self.changes.mark()
        self._reading, self._pump_problem = reading, ""

    def _lose(self, problem: str) -> None:
        self._reading = None
        if problem != self._pump_problem:
            self._pump_problem = problem
            _log.warning("pump_lost", extra={"reason": problem})
            self.changes.mark()

    # --- what a till, an attendant or a driver can do

    async def begin(self, asked: FuelBody) -> dict[str, Any]:
        """Take the pump for one customer. Raises CodedError.

        The same reference is the same fuelling.
        """
        async with self._stepping:
            known = self.memory.find_reference(asked.reference)
            if known is None:
                if self.memory.active() is not None:
                    raise PaymentError(ErrorCode.TERMINAL_BUSY, "the pump is taken")
                await self._begin(asked)
        return self.view()

    async def _begin(self, asked: FuelBody) -> None:
        fuelling = self._made(asked)
        if fuelling.kind is Kind.POSTPAY:
            code = await self._recognised(asked.jack)
            await self._open(_of(fuelling, code), await self._read())
        else:
            self.memory.keep(fuelling)
            try:
                await self._charge(fuelling)
            except UnsettledError:
                return
            except CodedError as error:
                self.memory.keep(replace(fuelling, phase=Phase.FAILED, problem=error.code.value))
                raise

    def _made(self, asked: FuelBody) -> Fuelling:
        return Fuelling(
            id=self.new_id(),
            kind=Kind(asked.kind),
            reference=asked.reference,
            price=self.price,
            most_minor=self._most_minor(asked),
            phase=Phase.ASKED,
            jack=asked.jack,
        )

    def _most_minor(self, asked: FuelBody) -> int:
        if asked.most is None:
            if Kind(asked.kind) is Kind.PREPAY:
                raise CodedError(ErrorCode.CLAIM_INVALID, "say how much at most: most")
            return most_without_limit(self.price, _TANK_LITRES)
        most = read_amount(asked.most)
        if most.currency != self.price.currency:
            detail = f"this pump sells for {self.price.currency}"
            raise CodedError(ErrorCode.CURRENCY_UNKNOWN, detail)
        return most.value

    async def ask_again(self, jack: str | None) -> dict[str, Any]:
        """Ask for what was pumped once more, of ``jack`` or of the one at the lane."""
        async with self._stepping:
            fuelling = self._active(Phase.UNPAID)
            code = await self._recognised(jack)
            self.memory.keep(
                replace(
                    _of(fuelling, code),
                    phase=Phase.CLOSED,
                    attempt=fuelling.attempt + 1,
                    payment=None,
                    problem="",
                )
            )
            await self._take_step()
        return self.view()

    async def settle(self) -> dict[str, Any]:
        """The attendant was paid in another way."""
        async with self._stepping:
            self.memory.keep(replace(self._active(Phase.UNPAID), phase=Phase.SETTLED))
        return self.view()

    async def stop(self) -> dict[str, Any]:
        """Lock the pump now; what was pumped is due. Nobody is asked any more."""
        async with self._stepping:
            fuelling = self._active(Phase.ASKED, Phase.OPEN)
            if fuelling.phase is Phase.OPEN:
                await self._close(fuelling)
            elif fuelling.payment is not None:
                with suppress(UnsettledError):
                    await self.terminal.cancel(fuelling.payment, "stopped", _STEP_WAIT_S)
            else:
                self.memory.keep(replace(fuelling, phase=Phase.FAILED))
            await self._take_step()
        return self.view()

    def view(self) -> dict[str, Any]:
        """The pump, and the fuelling that has it or had it last."""
        reading, fuelling = self._reading, self.memory.newest()
        return {
            "price": str(self.price),
            "problem": self._pump_problem or None,
            "nozzle_lifted": reading.nozzle_lifted if reading else None,
            "released": reading.released if reading else None,
            "fuelling": fuelling_view(fuelling) if fuelling else None,
        }

    def _active(self, *phases: Phase) -> Fuelling:
        fuelling = self.memory.active()
        if fuelling is None or fuelling.phase not in phases:
            state = fuelling.phase if fuelling else "free"
            raise PaymentError(ErrorCode.PAYMENT_STATE, f"the pump is {state}")
        return fuelling

    async def _read(self) -> Reading:
        try:
            return await self.pump.reading()
        except DispenserError as error:
            raise CodedError(ErrorCode.NOT_READY, str(error)) from None

    async def _recognised(self, jack: str | None) -> bytes:
        """The code of the jack at the lane, or of the one that was picked. Raises CodedError."""
        choice = await self.radio.choose(jack, asked="pump")
        if not isinstance(choice, Chosen):
            raise not_chosen(choice)
        return choice.jack.code

    # --- steps

    async def _act(self, fuelling: Fuelling | None, reading: Reading) -> None:
        if fuelling is not None:
            self._nozzle_was_back = not reading.nozzle_lifted
            await self._step(fuelling, reading)
        elif not reading.nozzle_lifted:
            self._nozzle_was_back = True
        elif self.postpay_on_lift and self._nozzle_was_back:
            await self._begin_by_nozzle(reading)

    async def _begin_by_nozzle(self, reading: Reading) -> None:
        """If it is plain whose it is; else the attendant has to pick."""
        choice = self.radio.look(asked="pump")
        if isinstance(choice, Chosen):
            fuelling = self._made(FuelBody(kind="postpay", reference=f"lift-{self.new_id()}"))
            await self._open(replace(_of(fuelling, choice.jack.code), by_nozzle=True), reading)

    async def _step(self, fuelling: Fuelling, reading: Reading) -> None:
        if fuelling.phase is Phase.ASKED:
            await self._follow_hold(fuelling, reading)
        elif fuelling.phase is Phase.OPEN:
            await self._watch(fuelling, reading)
        elif fuelling.phase is Phase.CLOSED:
            await self._collect(fuelling)

    async def _follow_hold(self, fuelling: Fuelling, reading: Reading) -> None:
        if fuelling.payment is None:
            self._take_up(fuelling)
            return
        told = await self.terminal.payment(fuelling.payment)
        if told["phase"] in OPEN:
            return
        if told["status"] != Status.AUTHORIZED:
            self.memory.keep(replace(fuelling, phase=Phase.FAILED, problem=_why(told)))
            return
        most_minor = min(fuelling.most_minor, told["authorized_minor"])
        await self._open(replace(fuelling, most_minor=most_minor), reading)

    def _take_up(self, fuelling: Fuelling) -> None:
        """After a crash before the payment's id was noted. Nobody else's jack is asked instead."""
        found = self.terminal.payments(1, reference=fuelling.charge_reference)
        if found:
            self.memory.keep(replace(fuelling, payment=found[0]["id"]))
        else:
            gone = ErrorCode.STATEMENT_EXPIRED.value
            self.memory.keep(replace(fuelling, phase=Phase.FAILED, problem=gone))

    async def _open(self, fuelling: Fuelling, reading: Reading) -> None:
        opened = replace(
            fuelling,
            phase=Phase.OPEN,
            start_ml=reading.total_ml,
            limit_ml=fuelling.price.most_ml(fuelling.most_minor),
            opened_s=self.now_s(),
        )
        self.memory.keep(opened)
        with suppress(DispenserError):
            # What did not reach the pump is sent again while it is watched.
            await self.pump.release(opened.limit_total_ml)

    async def _watch(self, fuelling: Fuelling, reading: Reading) -> None:
        watched = replace(
            fuelling,
            pumped_ml=max(fuelling.pumped_ml, reading.total_ml - fuelling.start_ml),
            code=self._followed(fuelling),
        )
        if watched != fuelling:
            self.memory.keep(watched)
        if is_over(watched, reading, self.now_s(), self.patience_s):
            await self._close(watched)
        elif not reading.released:
            await self.pump.release(watched.limit_total_ml)

    def _followed(self, fuelling: Fuelling) -> str | None:
        """The code of the car that was recognised; the jack at the lane once it has another."""
        if fuelling.code is None:
            return None
        heard = {jack.code.hex() for jack in self.radio.nearby() if not jack.quiet}
        choice = self.radio.look(asked="pump")
        if fuelling.code in heard or not isinstance(choice, Chosen):
            return fuelling.code
        return choice.jack.code.hex()

    async def _close(self, fuelling: Fuelling) -> None:
        """Lock the pump first: what it has counted by then is what was pumped."""
        await self.pump.lock()
        reading = await self.pump.reading()
        pumped_ml = max(fuelling.pumped_ml, reading.total_ml - fuelling.start_ml)
        closed = replace(fuelling, phase=Phase.CLOSED, pumped_ml=pumped_ml)
        self.memory.keep(closed)
        _log.info("fuelling_closed", extra={"fuelling": closed.id, "pumped_ml": pumped_ml})
        await self._collect(closed)

    async def _collect(self, fuelling: Fuelling) -> None:
        try:
            if fuelling.kind is Kind.PREPAY and fuelling.attempt == 1:
                await self._take(fuelling)
            else:
                await self._request(fuelling)
        except UnsettledError:
            raise
        except CodedError as error:
            if error.code in (ErrorCode.TERMINAL_BUSY, ErrorCode.NOT_READY):
                raise
            self.memory.keep(replace(fuelling, phase=Phase.UNPAID, problem=error.code.value))

    async def _take(self, fuelling: Fuelling) -> None:
        """Capture what was pumped of the hold, or release all of it."""
        payment = str(fuelling.payment)
        if fuelling.cost_minor == 0:
            told = await self.terminal.cancel(payment, "nothing was pumped", _STEP_WAIT_S)
            ended = told["under_way"] is None
            phase = Phase.RELEASED
        else:
            amount = Amount(value=fuelling.cost_minor, currency=fuelling.price.currency)
            told = await self.terminal.capture(payment, amount, _STEP_WAIT_S)
            ended = told["status"] == Status.CAPTURED
            phase = Phase.PAID
        if ended:
            self.memory.keep(replace(fuelling, phase=phase))

    async def _request(self, fuelling: Fuelling) -> None:
        """Ask the owner for what was pumped, and follow it."""
        if fuelling.cost_minor == 0:
            self.memory.keep(replace(fuelling, phase=Phase.RELEASED))
            return
        if fuelling.payment is None:
            await self._charge(fuelling)
            return
        told = await self.terminal.payment(fuelling.payment)
        if told["paid"]:
            self.memory.keep(replace(fuelling, phase=Phase.PAID))
        elif told["phase"] not in OPEN:
            self.memory.keep(replace(fuelling, phase=Phase.UNPAID, problem=_why(told)))

    async def _charge(self, fuelling: Fuelling) -> None:
        """The hold of a maximum, or the charge of what was pumped. Raises CodedError."""
        is_hold = fuelling.phase is Phase.ASKED
        value = fuelling.most_minor if is_hold else fuelling.cost_minor
        order = Order(
            Amount(value=value, currency=fuelling.price.currency),
            CaptureMode.MANUAL if is_hold else CaptureMode.AUTOMATIC,
            fuelling.charge_reference,
            _DESCRIPTION,
        )
        code = bytes.fromhex(fuelling.code) if fuelling.code else None
        charge = Charge(order, None if code else fuelling.jack, code, wait_s=0)
        try:
            payment = str((await self.terminal.charge(charge))["id"])
        except UnsettledError as error:
            self.memory.keep(replace(fuelling, payment=error.payment))
            raise
        self.memory.keep(replace(fuelling, payment=payment))


def _of(fuelling: Fuelling, code: bytes) -> Fuelling:
    """Of the car whose jack has this code."""
    return replace(fuelling, jack=handle_of(code), code=code.hex())


def _why(told: dict[str, Any]) -> str:
    """Why a payment came to nothing: an error code, or its status."""
    return str(told["code"] or told["status"])
