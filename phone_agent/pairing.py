"""Finding the jack on a label, over Wi-Fi or GATT, and pairing with it (docs/protocol.md)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from cigarjack.client import JackClientError, PairedJack, pair, pair_over_gatt, parse_label
from phone_agent.identity import PhoneIdentity
from phone_agent.jack_finder import Endpoint, JackFinder
from phone_agent.jack_radio import JackRadio
from twochannel.protocol.invitation import pairing_invitation_key
from twochannel.radio.port import Link, Sighting

#: As long as a pairing window is open: later, nothing can be found any more.
SEARCH_S: Final = 60.0
#: A jack that did not answer is tried again after this time.
_RETRY_S: Final = 1.0
#: An invitation that was heard longer ago may stand no more.
_FRESH_S: Final = 1.0
_log = logging.getLogger(__name__)


class JackNotFoundError(Exception):
    """No jack with this label was found. The text says what to do next."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Where the jack may be. ``place``: for people. ``host``: on Wi-Fi, else empty.

    ``attempt`` pairs, or raises JackClientError.
    """

    place: str
    host: str
    attempt: Callable[[], Awaitable[PairedJack]]


class Source(Protocol):
    """Where candidates come from."""

    def candidates(self) -> list[Candidate]: ...

    async def change(self) -> None:
        """Return when there may be others."""
        ...


@dataclass(frozen=True, slots=True)
class Pairing:
    """What the phone pairs with. ``server_identity``: the pinned server's identity statement."""

    label: str
    identity: PhoneIdentity
    server_identity: str
    new_id: Callable[[], str]

    async def at(self, endpoint: Endpoint) -> PairedJack:
        """Over Wi-Fi."""
        return await pair(
            *endpoint,
            self.label,
            phone=self.identity.signer,
            phone_certificate=self.identity.certificate,
            server_identity=self.server_identity,
            new_id=self.new_id,
        )

    async def over(self, link: Link) -> PairedJack:
        """Over GATT."""
        return await pair_over_gatt(
            link,
            self.label,
            phone=self.identity.signer,
            phone_certificate=self.identity.certificate,
            server_identity=self.server_identity,
            new_id=self.new_id,
        )


class Announced:
    """The jacks that mDNS announces with an open window."""

    def __init__(self, finder: JackFinder, pairing: Pairing) -> None:
        self._finder = finder
        self._pairing = pairing

    def candidates(self) -> list[Candidate]:
        return [self._at(endpoint) for endpoint in self._finder.pairing_candidates()]

    async def change(self) -> None:
        await self._finder.change()

    def _at(self, endpoint: Endpoint) -> Candidate:
        host, port = endpoint
        return Candidate(f"{host}:{port}", host, lambda: self._pairing.at(endpoint))


class Inviting:
    """Whoever invites over Bluetooth as the jack on the label does."""

    def __init__(self, radio: JackRadio, pairing: Pairing) -> None:
        self._radio = radio
        self._pairing = pairing
        self._key = pairing_invitation_key(parse_label(pairing.label).thumbprint)
        self._heard: Sighting | None = None

    def candidates(self) -> list[Candidate]:
        heard, self._heard = self._heard, None
        if heard is None or time.monotonic() - heard.heard_at_s > _FRESH_S:
            return []
        return [Candidate(f"Bluetooth {heard.address}", "", lambda: self._attempt(heard))]

    async def change(self) -> None:
        self._heard = await self._radio.invited(self._key)

    async def _attempt(self, invitation: Sighting) -> PairedJack:
        async with self._radio.link(invitation) as link:
            return await self._pairing.over(link)


async def search(
    sources: Sequence[Source], progress: Callable[[str], None], search_s: float = SEARCH_S
) -> tuple[PairedJack, str]:
    """Try every jack with an open window until one is the label's; it, and its host.

    One at a time: two tries that reached the same jack would make two pairings, and the phone
    would keep the older. Raises JackNotFoundError, and CodedError when the right jack refuses.
    """
    deadline = asyncio.get_running_loop().time() + search_s
    told: set[str] = set()
    while True:
        for candidate in [found for source in sources for found in source.candidates()]:
            try:
                return await candidate.attempt(), candidate.host
            except JackClientError as error:
                _log.debug("pairing_candidate_failed", extra={"place": candidate.place})
                if candidate.place not in told:
                    told.add(candidate.place)
                    progress(f"{candidate.place} is not it: {error}")
        left_s = deadline - asyncio.get_running_loop().time()
        if left_s <= 0:
            raise JackNotFoundError(_advice(found=bool(told)))
        await _any_change(sources, min(left_s, _RETRY_S))


async def _any_change(sources: Sequence[Source], longest_s: float) -> None:
    changes = [asyncio.create_task(source.change()) for source in sources]
    try:
        await asyncio.wait(changes, timeout=longest_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for change in changes:
            change.cancel()
        await asyncio.gather(*changes, return_exceptions=True)


def _advice(*, found: bool) -> str:
    if found:
        return (
            "jacks were found, but none is the one on the label; compare the label with the output"
            " of `cigarjack label`, and open its window with `cigarjack pair open`"
        )
    return (
        "no jack with an open pairing window was found; run `cigarjack pair open`, and check that"
        " the phone is in the jack's Wi-Fi, or give its address with --address HOST:PORT, or a"
        " Bluetooth adapter near it with --radio NAME"
    )
