"""The owner's limits and jack: what they are, forms to change them, and notes of a field trial."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from cigarjack.client import LabelError
from phone_agent import label_picture
from phone_agent.consent import DAY_MS, Rules
from phone_agent.label_picture import LabelReader
from phone_agent.owners_view import signal_text
from phone_agent.pairing_errand import PAIRING_TEXTS
from phone_agent.situation import PagedAgent, situation
from phone_agent.wallet import Limit
from twochannel.pages.door import Doorway, Form, form_route
from twochannel.pages.rendering import Pages
from twochannel.pages.upload import upload_route
from twochannel.protocol.errors import CodedError, StatementError
from twochannel.protocol.money import DECIMALS, format_minor, parse_amount
from twochannel.trial_forms import TrialForms

NOT_AN_AMOUNT: Final = (
    "That is not an amount in this currency. Write it like 20.00, without a sign."
)
PHOTOGRAPH: Final = "/jack/photograph"
#: The page is shown without the phones of a jack if the server takes longer.
_SERVER_PATIENCE_S: Final = 2.0
NOT_INVITED: Final = "The jack is not in reach, or is not yours. Nobody was invited."
NOT_REMOVED: Final = "That did not reach the server. Try again in a moment."
NOT_A_LABEL: Final = "That is not a label. It begins with CJ1: and stands on the jack."


@dataclass(frozen=True, slots=True)
class SettingsPages:
    """``/limits``, ``/jack``."""

    agent: PagedAgent
    pages: Pages
    reader: LabelReader = field(default_factory=LabelReader)
    offers_camera: bool = field(default_factory=label_picture.can_be_read)

    def routes(self, doorway: Doorway) -> list[BaseRoute]:
        form = partial(form_route, doorway=doorway)
        return [
            Route("/limits", self._limits),
            form("/limits/rules", take=self._keep_rules),
            form("/limits/merchants", take=self._allow),
            form("/limits/merchants/forget", take=self._forget_merchant),
            Route("/jack", self._jack),
            form("/jack/pair", take=self._pair),
            form("/jack/forget", take=self._forget_jack),
            *self._trial.routes(doorway),
            form("/jack/invite", take=self._invite),
            form("/jack/member/remove", take=self._remove_member),
            *self._camera(doorway),
        ]

    def _camera(self, doorway: Doorway) -> list[BaseRoute]:
        if not self.offers_camera:
            return []
        return [upload_route(PHOTOGRAPH, doorway, self._photograph, label_picture.MAX_BYTES)]

    def _rendered(
        self, request: Request, template: str, problem: str = "", **values: Any
    ) -> Response:
        now = situation(self.agent)
        status = 413 if problem == label_picture.TOO_LARGE else 400 if problem else 200
        return self.pages.render(request, template, status, now=now, problem=problem, **values)

    # --- limits

    async def _limits(self, request: Request, problem: str = "") -> Response:
        wallet, ledger = self.agent.wallet, self.agent.ledger
        rules, limits = wallet.rules(), wallet.limits()
        currencies = {limit.amount.currency for limit in limits} | set(rules.day_minor)
        since_ms = self.agent.server.now_ms() - DAY_MS
        spent = {code: ledger.approved_alone_minor(code, since_ms) for code in sorted(currencies)}
        return self._rendered(
            request,
            "limits.html",
            problem,
            rules=rules,
            limits=limits,
            spent=spent,
            names=ledger.merchant_names(),
            currencies=sorted(DECIMALS),
            currency=_chosen(request, next(iter(spent), "EUR")),
            plain=format_minor,
        )

    async def _keep_rules(self, request: Request, form: Form) -> Response:
        """Both amounts are of the currency that the page showed; an empty one is no limit in it."""
        rules, currency = self.agent.wallet.rules(), form.get("currency", "")
        try:
            payment_minor = _with(rules.payment_minor, form.get("payment", ""), currency)
            day_minor = _with(rules.day_minor, form.get("day", ""), currency)
        except StatementError:
            return await self._limits(request, NOT_AN_AMOUNT)
        automatic = form.get("automatic") == "on"
        self.agent.wallet.keep_rules(Rules(automatic, payment_minor, day_minor))
        return RedirectResponse("/limits", 303)

    async def _allow(self, request: Request, form: Form) -> Response:
        try:
            amount = parse_amount(form.get("limit", ""), form.get("currency", ""))
        except StatementError:
            return await self._limits(request, NOT_AN_AMOUNT)
        if form.get("merchant") in self.agent.ledger.merchant_names():
            self.agent.wallet.allow(Limit(form["merchant"], amount))
        return RedirectResponse("/limits", 303)

    async def _forget_merchant(self, _request: Request, form: Form) -> Response:
        self.agent.wallet.forget(form.get("merchant", ""))
        return RedirectResponse("/limits", 303)

    # --- the jack

    async def _jack(self, request: Request, problem: str = "", invitation: str = "") -> Response:
        pairing = PAIRING_TEXTS.get(self.agent.pairing.state, "")
        radio_problem = self.agent.problem() or ""
        return self._rendered(
            request,
            "jack.html",
            problem,
            pairing=pairing,
            radio_problem=radio_problem,
            signal=signal_text,
            family=await self._family(),
            invitation=invitation,
            camera=PHOTOGRAPH if self.offers_camera else "",
            note=self._trial.form(request, problem),
        )

    @property
    def _trial(self) -> TrialForms:
        async def show(request: Request, problem: str, status: int) -> Response:
            answer = await self._jack(request, problem)
            answer.status_code = status
            return answer

        return TrialForms(self.agent.notes, "/jack", show)

    async def _family(self) -> list[dict[str, Any]]:
        """The phones of each jack; none while the server does not answer."""
        own = self.agent.identity.phone
        try:
            async with asyncio.timeout(_SERVER_PATIENCE_S):
                items = (await self.agent.family.phones())["items"] if self.agent.connected else []
        except (CodedError, TimeoutError):
            return []
        return [
            item | {"owned": any(p["owner"] and p["phone"] == own for p in item["phones"])}
            for item in items
        ]

    async def _invite(self, request: Request, form: Form) -> Response:
        try:
            invited = await self.agent.family.invite(form.get("jack", ""))
        except CodedError:
            return await self._jack(request, NOT_INVITED)
        return await self._jack(request, invitation=str(invited["label"]))

    async def _remove_member(self, request: Request, form: Form) -> Response:
        try:
            await self.agent.family.remove(form.get("jack", ""), form.get("phone", ""))
        except CodedError:
            return await self._jack(request, NOT_REMOVED)
        return RedirectResponse("/jack", 303)

    async def _photograph(self, request: Request, picture: bytes | None) -> Response:
        if picture is None:
            return await self._jack(request, label_picture.TOO_LARGE)
        try:
            label = await self.reader.read(picture)
        except label_picture.PictureError as error:
            return await self._jack(request, str(error))
        return await self._pair(request, {"label": label})

    async def _pair(self, request: Request, form: Form) -> Response:
        try:
            self.agent.pairing.begin(form.get("label", "").strip(), self.agent.refresh)
        except LabelError:
            return await self._jack(request, NOT_A_LABEL)
        return RedirectResponse("/jack", 303)

    async def _forget_jack(self, _request: Request, form: Form) -> Response:
        self.agent.instructions.release(form.get("jack", ""))
        await self.agent.refresh()
        return RedirectResponse("/jack", 303)


def _chosen(request: Request, usual: str) -> str:
    """The currency that the owner wants to see the limits in."""
    chosen = request.query_params.get("currency")
    return chosen if chosen in DECIMALS else usual


def _with(limits_minor: Any, text: str, currency: str) -> dict[str, int]:
    """The limits with that of ``currency`` set to what was typed, or taken away."""
    others = {code: value for code, value in limits_minor.items() if code != currency}
    if not text.strip():
        return others
    return others | {currency: parse_amount(text.strip(), currency).value}
