"""The page that asks the owner, what became of a payment, and the payments before it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from phone_agent.consent import SENTENCES, Reason
from phone_agent.situation import PagedAgent, shown, situation
from twochannel.pages.door import Doorway, Form, form_route
from twochannel.pages.rendering import Pages
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.statements import Decision

#: What the owner may do about an answer that could not be given.
PROBLEMS: Final = {
    ErrorCode.NOT_READY: "Your jack has not answered yet. Try again in a moment.",
    ErrorCode.PAYMENT_METHOD_UNKNOWN: "You have no payment method yet. Add one first.",
    ErrorCode.PAYMENT_STATE: "This payment has its answer already, or it is too late for one.",
}


@dataclass(frozen=True, slots=True)
class ApprovalPage:
    """``/``, ``/payments`` and what is below it."""

    agent: PagedAgent
    pages: Pages

    def routes(self, doorway: Doorway) -> list[BaseRoute]:
        form = partial(form_route, doorway=doorway)
        return [
            Route("/", self._home),
            Route("/payments", self._history),
            form("/payments/decline-behind", take=self._decline_behind),
            Route("/payments/{payment}", self._payment),
            *(
                form(f"/payments/{{payment}}/{decision}", take=self._answering(decision))
                for decision in Decision
            ),
        ]

    def _rendered(
        self, request: Request, template: str, status: int = 200, **values: Any
    ) -> Response:
        return self.pages.render(request, template, status, now=situation(self.agent), **values)

    def _asking(self, request: Request, problem: str = "", status: int = 200) -> Response:
        now_s = self.agent.server.now_ms() / 1000
        values = {"why": why, "problem": problem, "now_s": now_s}
        return self._rendered(request, "home.html", status, **values)

    async def _home(self, request: Request) -> Response:
        return self._asking(request)

    async def _history(self, request: Request) -> Response:
        payments = [shown(kept) for kept in self.agent.ledger.payments()]
        return self._rendered(request, "history.html", payments=payments)

    async def _payment(self, request: Request) -> Response:
        payment = shown(self.agent.ledger.payment(request.path_params["payment"]))
        return self._rendered(request, "payment.html", payment=payment)

    def _answering(self, decision: Decision) -> Callable[[Request, Form], Awaitable[Response]]:
        async def answer(request: Request, _form: Form) -> Response:
            payment = request.path_params["payment"]
            try:
                await self.agent.approvals.answer_at_once(payment, decision)
            except CodedError as error:
                if (problem := PROBLEMS.get(error.code)) is None:
                    raise
                return self._asking(request, problem, 409)
            return RedirectResponse(f"/payments/{payment}", 303)

        return answer

    async def _decline_behind(self, _request: Request, form: Form) -> Response:
        """Decline those that the page showed as waiting behind the question, and no others."""
        listed = form.get("payments", "").split()
        for asked in self.agent.approvals.waiting():
            if asked.payment in listed:
                await self.agent.approvals.answer_at_once(asked.payment, Decision.DECLINE)
        return RedirectResponse("/", 303)


def why(reason: Reason | None) -> str:
    """Why the owner is asked; empty where presence says it, or nobody is asked yet."""
    if reason in (None, Reason.PRESENCE_MISSING, Reason.PRESENCE_REQUIRED):
        return ""
    return SENTENCES[reason]
