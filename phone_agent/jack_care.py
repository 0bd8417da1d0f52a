"""Care of the paired jacks: each kept in reach, its clock kept right (docs/protocol.md, Time).

Over GATT a jack is asked only for an auth code that Wi-Fi does not bring, and given the time when
it invites for want of it. It is not connectable for a status that nobody needs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from cigarjack.client import JackClient, JackClientError, JackPin
from phone_agent.fallback import Path, first_answer
from phone_agent.identity import PhoneIdentity
from phone_agent.jack_finder import Endpoint, JackFinder
from phone_agent.jack_link import JackLink
from phone_agent.jack_radio import JackRadio
from phone_agent.owed import Owed
from phone_agent.signal_level import wifi_level_dbm
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
#: Between two visits to a jack that goes on inviting; less than the alarm, or it were not heard.
_VISIT_INTERVAL_S: Final = 0.5
#: Values of ``clock`` in a jack's status.
_TRUSTED: Final = "trusted"
_UNSYNCHRONISED: Final = "unsynchronised"
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Charge:
    """A jack in care. ``status``: its last one, None while Wi-Fi does not reach it.

    ``path``: by which it was reached last. ``wifi_dbm``: the level of the Wi-Fi then, if known.
    """

    link: JackLink
    task: asyncio.Task[None] | None = None
    status: dict[str, object] | None = None
    path: Path | None = None
    wifi_dbm: int | None = None


class JackCare:
    """All paired jacks. Call ``take_on`` with the wallet's jacks, now and when they change.

    ``radio``: for GATT, where the phone has Bluetooth.
    """

    def __init__(
        self,
        finder: JackFinder,
        identity: PhoneIdentity,
        server: ServerClient,
        trace: Trace,
        remember: Callable[[str, Endpoint], None],
        owed: Owed,
        radio: JackRadio | None = None,
    ) -> None:
        self._finder = finder
        self._identity = identity
        self._server = server
        self._trace = trace
        self._remember = remember
        self._owed = owed
        self._radio = radio
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
        """For people: jack, reachable over Wi-Fi, address, clock, broadcasting, path, signal_dbm.

        None is what is not known. ``signal_dbm``: how this phone heard ``path``.
        """
        return [_reported(jack, charge, self._radio) for jack, charge in self._charges.items()]

    async def auth_code(self, jack: str, payment: str, challenge: str) -> tuple[str, Path]:
        """The jack's auth code for a payment's verified challenge, and by which path it came.

        A lost jack is tried until cancelled. Raises CodedError when the jack refuses.
        """
        while (charge := self._charges.get(jack)) is not None:
            tried = charge.link.candidates()
            try:
                compact, charge.path = await self._ask_for_auth_code(charge, payment, challenge)
            except JackClientError as error:
                _log.info("auth_code_not_reached", extra={"jack": jack, "reason": str(error)})
                await _news(charge.link, tried, RETRY_S)
            else:
                return compact, charge.path
        raise CodedError(ErrorCode.EPOCH_OUTDATED, "the jack is no longer this phone's")

    async def coupling_answer(self, jack: str, challenge: str) -> str:
        """The jack's word that it is at hand, now. Raises JackClientError, CodedError."""
        charge = self._charges.get(jack)
        if charge is None:
            raise CodedError(ErrorCode.NOT_FOUND, "that jack is not paired with this phone")
        compact, charge.path = await self._ask(
            charge, None, lambda client: client.coupling_answer(challenge)
        )
        return compact

    async def tell(self, jack: str, act: Callable[[JackClient], Awaitable[None]]) -> None:
        """Tell the jack something, now. Raises JackClientError, CodedError."""
        charge = self._charges.get(jack)
        if charge is None:
            raise CodedError(ErrorCode.NOT_FOUND, "that jack is not paired with this phone")

        async def told(client: JackClient) -> str:
            await act(client)
            return ""

        _, charge.path = await self._ask(charge, None, told)

    async def _ask_for_auth_code(
        self, charge: _Charge, payment: str, challenge: str
    ) -> tuple[str, Path]:
        return await self._ask(charge, payment, lambda client: client.auth_code(challenge))

    async def _ask(
        self, charge: _Charge, payment: str | None, ask: Callable[[JackClient], Awaitable[str]]
    ) -> tuple[str, Path]:
        link, radio, ask = charge.link, self._radio, self._with_keys(ask)
        if radio is None or radio.problem is not None:
            return await link.call(ask), Path.WIFI

        async def over_gatt() -> str:
            self._trace.event("gatt_tried", payment)
            return await radio.call(link.pin, ask)

        compact, path = await first_answer(lambda: link.call(ask), link.lives, over_gatt)
        if path is Path.GATT:
            await link.doubt()
        return compact, path

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
        invites = False
        while True:
            tried = charge.link.candidates()
            try:
                await self._look_after(charge)
                if invites and charge.status is None:
                    await self._synchronise_over_gatt(charge)
            except Exception:
                # Whatever it was, the next round may do better; without care no payment works.
                _log.exception("care_broke", extra={"jack": charge.link.pin.jack})
            invites = await self._pause(charge, tried)

    async def _look_after(self, charge: _Charge) -> None:
        try:
            charge.status = await charge.link.call(lambda client: client.status())
            charge.path = Path.WIFI
            if self._missed(charge.status):
                await charge.link.call(self._hand_over_keys)
                charge.status = await charge.link.call(lambda client: client.status())
            jack = charge.link.pin.jack
            if self._owed.anything(jack):
                await charge.link.call(lambda client: self._owed.tell(jack, client))
            charge.wifi_dbm = _wifi_dbm(charge.link.endpoint)
            if charge.status.get("clock") == _UNSYNCHRONISED:
                nonce = str(charge.status.get("time_nonce"))
                compact = await self._server.time_statement(charge.link.pin.jack, nonce)
                await charge.link.call(lambda client: client.put_time(compact))
                charge.status |= {"clock": _TRUSTED}
                self._synchronised(charge)
        except JackClientError:
            charge.status = None
        except (CodedError, ServerUnreachableError) as error:
            _log.warning("care_failed", extra={"jack": charge.link.pin.jack, "reason": str(error)})

    def _missed(self, status: dict[str, object]) -> tuple[str, ...]:
        """The server's successions that a jack with this status has not been told."""
        return self._server.pin.keys.after(str(status.get("server_key")))

    async def _hand_over_keys(self, client: JackClient) -> None:
        """Tell the jack by which keys its server signs now."""
        for compact in self._missed(await client.status()):
            await client.put_server_key(compact)

    def _with_keys(
        self, ask: Callable[[JackClient], Awaitable[str]]
    ) -> Callable[[JackClient], Awaitable[str]]:
        """Ask; a jack that does not know the server's key is told of it, and asked again."""

        async def asked(client: JackClient) -> str:
            try:
                return await ask(client)
            except CodedError as error:
                if error.code is not ErrorCode.KEY_UNKNOWN:
                    raise
            await self._hand_over_keys(client)
            return await ask(client)

        return asked

    async def _synchronise_over_gatt(self, charge: _Charge) -> None:
        """The jack invites though nobody has called it: it waits for the time."""
        jack = charge.link.pin.jack

        async def tell_time(client: JackClient) -> None:
            await self._hand_over_keys(client)
            status = await client.status()
            if status.get("clock") == _UNSYNCHRONISED:
                nonce = str(status.get("time_nonce"))
                await client.put_time(await self._server.time_statement(jack, nonce))
                self._synchronised(charge)

        if self._radio is None:
            return
        try:
            await self._radio.visit(charge.link.pin, tell_time)
            charge.path = Path.GATT
        except (JackClientError, CodedError, ServerUnreachableError) as error:
            _log.warning("care_failed", extra={"jack": jack, "reason": str(error)})

    def _synchronised(self, charge: _Charge) -> None:
        jack = charge.link.pin.jack
        self._trace.event("time_synchronised", jack=jack)
        _log.info("time_synchronised", extra={"jack": jack})

    async def _pause(self, charge: _Charge, tried: list[Endpoint]) -> bool:
        """Until it is time to look again, or the jack is announced elsewhere; or it invites: True.

        A jack that goes on inviting is visited once a second and not without end.
        """
        news = asyncio.create_task(_news(charge.link, tried, _interval_s(charge)))
        invited = asyncio.create_task(self._invited(charge.link.pin))
        try:
            await asyncio.wait({news, invited}, return_when=asyncio.FIRST_COMPLETED)
            return invited.done()
        finally:
            news.cancel()
            invited.cancel()
            await asyncio.gather(news, invited, return_exceptions=True)

    async def _invited(self, pin: JackPin) -> None:
        if self._radio is None:
            await asyncio.Event().wait()
        else:
            await asyncio.sleep(_VISIT_INTERVAL_S)
            await self._radio.uncalled(pin)


