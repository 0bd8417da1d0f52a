"""Whether a server can be sent requests: asked by whatever divides them among several."""

from __future__ import annotations

import asyncio
from typing import Final

from server.database import REVISIONS, revision_of
from server.services import Services
from server.store import StoreError

#: Who asks has more patience than this, and a database that takes longer is none to send to.
_TIMEOUT_S: Final = 2.0


async def trouble_of(services: Services) -> str | None:
    """Why no requests should come here, in a sentence; None if they may."""
    if services.draining.is_set():
        return "the server is about to stop"
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            revision = await services.store.read(revision_of)
    except (StoreError, TimeoutError):
        return "the database does not answer"
    if revision != REVISIONS[-1]:
        return "the database is being brought to another version"
    return None
