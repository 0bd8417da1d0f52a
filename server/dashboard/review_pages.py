"""``/reviews``: what a person must decide, and the form in which it is decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from server.dashboard.admins import note_action
from server.dashboard.door import admin_of, form_route
from server.dashboard.reading import Reader, Templates
from server.kinds import ReviewDecision
from server.notifications import OUTBOX, PAYMENTS, WEBHOOKS, payment_topic
from server.review_decisions import Verdict, decide
from server.reviews import ReviewError, list_reviews
from server.services import Services
from twochannel.pages.door import Form

_LONGEST_TEXT: Final = 200
_LONGEST_ID: Final = 12


@dataclass(frozen=True, slots=True)
class ReviewPages:
    services: Services
    reader: Reader
    templates: Templates

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/reviews", self._list),
            form_route("/reviews/{review}/settle", self._settle),
        ]

    async def _list(self, request: Request, problem: str = "") -> Response:
        waiting = await self.reader.read(list_reviews)
        status = 400 if problem else 200
        return self.templates.page(
            request, "reviews.html", status, waiting=waiting, problem=problem
        )

    async def _settle(self, request: Request, form: Form) -> Response:
        """What `cigarjack-server reviews settle` does, by the name of the admin."""
        review = request.path_params["review"]
        if not (review.isascii() and review.isdigit() and len(review) <= _LONGEST_ID):
            raise HTTPException(404, "There is no such review.")
        try:
            verdict = _verdict(form, admin_of(request))
            decided = await self.services.store.write(
                lambda c: self._decide(c, int(review), verdict)
            )
        except (ReviewError, ValueError) as error:
            text = str(error)
            return await self._list(request, text[0].upper() + text[1:] + ".")
        self._wake(decided["payment"])
        return RedirectResponse("/reviews", 303)

    def _decide(self, connection: Connection, review: int, verdict: Verdict) -> dict[str, Any]:
        now_ms = self.services.now_ms()
        decided = decide(connection, review, verdict, self.services.issuer, now_ms)
        subject = f"review {review} of {decided['payment']}"
        note_action(connection, verdict.by, verdict.decision.value, subject, verdict.why, now_ms)
        return decided

    def _wake(self, payment: str) -> None:
        """Whoever waits for it looks again, here and at the other servers."""
        for topic in (payment_topic(payment), PAYMENTS):
            self.services.notifications.wake(topic)
            if self.services.relay is not None:
                self.services.relay.send(topic)
        for topic in (OUTBOX, WEBHOOKS):
            self.services.notifications.wake(topic)


def _verdict(form: Form, admin: str) -> Verdict:
    """Raises ValueError."""
    why, reference = form.get("why", "").strip(), form.get("reference", "").strip()
    decision = form.get("decision", "")
    if decision not in tuple(ReviewDecision):
        raise ValueError("choose what became of the order")
    if not why:
        raise ValueError("say what you saw at the processor")
    if (decision == ReviewDecision.CARRIED_OUT) != bool(reference):
        raise ValueError("give the processor's reference if it was carried out, and only then")
    for text in (why, reference):
        if len(text) > _LONGEST_TEXT or not (text + ".").isprintable():
            raise ValueError(f"use at most {_LONGEST_TEXT} printable characters")
    return Verdict(ReviewDecision(decision), admin, why, reference or None)
