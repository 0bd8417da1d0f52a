"""Takes connections over GATT while somebody is expected, and hands them on one at a time.

While it invites the beacon is silent: one adapter has one advert, and the beacon's address must
not be seen with the invitation.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from cigarjack.beaconing import Beaconing
from cigarjack.clock import JackClock
from cigarjack.invitation_rules import Occasion, occasion
from cigarjack.link_service import LinkService
from cigarjack.memory import Memory, StorageError
from cigarjack.pairing import PairingWindow
from cigarjack.pairing_rules import Owner
from twochannel.protocol.errors import FrameError
from twochannel.protocol.invitation import (
    CALL_UUID,
    INVITATION_SALT_BYTES,
    INVITATION_UUID,
    Call,
    Invitation,
    call_key,
    invitation_key,
    pairing_invitation_key,
)
from twochannel.protocol.limits import CALLED_S
from twochannel.radio.port import Broadcast, Link, Peripheral, RadioError, Sighting
from twochannel.trace import Trace

_log = logging.getLogger(__name__)

#: Soon heard, and as often as a connectable advert may be sent beside scanning.
INTERVAL_MS: Final = 30
_RETRY_S: Final = 1.0
#: Nobody shall follow an invitation that stands for hours.
_RENEWED_S: Final = 256.0
#: Of several phones any may bring the time, but an invitation is for one: they take turns.
_TURN_S: Final = 5.0


class Inviting:
    """``jack``: its id. ``random_bytes``: secret bytes of a length."""

    def __init__(
        self,
        jack: str,
        memory: Memory,
        clock: JackClock,
        window: PairingWindow,
        beaconing: Beaconing,
        service: LinkService,
        trace: Trace,
        *,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._jack = jack
        self._memory = memory
        self._clock = clock
        self._window = window
        self._beaconing = beaconing
        self._service = service
        self._trace = trace
        self._random_bytes = random_bytes
        self._changed = asyncio.Event()
        self._owner: Owner | None = None
        #: Link key of each phone -> the key of its calls, and the time of the newest.
        self._call_keys: dict[bytes, bytes] = {}
        self._newest_calls_s: dict[bytes, int] = {}
        self._caller: bytes | None = None
        self._turn = 0
        self._called_until_s = 0.0
        self._welcomed = True
        #: Why the jack invites now; None while it does not.
        self.shown: Occasion | None = None
        window.watch(self.reconsider)

    def reconsider(self) -> None:
        """Window, pairing or clock has changed: decide anew, at once."""
        self._learn_owner()
        self._changed.set()

    def take(self, sighting: Sighting) -> None:
        """One advert; anything but a call of a phone of this jack is nothing."""
        if sighting.service_uuid != CALL_UUID or not self._call_keys:
            return
        try:
            call = Call.decode(sighting.service_data)
        except FrameError:
            return
        now_s = self._clock.now_s()
        for link_key, key in self._call_keys.items():
            if not call.counts(key, now_s, self._newest_calls_s.get(link_key, 0)):
                continue
            self._newest_calls_s[link_key] = call.time_s
            self._caller = link_key
            self._called_until_s = time.monotonic() + CALLED_S
            self._welcomed = False
            self._trace.event("called")
            self._changed.set()

    async def run(self, peripheral: Peripheral) -> None:
        """Invite on ``peripheral`` whenever there is an occasion, until cancelled.

        A radio that refuses is asked again: the beacon must not suffer for the second link. One
        that is lost ends the beacon and the ear, and this with them.
        """
        self._learn_owner()
        while True:
            self._changed.clear()
            if self._occasion() is None:
                await self._changed.wait()
                continue
            async with self._beaconing.paused():
                while (why := self._occasion()) is not None:
                    try:
                        await self._invite(peripheral, why)
                    except RadioError as error:
                        _log.warning("not_inviting", extra={"reason": str(error)})
                        await asyncio.sleep(_RETRY_S)

    async def _invite(self, peripheral: Peripheral, why: Occasion) -> None:
        """Until one guest has been served, or the occasion is another."""
        self._turn += 1
        broadcast = Broadcast(INVITATION_UUID, self._invitation(why).encode(), INTERVAL_MS)
        async with peripheral.inviting(broadcast) as links:
            if why is Occasion.CALLED and not self._welcomed:
                # However long it took to come so far; once, or strangers could make it for ever.
                self._welcomed = True
                self._called_until_s = time.monotonic() + CALLED_S
            self._note(why)
            try:
                link = await self._guest(links, why)
                if link is not None and await self._service.serve(link):
                    self._called_until_s = 0.0  # the call is answered
            finally:
                self._note(None)

    async def _guest(self, links: AsyncIterator[Link], why: Occasion) -> Link | None:
        """The next one to connect, or None once there is another occasion or none."""
        arriving = asyncio.create_task(_first(links))
        renew_at_s = time.monotonic() + self._stands_s(why)
        caller = self._caller
        try:
            while (self._occasion(), self._caller) == (why, caller) and (
                time.monotonic() < renew_at_s
            ):
                self._changed.clear()
                changed = asyncio.create_task(self._changed.wait())
                done, _ = await asyncio.wait(
                    {arriving, changed},
                    timeout=min(self._lasts_s(why), renew_at_s - time.monotonic()),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                changed.cancel()
                if arriving in done:
                    return arriving.result()
            return None
        finally:
            arriving.cancel()
            await asyncio.gather(arriving, return_exceptions=True)

    def _occasion(self) -> Occasion | None:
        return occasion(
            window_open=self._window.is_open,
            paired=self._owner is not None,
            clock_trusted=self._clock.trusted,
            called=time.monotonic() < self._called_until_s,
        )

    def _lasts_s(self, why: Occasion) -> float:
        """Seconds for which the occasion lasts if nothing changes."""
        if why is Occasion.PAIRING:
            return self._window.remaining_s
        if why is Occasion.CALLED:
            return max(0.0, self._called_until_s - time.monotonic())
        return _RENEWED_S

    def _stands_s(self, why: Occasion) -> float:
        """Seconds for which one invitation stands: of several phones each has its turn."""
        several = self._owner is not None and self._owner.members
        return _TURN_S if several and why is Occasion.CLOCK_UNSYNCHRONISED else _RENEWED_S

    def _invitation(self, why: Occasion) -> Invitation:
        owner = self._owner
        if why is Occasion.PAIRING or owner is None:
            key = pairing_invitation_key(self._jack)
        elif why is Occasion.CALLED and self._caller in owner.link_keys():
            key = invitation_key(self._caller)
        else:
            link_keys = owner.link_keys()
            key = invitation_key(link_keys[self._turn % len(link_keys)])
        return Invitation.made(key, self._random_bytes(INVITATION_SALT_BYTES))

    def _learn_owner(self) -> None:
        """Adverts by the thousand are judged by what is kept here, without a look at the disk."""
        try:
            self._owner = self._memory.pairing_state().owner
        except StorageError as error:
            _log.error("inviting_without_storage", extra={"reason": str(error)})
            self._owner = None
        link_keys = self._owner.link_keys() if self._owner else []
        self._call_keys = {link_key: call_key(link_key) for link_key in link_keys}

    def _note(self, shown: Occasion | None) -> None:
        self.shown = shown
        if shown is not None:
            self._trace.event("inviting", occasion=shown.value)


async def _first(links: AsyncIterator[Link]) -> Link:
    async for link in links:
        return link
    raise RadioError("the radio has stopped taking connections")
