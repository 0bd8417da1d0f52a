"""The pages of the lane: what is heard, an amount to charge, and the payments."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from payment_device.answers import UnsettledError
from payment_device.attendants_view import (
    JacksView,
    jacks_shown,
    payment_shown,
    problem,
)
from payment_device.forecourt import Forecourt
from payment_device.lane_radio import LaneRadio
from payment_device.orders import Charge, GivingBack
from payment_device.pump_page import PumpPage, shown_pump
from payment_device.terminal import Terminal
from twochannel.changes import Changes
from twochannel.keystore.file import write_private
from twochannel.pages.door import Doorway, Form, form_route
from twochannel.pages.memory import Remembering
from twochannel.pages.rendering import Pages, words_for
from twochannel.pages.site import Site, serving
from twochannel.protocol.errors import PROBLEMS, CodedError, ErrorCode
from twochannel.protocol.money import DECIMALS, Amount, format_minor
from twochannel.protocol.payment import CaptureMode
from twochannel.serving import Address
from twochannel.trial_forms import TrialForms
from twochannel.trial_notes import TrialNotes

MEMORY_NAME: Final = "page.json"
_TEMPLATES: Final = Path(__file__).with_name("templates")
#: How often levels and ages are on an open page.
_LOOK_S: Final = 0.4
#: For so long a form waits for its outcome; then the page shows that it is under way.
_ANSWER_S: Final = 5
_SHOWN_JACKS: Final = 4
_RECENT: Final = 3
_HISTORY: Final = 50


@dataclass(frozen=True, slots=True)
class Situation:
    """Implements ``site.Situation``.

    ``undecided``: the payment that the driver is asked about. ``pump``: how far its fuelling is;
    None: there is no pump.
    """

    revision: int
    undecided: str | None
    server_reachable: bool
    radio_problem: str | None
    pump: str | None

    @property
    def version(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]

    @property
    def event(self) -> str:
        return "asked" if self.undecided else "changed"


@dataclass(frozen=True)
class LanePage:
    """``status``: as the till's API tells it. ``currencies``: the first is the usual one.

    ``notes``: what the attendant notes of a field trial goes there.
    """

    terminal: Terminal
    radio: LaneRadio
    status: Callable[[], dict[str, Any]]
    currencies: tuple[str, ...]
    notes: TrialNotes
    forecourt: Forecourt | None = None

    def situation(self) -> Situation:
        told = self.status()
        return Situation(
            self.terminal.revision,
            told["payment"],
            bool(told["server_reachable"]),
            told["radio_problem"],
            self._pump_state(),
        )

    def _pump_state(self) -> str | None:
        """What changes the page itself; what runs meanwhile is a part of it."""
        if self.forecourt is None:
            return None
        told = self.forecourt.view()
        fuelling = told["fuelling"] or {}
        return f"{fuelling.get('id')} {fuelling.get('phase')} {fuelling.get('problem')}"

    def routes(self, doorway: Doorway, pages: Pages) -> list[BaseRoute]:
        return _Routes(self, pages).all(doorway)

    async def parts(self, pages: Pages, request: Request) -> Sequence[str]:
        """The jacks and the pump, several times a second."""
        jacks = pages.text(request, "jacks.html", jacks=self.jacks())
        if self.forecourt is None:
            return (jacks,)
        shown = await shown_pump(self.forecourt, self.terminal)
        return (jacks, pages.text(request, "pump_display.html", pump=shown))

    def jacks(self) -> JacksView:
        return jacks_shown(self.radio.jacks(), _SHOWN_JACKS)


@dataclass(frozen=True)
class _Routes:
    lane: LanePage
    pages: Pages

    def all(self, doorway: Doorway) -> list[BaseRoute]:
        form = partial(form_route, doorway=doorway)
        one = "/payments/{payment}"
        return [
            Route("/", self._home),
            Route("/payments", self._history),
            Route("/terminal", self._terminal),
            Route(one, self._payment),
            form("/charge", take=self._charge),
            form(f"{one}/capture", take=self._capture),
            form(f"{one}/cancel", take=self._cancel),
            form(f"{one}/refund", take=self._refund),
            *self._trial.routes(doorway),
            *self._pump(doorway),
        ]

    @property
    def _trial(self) -> TrialForms:
        lane = str(self.lane.status()["lane"])
        return TrialForms(self.lane.notes, "/terminal", self._noting, lane)

    def _pump(self, doorway: Doorway) -> list[BaseRoute]:
        if self.lane.forecourt is None:
            return []
        pump = PumpPage(self.lane.forecourt, self.lane.terminal, self.lane.jacks, self._rendered)
        return pump.routes(doorway)

    def _rendered(
        self, request: Request, template: str, status: int = 200, **values: Any
    ) -> Response:
        now, told = self.lane.situation(), self.lane.status()
        return self.pages.render(request, template, status, now=now, lane=told, **values)

    async def _home(self, request: Request) -> Response:
        undecided = self.lane.terminal.at_the_lane()
        if undecided is not None:
            return RedirectResponse(f"/payments/{undecided}", 303)
        return self._asking(request, {})

    def _asking(self, request: Request, form: Form, text: str = "", status: int = 200) -> Response:
        recent = map(payment_shown, self.lane.terminal.payments(_RECENT))
        asked = form.get("currency", "")
        currency = asked if asked in self.lane.currencies else self.lane.currencies[0]
        return self._rendered(
            request,
            "lane.html",
            status,
            jacks=self.lane.jacks(),
            currencies={each: DECIMALS[each] for each in self.lane.currencies},
            currency=currency,
            amount=form.get("amount", ""),
            picked=form.get("jack", ""),
            # Sent twice, a form is one payment: this is the till's reference.
            reference=f"page-{secrets.token_hex(6)}",
            recent=list(recent),
            problem=text,
        )

    async def _charge(self, request: Request, form: Form) -> Response:
        try:
            payment = await self._charged(request, form)
        except UnsettledError as error:
            payment = error.payment
        except CodedError as error:
            status = PROBLEMS[error.code].status
            return self._asking(request, form, problem(error.code), status)
        return RedirectResponse(f"/payments/{payment}", 303)

    async def _charged(self, request: Request, form: Form) -> str:
        capture = CaptureMode.MANUAL if form.get("kind") == "hold" else CaptureMode.AUTOMATIC
        asked: dict[str, object] = {
            "amount": self._amount(request, form).model_dump(),
            "capture": capture.value,
            "reference": form.get("reference", ""),
            "jack": form.get("jack") or None,
            "wait_s": 0,
        }
        return str((await self.lane.terminal.charge(Charge.read(asked)))["id"])

    def _amount(self, request: Request, form: Form) -> Amount:
        currency = form.get("currency", "")
        if currency not in self.lane.currencies:
            raise CodedError(ErrorCode.CURRENCY_UNKNOWN)
        return words_for(request).read_amount(form.get("amount", ""), currency)

    async def _history(self, request: Request) -> Response:
        payments = map(payment_shown, self.lane.terminal.payments(_HISTORY))
        return self._rendered(request, "payments.html", payments=list(payments))

    async def _terminal(self, request: Request) -> Response:
        return await self._noting(request)

    async def _noting(self, request: Request, text: str = "", status: int = 200) -> Response:
        note = self._trial.form(request, text)
        return self._rendered(request, "terminal.html", status, note=note)

    async def _payment(self, request: Request) -> Response:
        return await self._shown(request)

    async def _shown(self, request: Request, text: str = "", status: int = 200) -> Response:
        told = await self.lane.terminal.payment(request.path_params["payment"])
        shown = payment_shown(told)
        capturable = format_minor(shown.capturable_minor, shown.currency)
        refundable = format_minor(shown.refundable_minor, shown.currency)
        return self._rendered(
            request,
            "payment.html",
            status,
            payment=shown,
            capturable=capturable,
            refundable=refundable,
            decimals=DECIMALS[shown.currency],
            refund_reference=f"page-{secrets.token_hex(6)}",
            problem=text,
        )

    async def _operated(self, request: Request, operate: Callable[[str], Any]) -> Response:
        """Do it and show the payment, or show it with what is wrong."""
        payment = request.path_params["payment"]
        try:
            with suppress(UnsettledError):
                await operate(payment)
        except CodedError as error:
            if error.code is ErrorCode.PAYMENT_UNKNOWN:
                raise
            return await self._shown(request, problem(error.code), PROBLEMS[error.code].status)
        return RedirectResponse(f"/payments/{payment}", 303)

    async def _capture(self, request: Request, form: Form) -> Response:
        async def operate(payment: str) -> None:
            amount = await self._amount_of(request, form)
            await self.lane.terminal.capture(payment, amount, _ANSWER_S)

        return await self._operated(request, operate)

    async def _cancel(self, request: Request, _form: Form) -> Response:
        async def operate(payment: str) -> None:
            await self.lane.terminal.cancel(payment, "at the lane page", _ANSWER_S)

        return await self._operated(request, operate)

    async def _refund(self, request: Request, form: Form) -> Response:
        async def operate(payment: str) -> None:
            asked: dict[str, object] = {
                "amount": (await self._amount_of(request, form)).model_dump(),
                "reference": form.get("reference", ""),
                "wait_s": _ANSWER_S,
            }
            await self.lane.terminal.refund(payment, GivingBack.read(asked))

        return await self._operated(request, operate)

    async def _amount_of(self, request: Request, form: Form) -> Amount:
        """The amount that was typed, in the payment's currency."""
        told = await self.lane.terminal.payment(request.path_params["payment"])
        return words_for(request).read_amount(form.get("amount", ""), told["amount"]["currency"])


def serving_pages(
    lane: LanePage, changes: Changes, state: Path, port: int
) -> AbstractAsyncContextManager[Doorway]:
    """Serve the pages on loopback while the block runs. ``port``: 0 for the last one, or any.

    Raises OSError if the port is taken.
    """
    file = state / MEMORY_NAME

    def keep(text: str) -> None:
        write_private(file, text.encode())

    kept = file.read_text(encoding="utf-8") if file.exists() else None
    site = Site(
        _TEMPLATES,
        "payment-device page",
        changes,
        lane.situation,
        lane.routes,
        look_s=_LOOK_S,
        parts=lane.parts,
    )
    return serving(site, Remembering.recall(kept, "lane", keep), Address(port=port))
