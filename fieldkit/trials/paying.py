"""Payments of a trial: the till that asks, and the owner who answers or does not."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from typing import Any, Final

from fieldkit.cast import CarRole
from fieldkit.process import StageError
from fieldkit.trials import steps
from fieldkit.trials.company import Company
from fieldkit.trials.driving import Driving
from fieldkit.trials.owners import Owners
from fieldkit.trials.steps import Owner, Step
from twochannel.protocol.errors import CodedError, ErrorCode

_CURRENCY: Final = "EUR"
_HEARD_DEADLINE_S: Final = 40.0
_LOOK_EVERY_S: Final = 0.05
_WAIT_S: Final = 30
#: A till does not ask for longer, which is twice what a challenge lives.
_UNREACHED_S: Final = 120.0
_ASK_AGAIN_S: Final = 0.5
#: By the terminal, because another jack could be meant.
_REFUSED: Final = "refused"
_OPEN: Final = {"pending", "confirmed", "unknown"}
#: How a payment may end, by what its owner does.
_ENDS: Final = {
    Owner.RULE: {"captured"},
    Owner.APPROVES: {"captured"},
    Owner.DECLINES: {"declined"},
    Owner.SILENT: {"declined", "expired"},
}


@dataclass(slots=True)
class Ending:
    """Of a payment: how it stands so far. All empty until it has begun.

    ``took_ms``: from the till's question to its outcome.
    """

    payment: str = ""
    status: str = ""
    took_ms: float | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the till asks for. ``pick``: it names the jack. ``hurried``: it does not wait."""

    amount: str
    owner: Owner
    capture: str = "automatic"
    pick: bool = False
    hurried: bool = False
    meets: Step | None = None

    @property
    def states(self) -> set[str]:
        """In which the jack has to be shown before the till asks."""
        more = {"ambiguous"} if self.hurried else {"ambiguous", "heard"} if self.pick else set()
        return {"chosen"} | more


class Paying:
    """Where a car stands, it pays."""

    def __init__(self, company: Company, driving: Driving, owners: Owners) -> None:
        self._company, self._stage = company, company.stage
        self._driving, self._owners = driving, owners

    async def pay(self, step: steps.Pay, ending: Ending) -> None:
        """Raises StageError if it ends as it must not: in trouble it may end in any way."""
        began_us = self._company.truth.now_us()
        if step.method is not None:
            await self._choose_method(step.car, step.method)
        asked = _Asked(
            *(step.amount, step.owner), pick=step.pick, hurried=step.hurried, meets=step.meets
        )
        await self._charge(step.car, asked, ending)
        well = ending.status in _ENDS[step.owner] | ({_REFUSED} if step.hurried else set())
        if not well and not self._company.truth.troubled(step.car, began_us):
            raise StageError(f"the payment is {ending.status}, and its owner {step.owner}")

    async def refuel(self, step: steps.Refuel, ending: Ending) -> None:
        """Raises StageError as ``pay``."""
        began_us = self._company.truth.now_us()
        await self._charge(step.car, _Asked(step.hold, step.owner, "manual"), ending)
        if ending.status == "authorized":
            body = {"amount": _amount(step.amount), "wait_s": _WAIT_S}
            path = f"/v1/payments/{ending.payment}/captures"
            captured = await self._stage.ask(self._driving.lane(step.car), "POST", path, body)
            ending.status = str(captured["status"])
        well = ending.status == "captured"
        if not well and not self._company.truth.troubled(step.car, began_us):
            raise StageError(f"refuelling has ended as {ending.status}")

    async def _charge(self, car: str, asked: _Asked, ending: Ending) -> None:
        lane, role = self._driving.lane(car), self._company.car(car)
        handle = await self._heard(lane, role, asked.states)
        body: dict[str, object] = {
            "amount": _amount(asked.amount),
            "capture": asked.capture,
            "reference": f"trial-{secrets.token_hex(4)}",
            "wait_s": _WAIT_S,
        }
        if asked.pick:
            body["jack"] = handle
        asked_s = time.monotonic()
        async with self._owners.asked(role, asked.owner, asked.meets):
            payment = await self._ask(lane, body, hurried=asked.hurried)
            ending.payment = str(payment["id"])
            while payment["status"] in _OPEN:
                path = f"/v1/payments/{ending.payment}?wait_s={_WAIT_S}"
                payment = await self._reached(lane, "GET", path)
            ending.took_ms = round((time.monotonic() - asked_s) * 1000, 1)
        ending.status = str(payment["status"])
        self._company.truth.paid(ending.payment, car, lane, asked.owner.value)

    async def _ask(self, lane: str, body: dict[str, object], *, hurried: bool) -> dict[str, Any]:
        """The payment; one that the terminal refused to begin has its id from the trace."""
        try:
            return await self._reached(lane, "POST", "/v1/payments", body)
        except CodedError as error:
            if not hurried or error.code is not ErrorCode.JACK_AMBIGUOUS:
                raise
        events = await asyncio.to_thread(self._stage.traces[lane].events)
        refused = next(event for event in reversed(events) if event.event == "jack_not_chosen")
        return {"id": refused.payment, "status": _REFUSED}

    async def _reached(
        self, lane: str, method: str, path: str, body: dict[str, object] | None = None
    ) -> dict[str, Any]:
        """A till asks again while its terminal reaches no server: it is the same payment."""
        async with asyncio.timeout(self._stage.within_s(_UNREACHED_S)):
            while True:
                try:
                    return await self._stage.ask(lane, method, path, body)
                except CodedError as error:
                    if error.code is not ErrorCode.SERVER_UNREACHABLE:
                        raise
                await asyncio.sleep(_ASK_AGAIN_S)

    async def _heard(self, lane: str, car: CarRole, states: set[str]) -> str:
        """Wait until ``lane`` shows the jack of ``car`` in one of ``states``; its handle."""
        async with asyncio.timeout(self._stage.within_s(_HEARD_DEADLINE_S)):
            while True:
                handle = self._handle(car)
                listed = await self._stage.ask(lane, "GET", "/v1/jacks")
                if any(j["handle"] == handle and j["state"] in states for j in listed["items"]):
                    return handle
                await asyncio.sleep(_LOOK_EVERY_S)

    def _handle(self, car: CarRole) -> str:
        """That of the code which its jack broadcasts."""
        events = self._stage.traces[car.jack.name].events()
        rotated = (event for event in reversed(events) if event.event == "beacon_rotated")
        return next((str(event.fields["handle"]) for event in rotated), "")

    async def _choose_method(self, car: str, label: str) -> None:
        phone = self._company.car(car).phone.name
        _, listed = await self._stage.cli(phone, "methods", "list")
        ids = {method["label"]: method for method in listed["items"]}
        if label not in ids:
            raise StageError(f"{car} has no method called {label}")
        if not ids[label]["default"]:
            await self._stage.cli(phone, "methods", "default", str(ids[label]["id"]))


def _amount(typed: str) -> dict[str, str]:
    return {"amount": typed, "currency": _CURRENCY}
