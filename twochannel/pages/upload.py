"""Files that are sent with a form of the pages: bounded in size and time, and from nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from twochannel.intake import read_body
from twochannel.pages.door import TOKEN_FIELD, Doorway, demand_origin, demand_token

#: A picture over a weak Wi-Fi.
_TIMEOUT_S: Final = 60.0
#: A form's own fields beside the file.
_ENVELOPE_BYTES: Final = 4096
#: How many times the limit is read before its sender is cut off.
_PATIENCE: Final = 4

Take = Callable[[Request, bytes | None], Awaitable[Response]]


def upload_route(path: str, doorway: Doorway, take: Take, max_bytes: int) -> Route:
    """A route that takes a form of the page's own with one file; any other gets 403.

    ``take`` is given the file, or None if it is larger than ``max_bytes``.
    """

    async def endpoint(request: Request) -> Response:
        demand_origin(request, doorway)
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                body = await read_body(request.receive, max_bytes + _ENVELOPE_BYTES, _PATIENCE)
        except TimeoutError:
            raise HTTPException(408, headers={"connection": "close"}) from None
        if body is None:
            raise HTTPException(400)
        if len(body) > max_bytes + _ENVELOPE_BYTES:
            answer = await take(request, None)
            answer.headers["connection"] = "close"
            return answer
        token, file = await _read_form(request, body)
        demand_token(request, token)
        return await take(request, file if len(file) <= max_bytes else None)

    return Route(path, endpoint, methods=["POST"])


async def _read_form(request: Request, body: bytes) -> tuple[str, bytes]:
    """The token and the file; empty, what is not there."""
    # It needs a library that only those have who take files.
    from starlette.formparsers import MultiPartException, MultiPartParser

    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return "", b""

    async def stream() -> AsyncIterator[bytes]:
        yield body

    parser = MultiPartParser(request.headers, stream(), max_files=1, max_fields=4)  # type: ignore[arg-type]
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError):
        raise HTTPException(400, "this is no form") from None
    try:
        token = form.get(TOKEN_FIELD, "")
        files = [value for value in form.values() if isinstance(value, UploadFile)]
        file = await files[0].read() if files else b""
    finally:
        await form.close()
    return (token if isinstance(token, str) else ""), file
