"""Pairing while the agent runs: begun from a page, looked for in the background, and told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cigarjack.client import JackClientError, parse_label
from phone_agent.identity import PhoneIdentity
from phone_agent.jack_finder import JackFinder
from phone_agent.jack_radio import JackRadio
from phone_agent.pairing import Announced, Inviting, JackNotFoundError, Pairing, Source, search
from phone_agent.registration import Registration
from server.client import ServerClient, ServerUnreachableError
from twochannel.protocol.errors import CodedError

_log = logging.getLogger(__name__)


class PairingState(StrEnum):
    IDLE = "idle"
    LOOKING = "looking"
    PAIRED = "paired"
    NOT_FOUND = "not_found"
    REFUSED = "refused"


#: What the owner reads about it.
PAIRING_TEXTS: Final = {
    PairingState.LOOKING: "Looking for the jack, for up to a minute …",
    PairingState.PAIRED: "Paired.",
    PairingState.NOT_FOUND: "No jack with this label was found. Open its pairing window, and check"
    " that it is powered and in the same Wi-Fi.",
    PairingState.REFUSED: "The jack or the server has refused. Open the jack's pairing window again"
    " and use its newest label.",
}


@dataclass(eq=False)
class PairingErrand:
    """One pairing at a time. ``paired`` is called when the wallet has the jack."""

    identity: PhoneIdentity
    server: ServerClient
    registration: Registration
    finder: JackFinder
    radio: JackRadio | None
    new_id: Callable[[], str]
    state: PairingState = PairingState.IDLE
    _task: asyncio.Task[None] | None = None

    def begin(self, label: str, paired: Callable[[], Awaitable[None]]) -> None:
        """Look for the jack on the label. Raises LabelError; a search that is under way goes on."""
        parse_label(label)
        if self.state is not PairingState.LOOKING:
            self.state = PairingState.LOOKING
            self._task = asyncio.create_task(self._run(label, paired), name="pairing")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self, label: str, paired: Callable[[], Awaitable[None]]) -> None:
        try:
            await self._pair(label)
            await paired()
            self.state = PairingState.PAIRED
        except JackNotFoundError:
            self.state = PairingState.NOT_FOUND
        except (CodedError, JackClientError) as error:
            _log.warning("pairing_refused", extra={"reason": str(error)})
            self.state = PairingState.REFUSED

    async def _pair(self, label: str) -> None:
        pairing = Pairing(
            label,
            self.identity,
            self.server.pin.identity_at(self.server.now_s()),
            self.new_id,
        )
        sources: list[Source] = [Announced(self.finder, pairing)]
        if self.radio is not None:
            sources.append(Inviting(self.radio, pairing))
        found, host = await search(sources, lambda text: _log.info("pairing", extra={"text": text}))
        kept = self.registration.keep_pairing(found, host)
        try:
            await self.registration.register_jack(kept)
        except ServerUnreachableError as error:
            _log.info("sweep_postponed", extra={"reason": str(error)})
