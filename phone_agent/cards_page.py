"""The owner's payment methods: which one pays, for which jack, and no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from phone_agent.situation import PagedAgent, situation
from phone_agent.wallet import KeptInstruction, KeptMethod, Wallet
from server.client import ServerUnreachableError
from twochannel.pages.door import Doorway, Form, form_route
from twochannel.pages.rendering import Pages
from twochannel.protocol.errors import CodedError, ErrorCode, StatementError

#: Cards of the simulated processor, as `phone-agent methods add` takes them.
TEST_CARDS: Final = ("tok_success", "tok_decline")
NOT_TAKEN: Final = "The server did not take this card."
NOT_A_LABEL: Final = "A card cannot be called that. Never write a card number here."
SENT_LATER: Final = "The server cannot be reached. The card is kept, and sent as soon as it can be."
NOT_COUPLED: Final = "The server did not couple this card to the jack. Try again."
#: What the owner may do about a coupling that did not come about.
COUPLING_PROBLEMS: Final = {
    ErrorCode.JACK_UNREACHABLE: "Your jack has to be at hand for this, and it was not reached.",
    ErrorCode.SERVER_UNREACHABLE: "The server cannot be reached now. Try again later.",
}
_MAX_LABEL: Final = 40
#: Of a jack's id, where there are several: enough to tell them apart.
_SHORT_ID: Final = 8


@dataclass(frozen=True, slots=True)
class Card:
    """A payment method as the page shows it.

    ``pays``: for which jacks it is used now; ``coupled``: to which jacks it is coupled.
    """

    id: str
    label: str
    registered: bool
    pays: tuple[str, ...]
    coupled: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CardsPage:
    """``/methods`` and what is below it."""

    agent: PagedAgent
    pages: Pages

    def routes(self, doorway: Doorway) -> list[BaseRoute]:
        form = partial(form_route, doorway=doorway)
        return [
            Route("/methods", self._methods),
            form("/methods/add", take=self._add),
            form("/methods/default", take=self._choose),
            form("/methods/remove", take=self._remove),
            form("/methods/couple", take=self._couple),
            form("/methods/uncouple", take=self._uncouple),
        ]

    async def _methods(self, request: Request, problem: str = "") -> Response:
        wallet = self.agent.wallet
        jacks = [kept.pin.jack for kept in wallet.jacks()]
        default = wallet.default_method()
        return self.pages.render(
            request,
            "methods.html",
            400 if problem else 200,
            now=situation(self.agent),
            problem=problem,
            cards=[_card(method, wallet, jacks) for method in wallet.methods()],
            default=default,
            jacks={jack: jack[:_SHORT_ID] for jack in jacks},
            test_cards=TEST_CARDS,
        )

    async def _add(self, request: Request, form: Form) -> Response:
        registration = self.agent.registration
        token, label = form.get("card", ""), form.get("label", "").strip()[:_MAX_LABEL]
        if token not in TEST_CARDS:
            return await self._methods(request, NOT_TAKEN)
        try:
            await registration.register_method(registration.keep_method(token, label or token))
        except StatementError:
            return await self._methods(request, NOT_A_LABEL)
        except CodedError:
            return await self._methods(request, NOT_TAKEN)
        except ServerUnreachableError:
            return await self._methods(request, SENT_LATER)
        return RedirectResponse("/methods", 303)

    async def _choose(self, _request: Request, form: Form) -> Response:
        method = form.get("method", "")
        return await self._ordered(lambda: self.agent.instructions.choose(method))

    async def _remove(self, _request: Request, form: Form) -> Response:
        method = form.get("method", "")
        return await self._ordered(lambda: self.agent.instructions.remove(method))

    async def _uncouple(self, _request: Request, form: Form) -> Response:
        method, jack = form.get("method", ""), form.get("jack", "")
        return await self._ordered(lambda: self.agent.instructions.uncouple(method, jack))

    async def _ordered(self, order: Callable[[], KeptInstruction]) -> Response:
        """The phone acts on it at once; the server is told now, or as soon as it can be."""
        order()
        await self.agent.refresh()
        return RedirectResponse("/methods", 303)

    async def _couple(self, request: Request, form: Form) -> Response:
        try:
            await self.agent.couple(form.get("method", ""), form.get("jack", ""))
        except CodedError as error:
            return await self._methods(request, COUPLING_PROBLEMS.get(error.code, NOT_COUPLED))
        return RedirectResponse("/methods", 303)


def _card(method: KeptMethod, wallet: Wallet, jacks: list[str]) -> Card:
    return Card(
        method.id,
        method.label,
        method.registered,
        tuple(jack for jack in jacks if wallet.method_for(jack) == method.id),
        tuple(jack for jack in jacks if method.id in wallet.couplings(jack)),
    )
