"""Owners who are asked about payments, and what goes wrong while they are."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Final

from fieldkit.cast import CarRole
from fieldkit.trials import steps
from fieldkit.trials.company import Company
from fieldkit.trials.misfortunes import Misfortunes
from fieldkit.trials.steps import Owner, Step

#: Beyond what the phone gives its owner.
_LATE_S: Final = 30


class Owners:
    """Each at the phone of a car."""

    def __init__(self, company: Company, misfortunes: Misfortunes) -> None:
        self._company, self._stage = company, company.stage
        self._misfortunes = misfortunes

    @contextlib.asynccontextmanager
    async def asked(self, car: CarRole, owner: Owner, meets: Step | None) -> AsyncIterator[None]:
        """What ``owner`` says is done about the payment that is asked for meanwhile.

        What it ``meets`` is over at the end; whoever was not asked again has then not answered.
        """
        if owner is Owner.RULE:
            yield
            return
        meeting = asyncio.create_task(self._meet(car, meets, time.monotonic_ns()))
        answering = asyncio.create_task(self._answer(car, owner, meets, meeting))
        try:
            yield
            await meeting
            if meets is None:
                await answering
        finally:
            for task in (answering, meeting):
                task.cancel()
            await asyncio.gather(answering, meeting, return_exceptions=True)

    async def _meet(self, car: CarRole, meets: Step | None, after_ns: int) -> None:
        if isinstance(meets, steps.PowerCut | steps.ServerRestarted):
            await self._stage.seen(car.phone.name, "prompt_shown", after_ns=after_ns)
        if isinstance(meets, steps.PowerCut):
            await self._misfortunes.power_cut(meets)
        elif isinstance(meets, steps.ServerRestarted):
            await self._misfortunes.server_restarted(meets)

    async def _answer(
        self, car: CarRole, owner: Owner, meets: Step | None, meeting: asyncio.Task[None]
    ) -> None:
        phone, began_ns = car.phone.name, time.monotonic_ns()
        prompt = await self._stage.seen(phone, "prompt_shown", after_ns=began_ns)
        if isinstance(meets, steps.PowerCut):
            await asyncio.shield(meeting)
            await self._stage.seen(phone, "prompt_shown", after_ns=prompt.mono_ns + 1)
        elif isinstance(meets, steps.ServerRestarted):
            await self._stage.seen(phone, "server_lost", after_ns=prompt.mono_ns + 1)
        if owner is Owner.SILENT:
            await self._say_nothing(car, str(prompt.payment))
            return
        act = "approve" if owner is Owner.APPROVES else "decline"
        await self._stage.ask(phone, "POST", f"/v1/payments/{prompt.payment}/{act}", {})

    async def _say_nothing(self, car: CarRole, payment: str) -> None:
        """Until the phone asks no more."""
        phone = car.phone.name
        fault = self._company.truth.began("owner_silent", phone, payment=payment)
        await self._stage.traces[phone].wait(
            "decision",
            payment=payment,
            deadline_s=self._stage.within_s(car.phone.prompt_s + _LATE_S),
        )
        self._company.truth.ended(fault)
