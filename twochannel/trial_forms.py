"""The notes of a field trial as forms on an agent's page (``pages/templates/note.html``)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from twochannel.pages.door import Doorway, Form, form_route
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.trial_notes import UNFIT_NOTE, NoteForm, TrialNotes, Truth

UNFIT_NAME: Final = (
    "A trial's name has at most 40 characters: small letters, digits, dots, hyphens and"
    " underscores. It begins with a letter or a digit."
)
OTHERWISE: Final = "That is so already, or another trial runs. Look at what is shown now."
_STATUS: Final = {
    UNFIT_NOTE: HTTPStatus.BAD_REQUEST,
    UNFIT_NAME: HTTPStatus.BAD_REQUEST,
    OTHERWISE: HTTPStatus.CONFLICT,
}


@dataclass(frozen=True, slots=True)
class TrialForms:
    """``page``: the path that shows the forms. ``show`` renders it: request, problem, status.

    ``lane``: the name of the lane that is likely meant.
    """

    notes: TrialNotes
    page: str
    show: Callable[[Request, str, int], Awaitable[Response]]
    lane: str = ""

    def routes(self, doorway: Doorway) -> list[BaseRoute]:
        form = partial(form_route, doorway=doorway)
        return [
            form("/trial/start", take=self._start),
            form("/trial/stop", take=self._stop),
            form("/marks", take=self._mark),
        ]

    def form(self, request: Request, problem: str) -> NoteForm:
        """What the page shows; a ``problem`` of other forms is not told in this one."""
        noted = "noted" in request.query_params
        return NoteForm(self.notes.trial, self.lane, noted, problem if problem in _STATUS else "")

    async def _start(self, request: Request, form: Form) -> Response:
        return await self._done(request, UNFIT_NAME, lambda: self.notes.start(form.get("name", "")))

    async def _stop(self, request: Request, _form: Form) -> Response:
        return await self._done(request, OTHERWISE, self.notes.stop)

    async def _mark(self, request: Request, form: Form) -> Response:
        return await self._done(
            request,
            UNFIT_NOTE,
            lambda: self.notes.mark(form.get("text", ""), Truth.of_form(form)),
        )

    async def _done(self, request: Request, unfit: str, do: Callable[[], object]) -> Response:
        try:
            do()
        except CodedError as error:
            problem = unfit if error.code is ErrorCode.CLAIM_INVALID else OTHERWISE
            return await self.show(request, problem, _STATUS[problem])
        return RedirectResponse(f"{self.page}?noted#note", 303)
