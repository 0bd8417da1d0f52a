"""Listening through BlueZ: bleak keeps the discovery, honest sightings come out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from typing import Final

from bleak import BleakScanner
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import BleakDBusError, BleakError
from dbus_fast.errors import DBusFastError

from twochannel.radio import bluez_names as names
from twochannel.radio.bluez_adapters import Adapter
from twochannel.radio.bluez_bus import Bus
from twochannel.radio.bluez_echoes import EchoGate, sighting
from twochannel.radio.bluez_monitor import NothingMonitor
from twochannel.radio.bluez_refusals import NO_ANSWER, BluezError, meaning
from twochannel.radio.port import Sighting
from twochannel.radio.sighting_stream import SightingStream

_log = logging.getLogger(__name__)

#: Without a filter that names RSSI, bluetoothd reports RSSI in steps of 8 dB, pauses for 5 s in
#: every 15, and leaves the duplicate filter of strict controllers on; -120 dBm lets all pass.
_LOWEST_RSSI_DBM: Final = -120
_TIMEOUT_S: Final = 5.0
_MONITORS_PATH: Final = "/org/cigarjack/radio/monitors"
_MONITOR_PATH: Final = f"{_MONITORS_PATH}/nothing"

_START: Final = "StartDiscovery"
#: TimeoutError is an OSError.
_ERRORS: Final = (BleakError, DBusFastError, OSError, EOFError)


class BluezScanner:
    """See ``port.Scanner``; ``start`` and ``stop`` are for whoever keeps the radio."""

    def __init__(self, radio: str, bus: Bus) -> None:
        self._radio = radio
        self._bus = bus
        self._stream = SightingStream()
        self._stream.end()  # nobody listens yet
        self._gate = EchoGate()
        self._discovery: BleakScanner | None = None
        self._monitored: str | None = None
        self._given_up: set[asyncio.Task[None]] = set()
        self._ended = False
        self._failure: str | None = None
        self._lost = 0
        self._last_heard_at_s: float | None = None

    def sightings(self) -> AsyncIterator[Sighting]:
        """See ``port.Scanner``."""
        self._stream.end()
        self._stream = SightingStream()
        if self._ended:
            self._stream.end(self._failure)
        return self._stream

    @property
    def lost(self) -> int:
        """See ``port.Scanner``."""
        return self._lost

    @property
    def last_heard_at_s(self) -> float | None:
        """See ``port.Scanner``."""
        return self._last_heard_at_s

    @property
    def listening(self) -> bool:
        """True while a discovery of ours is believed to run."""
        return self._discovery is not None

    async def start(self, adapter: Adapter) -> None:
        """Start discovery, anew if one runs. Raises BluezError."""
        await self.stop()
        await self._monitor(adapter)
        discovery = BleakScanner(
            self._on_change,
            bluez={
                "adapter": adapter.name,
                "filters": {"RSSI": _LOWEST_RSSI_DBM, "DuplicateData": True},
            },
        )
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await self._begin(discovery)
        except _ERRORS as error:
            raise self._refusal(error) from error
        self._discovery = discovery

    async def _begin(self, discovery: BleakScanner) -> None:
        """Given up, it is ended when it has begun: until then bluetoothd begins no other for us."""
        beginning = asyncio.create_task(discovery.start())
        try:
            await asyncio.shield(beginning)
        except asyncio.CancelledError:
            ending = asyncio.create_task(_end_late(discovery, beginning))
            self._given_up.add(ending)
            ending.add_done_callback(self._given_up.discard)
            raise

    async def stop(self) -> None:
        """End discovery. One that has ended by itself, or with its bluetoothd, is fine."""
        # The monitor first: alone it would have the kernel go on scanning.
        await self._unmonitor()
        if self._given_up:
            await asyncio.wait(self._given_up, timeout=_TIMEOUT_S)
        discovery, self._discovery = self._discovery, None
        if discovery is None:
            return
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await discovery.stop()
        except _ERRORS as error:
            _log.info("discovery_had_ended", extra={"radio": self._radio, "reason": str(error)})

    async def _monitor(self, adapter: Adapter) -> None:
        self._bus.export(_MONITOR_PATH, NothingMonitor())
        self._monitored = adapter.path
        try:
            await self._bus.call(
                *(adapter.path, names.MONITOR_MANAGER, names.REGISTER_MONITOR, _MONITORS_PATH),
                signature="o",
            )
        except BluezError as error:
            self._note_monitor_refused(error)

    async def _unmonitor(self) -> None:
        adapter, self._monitored = self._monitored, None
        if adapter is None:
            return
        try:
            await self._bus.call(
                *(adapter, names.MONITOR_MANAGER, names.UNREGISTER_MONITOR, _MONITORS_PATH),
                signature="o",
            )
        except BluezError as error:
            self._note_monitor_refused(error)
        self._bus.withdraw(_MONITOR_PATH)

    def _note_monitor_refused(self, error: BluezError) -> None:
        """Without -E there are no monitors, and nothing to do about it here."""
        _log.debug("monitor_refused", extra={"radio": self._radio, "reason": error.reason})

    def end(self, failure: str | None = None) -> None:
        """End the stream: quietly when the radio closes, with ``failure`` when it was lost."""
        if not self._ended:
            self._ended, self._failure = True, failure
            self._stream.end(failure)

    def _refusal(self, error: Exception) -> BluezError:
        if isinstance(error, TimeoutError):
            return BluezError(self._radio, NO_ANSWER)
        name, text = type(error).__name__, str(error)
        if isinstance(error, BleakDBusError):
            name, text = error.dbus_error, error.dbus_error_details or ""
        return BluezError(self._radio, meaning(name, text, _START), name)

    def _on_change(self, device: BLEDevice, change: AdvertisementData) -> None:
        path, properties = change.platform_data
        if not self._gate.is_advert(path, properties):
            return
        now_s = time.monotonic()
        self._last_heard_at_s = now_s
        if self._stream.ended:
            return
        heard = sighting(device.address, change.service_data, properties, now_s)
        if heard is not None:
            self._lost += self._stream.put(heard)


async def _end_late(discovery: BleakScanner, beginning: asyncio.Task[None]) -> None:
    with contextlib.suppress(*_ERRORS):
        await beginning
        await discovery.stop()
