"""Finding the jack on a label and pairing with it (docs/protocol.md, Pairing)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from cigarjack.client import JackClientError, PairedJack, pair
from phone_agent.identity import PhoneIdentity
from phone_agent.jack_finder import Endpoint, JackFinder

#: As long as a pairing window is open: later, nothing can be found any more.
SEARCH_S: Final = 60.0
#: A jack that did not answer is tried again after this time.
_RETRY_S: Final = 1.0
_log = logging.getLogger(__name__)


class JackNotFoundError(Exception):
    """No jack with this label was found. The text says what to do next."""


#: Pairs with the jack at an endpoint, or raises JackClientError.
Try = Callable[[Endpoint], Awaitable[PairedJack]]


def pairing_with(
    label: str, identity: PhoneIdentity, server_identity: str, new_id: Callable[[], str]
) -> Try:
    """A try at one endpoint. ``server_identity``: the pinned server's identity statement."""

    async def at(endpoint: Endpoint) -> PairedJack:
        return await pair(
            *endpoint,
            label,
            phone=identity.signer,
            phone_certificate=identity.certificate,
            server_identity=server_identity,
            new_id=new_id,
        )

    return at


async def search(
    finder: JackFinder, attempt: Try, progress: Callable[[str], None], search_s: float = SEARCH_S
) -> tuple[PairedJack, Endpoint]:
    """Try every jack with an open window until one is the label's.

    One at a time: two tries that reached the same jack would make two pairings, and the phone
    would keep the older. Raises JackNotFoundError, and CodedError when the right jack refuses.
    """
    deadline = asyncio.get_running_loop().time() + search_s
    told: set[Endpoint] = set()
    while True:
        endpoints = finder.pairing_candidates()
        for endpoint in endpoints:
            try:
                return await attempt(endpoint), endpoint
            except JackClientError as error:
                _log.debug("pairing_candidate_failed", extra={"endpoint": endpoint})
                if endpoint not in told:
                    told.add(endpoint)
                    progress(f"{endpoint[0]}:{endpoint[1]} is not it: {error}")
        left_s = deadline - asyncio.get_running_loop().time()
        if left_s <= 0:
            raise JackNotFoundError(_advice(found=bool(told)))
        with suppress(TimeoutError):
            async with asyncio.timeout(min(left_s, _RETRY_S)):
                await finder.change()


def _advice(*, found: bool) -> str:
    if found:
        return (
            "jacks were found, but none is the one on the label; compare the label with the output"
            " of `cigarjack label`, and open its window with `cigarjack pair open`"
        )
    return (
        "no jack with an open pairing window was found; check that the phone is in the jack's"
        " Wi-Fi and run `cigarjack pair open`, or give its address with --address HOST:PORT"
    )
