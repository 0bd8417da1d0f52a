"""Advertising through BlueZ: one registration with bluetoothd for each broadcast.

A registration is never changed in place. The kernel writes new data to the controller before it
stops the old advert, so that the new code could leave under the old address; and while it scans,
a controller without extended advertising refuses the new address, and the advert is off the air.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dbus_fast.service import ServiceInterface

from twochannel.radio import adverts
from twochannel.radio import bluez_names as names
from twochannel.radio.bluez_adapters import Adapter
from twochannel.radio.bluez_advertisement import (
    Advertisement,
    EmptyAdvertisement,
    InvitingAdvertisement,
)
from twochannel.radio.bluez_bus import Bus
from twochannel.radio.bluez_refusals import BluezError
from twochannel.radio.port import Broadcast

_log = logging.getLogger(__name__)

#: Core spec, Vol 4 Part E section 7.8.5.
_INTERVAL_MS: Final = range(20, 10_241)
_PATH: Final = "/org/cigarjack/radio/advert"
#: There is nothing to unregister: it was released, or its adapter or bluetoothd itself has gone,
#: which may be so before the keeper has seen it.
_GONE: Final = {
    names.DOES_NOT_EXIST,
    names.NAME_HAS_NO_OWNER,
    names.SERVICE_UNKNOWN,
    names.NO_REPLY,
    names.UNKNOWN_OBJECT,
}


def check_interval(interval_ms: int) -> None:
    """Raises ValueError unless a controller can advertise at that interval."""
    if interval_ms not in _INTERVAL_MS:
        raise ValueError("an advertising interval is 20 to 10240 ms")


class BluezAdvertiser:
    """See ``port.Advertiser``. ``change`` puts a broadcast on the air, or none; BluezError."""

    def __init__(self, change: Callable[[Broadcast | None], Awaitable[None]]) -> None:
        self._change = change

    async def broadcast(self, broadcast: Broadcast) -> None:
        """See ``port.Advertiser``. ValueError: payload over 31 bytes, interval not 20..10240 ms."""
        check_interval(broadcast.interval_ms)
        adverts.advertising_data(broadcast.service_uuid, broadcast.service_data)
        await self._change(broadcast)

    async def silence(self) -> None:
        """See ``port.Advertiser``."""
        await self._change(None)


@dataclass(frozen=True, slots=True)
class _Registration:
    adapter: str
    path: str


class AdvertSlot:
    """The one advert of ours that bluetoothd has. ``wanted`` is what belongs there.

    ``inviting``: it is an invitation, and connectable. ``swept``: the kernel has no advert that
    bluetoothd does not know. What the kernel is to end while its adapter is off, it keeps, so that
    nothing is asked of this then (docs/decisions/0010-bluez-radio.md).
    """

    def __init__(self, bus: Bus, on_release: Callable[[], None]) -> None:
        self._bus = bus
        self._on_release = on_release
        #: What bluetoothd may have: more than one only after an answer that did not come.
        self._registrations: list[_Registration] = []
        self._count = 0
        self._holds = False
        self.swept = False
        self.wanted: Broadcast | None = None
        self.inviting = False

    @property
    def on_air(self) -> bool:
        """True if what is wanted is on the air and nothing else, as far as is known."""
        wanted = self.wanted is not None
        return self.swept and (self._holds if wanted else not self._registrations)

    @property
    def registered(self) -> int:
        """How many adverts of ours bluetoothd may have."""
        return len(self._registrations)

    def doubt(self) -> None:
        """It may be off the air although bluetoothd still has it."""
        self._holds = False

    def darken(self) -> None:
        """The adapter is off: nothing is on the air, and what is ended now will be back."""
        self._holds = self.swept = False

    def drop(self) -> None:
        """bluetoothd has it no longer."""
        self.darken()
        for registration in tuple(self._registrations):
            self._forget(registration)

    async def clear(self) -> None:
        """Take it off the air. Raises BluezError."""
        self._holds = False
        await _all_of([self._unregister(old) for old in tuple(self._registrations)])

    async def sweep(self, adapter: Adapter) -> None:
        """End what the kernel still has of programs, or of a bluetoothd, that are gone.

        bluetoothd does not know of it, but it numbers adverts anew, and the kernel puts each in the
        place of what has its number: with every number taken once and freed, nothing is left.
        Refused, it is left at that. Raises BluezError if there is no answer.
        """
        manager = await self._bus.properties(adapter.path, names.ADVERTISING_MANAGER)
        fillers: list[_Registration] = []
        try:
            for _ in range(int(manager.get(names.SUPPORTED_INSTANCES, 0))):
                fillers.append(self._another(adapter))
                await self._register(fillers[-1], EmptyAdvertisement())
        except BluezError as refusal:
            if not refusal.error_name:
                raise
            _log.info("adverts_not_swept", extra={"reason": refusal.reason})
        finally:
            await _all_of([self._unregister(filler) for filler in fillers])
        self.swept = True

    async def put(self, adapter: Adapter, broadcast: Broadcast) -> None:
        """Put ``broadcast`` on the air instead of what is there. Raises BluezError.

        Both calls are sent at once, in this order, to keep the time without advert short.
        """
        self._holds = False
        ending = [self._unregister(old) for old in self._registrations]
        new = self._another(adapter)
        kind = InvitingAdvertisement if self.inviting else Advertisement
        advert = kind(broadcast, lambda: self._released(new))
        await _all_of([*ending, self._register(new, advert)])
        self._holds = new in self._registrations

    def _another(self, adapter: Adapter) -> _Registration:
        self._count += 1
        new = _Registration(adapter.path, f"{_PATH}{self._count}")
        self._registrations.append(new)
        return new

    async def _register(self, new: _Registration, advert: ServiceInterface) -> None:
        try:
            self._bus.export(new.path, advert)
            await self._bus.call(
                *(new.adapter, names.ADVERTISING_MANAGER, names.REGISTER, new.path, {}),
                signature="oa{sv}",
            )
        except BluezError as error:
            if error.error_name:  # an answer: bluetoothd does not have it
                self._forget(new)
            raise

    async def _unregister(self, old: _Registration) -> None:
        try:
            await self._bus.call(
                *(old.adapter, names.ADVERTISING_MANAGER, names.UNREGISTER, old.path),
                signature="o",
            )
        except BluezError as error:
            if error.error_name not in _GONE:
                raise
        self._forget(old)

    def _released(self, registration: _Registration) -> None:
        if registration in self._registrations:
            _log.info("advert_released", extra={"adapter": registration.adapter})
            self._forget(registration)
            self._holds = False
            self._on_release()

    def _forget(self, registration: _Registration) -> None:
        if registration in self._registrations:
            self._registrations.remove(registration)
        self._bus.withdraw(registration.path)


async def _all_of(calls: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Send the calls in order without waiting in between; the first error once all are answered."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if answer is not None:
            raise answer