def _interval_s(charge: _Charge) -> float:
    calm = charge.status is not None and charge.status.get("clock") != _UNSYNCHRONISED
    return CARE_INTERVAL_S if calm else ALARM_INTERVAL_S


async def _news(link: JackLink, tried: list[Endpoint], longest_s: float) -> None:
    """Wait until the jack is announced somewhere else than it was tried, or ``longest_s``."""
    with suppress(TimeoutError):
        async with asyncio.timeout(longest_s):
            await link.news(tried)


def _wifi_dbm(endpoint: Endpoint | None) -> int | None:
    return wifi_level_dbm(endpoint[0]) if endpoint else None


def _reported(jack: str, charge: _Charge, radio: JackRadio | None) -> dict[str, Any]:
    endpoint = charge.link.endpoint
    reachable = endpoint is not None and charge.status is not None
    return {
        "jack": jack,
        "epoch": charge.link.pin.epoch,
        "reachable": reachable,
        "address": f"{endpoint[0]}:{endpoint[1]}" if endpoint else None,
        "clock": charge.status.get("clock") if charge.status else None,
        "broadcasting": charge.status.get("broadcasting") if charge.status else None,
        "path": charge.path,
        "signal_dbm": _signal_dbm(jack, charge, radio),
    }


def _signal_dbm(jack: str, charge: _Charge, radio: JackRadio | None) -> int | None:
    if charge.path is Path.GATT and radio is not None:
        return radio.levels_dbm.get(jack)
    return charge.wifi_dbm if charge.path is Path.WIFI else None
