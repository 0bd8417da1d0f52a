"""What people tell a running agent of a field trial: its name, marks, what was really the case.

It goes into the agent's trace as ``trial_started``, ``trial_marked`` and ``trial_stopped``
(docs/trace.md). Recording needs no trial: agents always record, and a trial is a name for a
stretch of what they have recorded. So a mark counts without one, too.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from twochannel.keystore.file import write_private
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.wire import parse_object
from twochannel.trace import Trace

PATH: Final = "/v1/trial"
MARKS_PATH: Final = f"{PATH}/marks"
FILE_NAME: Final = "trial.json"
MAX_TEXT: Final = 200
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}", re.ASCII)
_WHAT: Final = "at_lane"
#: What a page says of a note that is refused.
UNFIT_NOTE: Final = (
    "A note is one line of text. Who is at a lane needs the name of the lane, and that of the jack"
    " unless nobody is there."
)


@dataclass(frozen=True, slots=True)
class Truth:
    """What was really the case: whether a jack stood at a lane, and which.

    ``lane``, ``jack``: names that those who read the report know; ``jack`` is None for nobody.
    """

    lane: str
    jack: str | None

    @property
    def members(self) -> dict[str, object]:
        """As the trace has it."""
        return {"kind": _WHAT, **asdict(self), "present": self.jack is not None}

    @classmethod
    def read(cls, value: object) -> Self | None:
        """Raises CodedError (``claim_invalid``)."""
        if value is None:
            return None
        if not isinstance(value, Mapping) or set(value) != {"lane", "jack"}:
            raise _invalid("truth has a lane and a jack")
        jack = None if value["jack"] is None else _text("jack", value["jack"])
        return cls(_text("lane", value["lane"]), jack)

    @classmethod
    def of_form(cls, form: Mapping[str, str]) -> Self | None:
        """Of a page's form (``there``, ``jack``, ``lane``). Raises CodedError."""
        there = form.get("there", "")
        if there not in ("", "jack", "nobody"):
            raise _invalid("there is a jack, or nobody, or it is not noted")
        if not there:
            return None
        return cls.read(
            {"lane": form.get("lane"), "jack": form.get("jack", "") if there == "jack" else None}
        )


@dataclass(frozen=True, slots=True)
class NoteForm:
    """What the form of a page shows. ``lane``: the name that it begins with."""

    trial: str | None
    lane: str = ""
    noted: bool = False
    problem: str = ""
    longest: int = MAX_TEXT


class TrialNotes:
    """The notes of one agent. The name of a trial that runs is kept through a restart."""

    def __init__(self, trace: Trace, folder: Path) -> None:
        self._trace = trace
        self._file = folder / FILE_NAME
        self._name = _kept(self._file)

    @property
    def trial(self) -> str | None:
        """The trial that runs."""
        return self._name

    def start(self, name: str) -> None:
        """From now on it is trial ``name``; again is fine.

        Raises CodedError: ``claim_invalid``; ``not_ready`` while another trial runs. OSError.
        """
        if not _NAME.fullmatch(name):
            raise _invalid("a trial's name is a-z, 0-9, '.', '_', '-', at most 40 of them")
        if self._name not in (None, name):
            raise CodedError(
                ErrorCode.NOT_READY, f"trial {self._name} runs; stop it: fieldkit trial stop"
            )
        write_private(self._file, json.dumps({"trial": name}).encode())
        if self._name is None:
            self._trace.event("trial_started", trial=name)
        self._name = name

    def mark(self, text: str, truth: Truth | None = None) -> None:
        """Something happens now. Raises CodedError (``claim_invalid``)."""
        told = truth.members if truth else None
        self._trace.event("trial_marked", trial=self._name, text=_text("text", text), truth=told)

    def stop(self) -> str:
        """It is over; its name. Raises CodedError (``not_ready``) if none runs, OSError."""
        if self._name is None:
            raise CodedError(ErrorCode.NOT_READY, "no trial runs here: fieldkit trial start NAME")
        name = self._name
        self._file.unlink(missing_ok=True)
        self._trace.event("trial_stopped", trial=name)
        self._name = None
        return name

    def routes(self) -> list[Route]:
        """``GET``, ``POST`` and ``DELETE`` of ``/v1/trial``, ``POST`` of its marks."""
        return [
            Route(PATH, self._show, methods=["GET"]),
            Route(PATH, self._start, methods=["POST"]),
            Route(PATH, self._stop, methods=["DELETE"]),
            Route(MARKS_PATH, self._mark, methods=["POST"]),
        ]

    async def _show(self, _request: Request) -> Response:
        return JSONResponse({"trial": self._name})

    async def _start(self, request: Request) -> Response:
        self.start(_text("trial", parse_object(await request.body()).get("trial")))
        return await self._show(request)

    async def _stop(self, _request: Request) -> Response:
        return JSONResponse({"trial": self.stop()})

    async def _mark(self, request: Request) -> Response:
        members = parse_object(await request.body())
        self.mark(_text("text", members.get("text")), Truth.read(members.get("truth")))
        return await self._show(request)


def _kept(file: Path) -> str | None:
    """The trial that ran when the agent ended. What cannot be read counts for nothing."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        name: Any = json.loads(file.read_bytes())["trial"]
        return name if isinstance(name, str) and _NAME.fullmatch(name) else None
    return None


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT:
        raise _invalid(f"{name} is a text of at most {MAX_TEXT} characters")
    if not value.isprintable():
        raise _invalid(f"{name} is one line of text")
    return value.strip()


def _invalid(detail: str) -> CodedError:
    return CodedError(ErrorCode.CLAIM_INVALID, detail)
