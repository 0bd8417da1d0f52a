"""Switches an adapter on, or off and on again."""

from __future__ import annotations

import asyncio
from typing import Final

from twochannel.radio import bluez_names as names
from twochannel.radio.bluez_adapters import Adapter
from twochannel.radio.bluez_bus import Bus
from twochannel.radio.bluez_refusals import BluezError, meaning

#: Controllers that hang come back after 1 s without power.
_OFF_S: Final = 1.0


class AdapterPower:
    """The power of one radio's adapter. ``settle`` last."""

    def __init__(self, radio: str, bus: Bus) -> None:
        self._radio = radio
        self._bus = bus
        self._cycling: asyncio.Task[None] | None = None

    async def on(self, adapter: Adapter) -> None:
        """Raises BluezError; with the cure if rfkill keeps it off."""
        if adapter.blocked:
            raise BluezError(self._radio, meaning(names.BLOCKED, "", names.SET))
        await self._set(adapter, on=True)

    async def cycle(self, adapter: Adapter) -> None:
        """Off and on. Raises BluezError. Goes on to its end though the caller be cancelled."""
        self._cycling = asyncio.create_task(self._off_and_on(adapter))
        await asyncio.shield(self._cycling)

    async def settle(self) -> None:
        """Wait until the adapter is not left off by a caller that was cancelled. Never fails."""
        if self._cycling is not None:
            await asyncio.gather(self._cycling, return_exceptions=True)

    async def _off_and_on(self, adapter: Adapter) -> None:
        try:
            await self._set(adapter, on=False)
            await asyncio.sleep(_OFF_S)
        finally:
            # Also if there was no answer to the first: it may be off.
            await self._set(adapter, on=True)

    async def _set(self, adapter: Adapter, *, on: bool) -> None:
        await self._bus.set_flag(adapter.path, names.ADAPTER, names.POWERED, value=on)
