"""``/``: payments, live and searched for. ``/payments/…``: one of them, and what proves it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from server.dashboard.evidence_shown import prove
from server.dashboard.payments_shown import CHAIN, newest, search
from server.dashboard.reading import Reader, Templates
from server.evidence import gather
from server.evidence_file import write
from server.services import Services

_LONGEST_SEARCH: Final = 100
_LONGEST_PLACE: Final = 15
_ID: Final = re.compile(r"[0-9a-f-]{36}", re.ASCII)


@dataclass(frozen=True, slots=True)
class PaymentPages:
    services: Services
    reader: Reader
    templates: Templates

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/", self._list),
            Route("/payments/{payment}", self._show),
            Route("/payments/{payment}/evidence.json", self._download),
        ]

    async def _list(self, request: Request) -> Response:
        asked = request.query_params.get("q", "").replace("\0", "").strip()[:_LONGEST_SEARCH]
        if asked:
            found = await self.reader.read(lambda c: search(c, asked))
            items, older, before = found, None, None
        else:
            before = _place(request.query_params.get("before"))
            listed = await self.reader.read(lambda c: newest(c, before))
            items, older = listed.items, listed.older
        return self.templates.page(
            request,
            "payments.html",
            items=items,
            older=older,
            before=before,
            asked=asked,
            chain=CHAIN,
        )

    async def _show(self, request: Request) -> Response:
        payment, lineage = _payment(request), self.services.reign.lineage
        proven = await self.reader.read(lambda c: prove(c, payment, lineage))
        return self.templates.page(request, "payment.html", proven=proven, chain=CHAIN)

    async def _download(self, request: Request) -> Response:
        payment, lineage = _payment(request), self.services.reign.lineage
        evidence = await self.reader.read(lambda c: gather(c, payment, lineage.text))
        name = f'attachment; filename="evidence-{evidence.payment}.json"'
        return Response(write(evidence), 200, {"content-disposition": name}, "application/json")


def _payment(request: Request) -> str:
    """Which payment is asked for. Raises HTTPException."""
    payment: str = request.path_params["payment"]
    if not _ID.fullmatch(payment):
        raise HTTPException(404, "There is no such payment.")
    return payment


def _place(text: str | None) -> int | None:
    """Where a page begins. Raises HTTPException."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_PLACE):
        raise HTTPException(400, "There is no such page.")
    return int(text)
