"""Care of the paired jacks: each kept in reach, its clock kept right (docs/protocol.md, Time)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from cigarjack.client import JackClientError
from phone_agent.identity import PhoneIdentity
from phone_agent.jack_finder import Endpoint, JackFinder
from phone_agent.jack_link import JackLink
from phone_agent.wallet import KeptJack
from server.client import ServerClient, ServerUnreachableError
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.trace import Trace

#: Often enough to keep the connection open (the jack closes it after 75 s) and to see a loss
#: before the next payment.
CARE_INTERVAL_S: Final = 15.0
#: While the jack is out of reach or does not know the time, each second counts for the owner.
ALARM_INTERVAL_S: Final = 1.0
#: How long a payment waits before it tries a lost jack again, unless something new is heard.
RETRY_S: Final = 0.25
#: Values of ``clock`` in a jack's status.
_TRUSTED: Final = "trusted"
_UNSYNCHRONISED: Final = "unsynchronised"
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Charge:
    """A jack in care. ``status``: its last one, None while it is out of reach."""

    link: JackLink
    task: asyncio.Task[None] | None = None
    status: dict[str, object] | None = None


class JackCare:
    """All paired jacks. Call ``take_on`` with the wallet's jacks, now and when they change."""

    def __init__(
        self,
        finder: JackFinder,
        identity: PhoneIdentity,
        server: ServerClient,
        trace: Trace,
        remember: Callable[[str, Endpoint], None],
    ) -> None:
        self._finder = finder
        self._identity = identity
        self._server = server
        self._trace = trace
        self._remember = remember
        self._charges: dict[str, _Charge] = {}

    async def take_on(self, jacks: list[KeptJack]) -> None:
        """Care for exactly these jacks from now on; one that was paired again starts afresh."""
        pins = {kept.pin.jack: kept.pin for kept in jacks}
        for jack, charge in list(self._charges.items()):
            if pins.get(jack) != charge.link.pin:
                await self._let_go(jack)
        for kept in jacks:
            if kept.pin.jack not in self._charges:
                self._begin(kept)

    async def close(self) -> None:
        for jack in list(self._charges):
            await self._let_go(jack)

    def is_paired(self, jack: str) -> bool:
        return jack in self._charges

    def report(self) -> list[dict[str, Any]]:
        """For people: jack, reachable, address, clock (None while unknown)."""
        return [_reported(jack, charge) for jack, charge in self._charges.items()]

    async def auth_code(self, jack: str, challenge: str) -> str:
        """The jack's auth code for a verified challenge; a lost jack is tried until cancelled.

        Raises CodedError when the jack refuses.
        """
        while (charge := self._charges.get(jack)) is not None:
            tried = charge.link.candidates()
            try:
                return await charge.link.call(lambda client: client.auth_code(challenge))
            except JackClientError as error:
                _log.info("auth_code_not_reached", extra={"jack": jack, "reason": str(error)})
            await _pause(charge.link, tried, RETRY_S)
        raise CodedError(ErrorCode.EPOCH_OUTDATED, "the jack is no longer this phone's")

    def _begin(self, kept: KeptJack) -> None:
        link = JackLink(kept, self._finder, self._identity, self._trace, self._remember)
        charge = self._charges[kept.pin.jack] = _Charge(link)
        charge.task = asyncio.create_task(self._tend(charge), name=f"care of {kept.pin.jack}")

    async def _let_go(self, jack: str) -> None:
        charge = self._charges.pop(jack)
        if charge.task is not None:
            charge.task.cancel()
            await asyncio.wait({charge.task})
        await charge.link.close()

    async def _tend(self, charge: _Charge) -> None:
        while True:
            tried = charge.link.candidates()
            try:
                await self._look_after(charge)
            except Exception:
                # Whatever it was, the next round may do better; without care no payment works.
                _log.exception("care_broke", extra={"jack": charge.link.pin.jack})
            await _pause(charge.link, tried, _interval_s(charge))

    async def _look_after(self, charge: _Charge) -> None:
        try:
            charge.status = await charge.link.call(lambda client: client.status())
            if charge.status.get("clock") == _UNSYNCHRONISED:
                await self._tell_time(charge, str(charge.status.get("time_nonce")))
        except JackClientError:
            charge.status = None
        except (CodedError, ServerUnreachableError) as error:
            _log.warning("care_failed", extra={"jack": charge.link.pin.jack, "reason": str(error)})

    async def _tell_time(self, charge: _Charge, nonce: str) -> None:
        jack = charge.link.pin.jack
        compact = await self._server.time_statement(jack, nonce)
        await charge.link.call(lambda client: client.put_time(compact))
        charge.status = (charge.status or {}) | {"clock": _TRUSTED}
        self._trace.event("time_synchronised", jack=jack)
        _log.info("time_synchronised", extra={"jack": jack})


def _interval_s(charge: _Charge) -> float:
    calm = charge.status is not None and charge.status.get("clock") != _UNSYNCHRONISED
    return CARE_INTERVAL_S if calm else ALARM_INTERVAL_S


async def _pause(link: JackLink, tried: list[Endpoint], longest_s: float) -> None:
    """Wait until the jack is announced somewhere else than it was tried, or ``longest_s``."""
    with suppress(TimeoutError):
        async with asyncio.timeout(longest_s):
            await link.news(tried)


def _reported(jack: str, charge: _Charge) -> dict[str, Any]:
    endpoint = charge.link.endpoint
    reachable = endpoint is not None and charge.status is not None
    return {
        "jack": jack,
        "epoch": charge.link.pin.epoch,
        "reachable": reachable,
        "address": f"{endpoint[0]}:{endpoint[1]}" if endpoint else None,
        "clock": charge.status.get("clock") if charge.status else None,
    }
