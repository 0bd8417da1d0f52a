"""The pump's page: what runs through it, what it comes to, and who pays."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from payment_device.attendants_view import JacksView, PumpView, problem, pump_shown
from payment_device.forecourt import Forecourt
from payment_device.orders import FuelBody, PickBody
from payment_device.terminal import Terminal
from twochannel.pages.door import Doorway, Form, form_route
from twochannel.pages.rendering import words_for
from twochannel.protocol.errors import PROBLEMS, CodedError
from twochannel.protocol.money import DECIMALS

#: Renders a template with what every page of the lane has.
Rendered = Callable[..., Response]


@dataclass(frozen=True)
class PumpPage:
    """``/pump`` and what is below it."""

    forecourt: Forecourt
    terminal: Terminal
    jacks: Callable[[], JacksView]
    rendered: Rendered

    def routes(self, doorway: Doorway) -> list[BaseRoute]:
        form = partial(form_route, doorway=doorway)
        acts = {"stop": self._stop, "ask": self._ask, "settle": self._settle}
        return [
            Route("/pump", self._page),
            form("/pump/begin", take=self._doing(self._begin)),
            *(form(f"/pump/{name}", take=self._doing(act)) for name, act in acts.items()),
        ]

    async def _page(self, request: Request) -> Response:
        return await self._answer(request)

    async def _answer(
        self, request: Request, text: str = "", status: int = 200, amount: str = ""
    ) -> Response:
        currency = self.forecourt.price.currency
        return self.rendered(
            request,
            "pump.html",
            status,
            pump=await shown_pump(self.forecourt, self.terminal),
            jacks=self.jacks(),
            currencies={currency: DECIMALS[currency]},
            currency=currency,
            amount=amount,
            reference=f"pump-{secrets.token_hex(6)}",
            problem=text,
        )

    def _doing(
        self, act: Callable[[Request, Form], Awaitable[object]]
    ) -> Callable[[Request, Form], Awaitable[Response]]:
        async def take(request: Request, form: Form) -> Response:
            try:
                await act(request, form)
            except CodedError as error:
                status = PROBLEMS[error.code].status
                typed = form.get("amount", "")
                return await self._answer(request, problem(error.code), status, typed)
            return RedirectResponse("/pump", 303)

        return take

    async def _begin(self, request: Request, form: Form) -> object:
        currency = self.forecourt.price.currency
        asked: dict[str, Any] = {
            "kind": form.get("kind", ""),
            "reference": form.get("reference", ""),
            "jack": form.get("jack") or None,
        }
        if asked["kind"] == "prepay":
            most = words_for(request).read_amount(form.get("amount", ""), currency)
            asked["most"] = most.model_dump()
        return await self.forecourt.begin(FuelBody.read(asked))

    async def _stop(self, _request: Request, _form: Form) -> object:
        return await self.forecourt.stop()

    async def _ask(self, _request: Request, form: Form) -> object:
        return await self.forecourt.ask_again(
            PickBody.read({"jack": form.get("jack") or None}).jack
        )

    async def _settle(self, _request: Request, _form: Form) -> object:
        return await self.forecourt.settle()


async def shown_pump(forecourt: Forecourt, terminal: Terminal) -> PumpView:
    """The pump as it is, with the match code of a payment that waits for its owner."""
    told = forecourt.view()
    payment = (told["fuelling"] or {}).get("payment")
    return pump_shown(told, await terminal.payment(payment) if payment else None)
