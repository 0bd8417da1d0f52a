"""Channel one: keeps the right beacon on the air, or none (docs/protocol.md, Channel one)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cigarjack.clock import JackClock
from cigarjack.memory import Memory, StorageError
from cigarjack.pairing_rules import Owner
from twochannel.keystore.port import KeyStoreError
from twochannel.protocol import beacon
from twochannel.protocol.keys import Agreement
from twochannel.radio.port import Advertiser, Broadcast
from twochannel.trace import Trace

_log = logging.getLogger(__name__)

#: docs/protocol.md, Channel one.
INTERVAL_MS: Final = 100
_RETRY_S: Final = 1.0
_HANDLE_DIGITS: Final = 4


class Silence(StrEnum):
    """Why nothing payable is on the air."""

    STARTING = "starting"
    UNPAIRED = "unpaired"
    CLOCK_UNSYNCHRONISED = "clock_unsynchronised"
    CLOCK_OUT_OF_RANGE = "clock_out_of_range"
    STORAGE = "storage"
    KEY_STORE = "key_store"
    INVITING = "inviting"
    RADIO_OFF = "radio_off"


@dataclass(frozen=True, slots=True)
class BeaconKey:
    """What a pairing's codes are made of: the 16-byte identity key, and the slot's exponent."""

    identity_key: bytes
    rotation_exponent: int


@dataclass(frozen=True, slots=True)
class OnAir:
    """The frame of one slot. ``ends_s``: Unix time of the next slot."""

    frame: beacon.BeaconFrame
    ends_s: int


def derive(agreement: Agreement, owner: Owner) -> BeaconKey:
    """The beacon key that the jack shares with the owner's server; derived, never stored."""
    server = owner.server()
    secret = agreement.exchange(server.beacon_key)
    identity_key = beacon.identity_key(secret, server.beacon_key.point, agreement.key.point)
    return BeaconKey(identity_key, server.rotation_exponent)


def plan(key: BeaconKey | None, now_s: int | None, tx_power_dbm: int) -> OnAir | Silence:
    """What belongs on the air at ``now_s`` (trusted Unix seconds, or None)."""
    if key is None:
        return Silence.UNPAIRED
    if now_s is None:
        return Silence.CLOCK_UNSYNCHRONISED
    if now_s > beacon.MAX_COUNTER_S:
        return Silence.CLOCK_OUT_OF_RANGE
    code = beacon.code_at(key.identity_key, now_s, key.rotation_exponent)
    slot_s = beacon.slot_of(now_s, key.rotation_exponent)
    ends_s = slot_s + beacon.slot_length_s(key.rotation_exponent)
    return OnAir(beacon.BeaconFrame(tx_power_dbm, code), ends_s)


class Beaconing:
    """Broadcasts while the jack is paired and knows the time. ``shown``: what is on the air."""

    def __init__(
        self,
        memory: Memory,
        agreement: Agreement,
        clock: JackClock,
        trace: Trace,
        tx_power_dbm: int,
    ) -> None:
        self._memory = memory
        self._agreement = agreement
        self._clock = clock
        self._trace = trace
        self._tx_power_dbm = tx_power_dbm
        self._changed = asyncio.Event()
        self._pauses = 0
        self._silent = asyncio.Event()
        self.settled = asyncio.Event()
        self.shown: OnAir | Silence = Silence.STARTING

    @property
    def broadcasting(self) -> bool:
        return isinstance(self.shown, OnAir)

    def reconsider(self) -> None:
        """Pairing or clock has changed: decide anew, at once."""
        self._changed.set()

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Nothing of ours is on the air while the block runs. It begins only while ``run`` does."""
        self._pauses += 1
        self.reconsider()
        try:
            await self._silent.wait()
            yield
        finally:
            self._pauses -= 1
            self.reconsider()

    async def run(self, advertiser: Advertiser) -> None:
        """Keep ``advertiser`` right until cancelled. Raises RadioError when the radio fails."""
        self.shown = Silence.STARTING
        self._silent.clear()
        try:
            while True:
                self._changed.clear()
                wanted = self._plan()
                await self._show(advertiser, wanted)
                self.settled.set()
                await self._until_change(wanted)
        finally:
            self._note(Silence.RADIO_OFF)

    def _plan(self) -> OnAir | Silence:
        try:
            owner = self._memory.pairing_state().owner
            key = derive(self._agreement, owner) if owner else None
            wanted = plan(key, self._clock.now_s(), self._tx_power_dbm)
            if self._pauses and isinstance(wanted, OnAir):
                return Silence.INVITING
            if isinstance(wanted, OnAir) and wanted != self.shown:
                # On disk before it is on the air: no later boot may come back to an earlier slot.
                self._clock.checkpoint()
        except StorageError as error:
            _log.error("beacon_without_storage", extra={"reason": str(error)})
            return Silence.STORAGE
        except KeyStoreError as error:
            _log.error("beacon_without_key", extra={"reason": str(error)})
            return Silence.KEY_STORE
        return wanted

    async def _show(self, advertiser: Advertiser, wanted: OnAir | Silence) -> None:
        if wanted == self.shown:
            return
        if isinstance(wanted, OnAir):
            self._silent.clear()
            await advertiser.broadcast(
                Broadcast(beacon.SERVICE_UUID, wanted.frame.encode(), INTERVAL_MS)
            )
        else:
            await advertiser.silence()
            self._silent.set()
        self._note(wanted)

    def _note(self, shown: OnAir | Silence) -> None:
        if shown == self.shown:
            return
        self.shown = shown
        if isinstance(shown, OnAir):
            self._trace.event("beacon_rotated", handle=shown.frame.code.hex()[:_HANDLE_DIGITS])
        else:
            self._trace.event("beacon_silent", reason=shown.value)

    async def _until_change(self, shown: OnAir | Silence) -> None:
        if isinstance(shown, OnAir):
            wait_s: float | None = self._clock.until_s(shown.ends_s)
        else:
            wait_s = _RETRY_S if shown in (Silence.STORAGE, Silence.KEY_STORE) else None
        try:
            async with asyncio.timeout(wait_s):
                await self._changed.wait()
        except TimeoutError:
            return
