"""Keeps a BlueZ radio on the air and hearing, whatever happens to bluetoothd and the adapter.

Every second, and whenever bluetoothd signals a change, the keeper looks at the machine, asks
``bluez_recovery`` what to do, and does it. What the agent asks for goes through the same lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol

from twochannel.radio import bluez_names as names
from twochannel.radio.bluez_adapters import Adapter, AdapterChoice, adapter_of, adapters_among
from twochannel.radio.bluez_advertiser import AdvertSlot
from twochannel.radio.bluez_bus import Bus
from twochannel.radio.bluez_devices import Devices
from twochannel.radio.bluez_power import AdapterPower
from twochannel.radio.bluez_recovery import Condition, Recovery, Step
from twochannel.radio.bluez_refusals import BUSY_WITH_SCAN, SCANNED_BY_OTHERS, BluezError
from twochannel.radio.bluez_scanner import BluezScanner
from twochannel.radio.port import Broadcast, Health

_log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 1.0
#: The kernel ends and begins a scan every 10 s, and for a moment none runs.
_DISCOVERY_GAP_S: Final = 2.0
#: A scan that a killed bluetoothd has left ends within 11 s; then the ladder would end it.
_LEFT_SCAN_S: Final = 15.0
INVITES: Final = "invites: leave that block before broadcasting"
_NOT_READY: Final = "is not ready yet: try again in a moment"
#: Signals come in bursts.
_SETTLE_S: Final = 0.05


class OfferedService(Protocol):
    """A GATT service that bluetoothd is to have."""

    @property
    def offered(self) -> bool: ...

    async def offer(self, adapter: Adapter) -> None:
        """Register it. Raises BluezError."""
        ...

    def drop(self) -> None:
        """bluetoothd or the adapter is gone, and the registration with it."""
        ...


class BluezKeeper:
    """One radio's session with bluetoothd. ``open`` first, ``close`` last."""

    def __init__(self, radio: str, choice: AdapterChoice) -> None:
        self._radio = radio
        self._choice = choice
        self._wake = asyncio.Event()
        self._bus = Bus(radio, self._wake.set, self._on_bus_lost)
        self.scanner = BluezScanner(radio, self._bus)
        self.devices = Devices(self._bus)
        self._slot = AdvertSlot(self._bus, self._wake.set)
        self._power = AdapterPower(radio, self._bus)
        self._service: OfferedService | None = None
        self._recovery = Recovery()
        self._lock = asyncio.Lock()
        self._errands: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None
        self._owner: str | None = None
        self._served_by: str | None = None
        self._left_over = False
        self._adapter: Adapter | None = None
        self._undiscovered_since_s: float | None = None
        self._others_advertised = False
        self.health = Health(ok=True, detail="", since_s=time.monotonic())
        #: Told each change of it.
        self.report: Callable[[Health], None] = lambda _health: None

    @property
    def adapter(self) -> Adapter | None:
        """The adapter as it was seen last; None while it is missing."""
        return self._adapter

    # --- opening and closing

    async def open(self) -> None:
        """Find the adapter, switch it on and listen. Raises BluezError.

        Takes up to 15 s while something else scans, and says so in the log.
        """
        await self._bus.connect()
        await self._attend()
        until_s = time.monotonic() + _LEFT_SCAN_S
        while self._recovery.trouble == BUSY_WITH_SCAN and time.monotonic() < until_s:
            await asyncio.sleep(LOOK_EVERY_S)
            await self._attend()
        if self._recovery.trouble or not self.scanner.listening:
            raise BluezError(self._radio, self._recovery.trouble or _NOT_READY)
        self._loop = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Be silent and let go. Never fails: closing the connection ends what is left."""
        tasks = [task for task in (self._loop, *self._errands) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._power.settle()
        await self.scanner.stop()
        try:
            await self._slot.clear()
        except BluezError as refusal:
            _log.info("advert_had_ended", extra={"radio": self._radio, "reason": str(refusal)})
        await self._bus.close()

    # --- what the agent asks for

    async def change(self, broadcast: Broadcast | None) -> None:
        """Put ``broadcast`` on the air, or nothing. Raises BluezError.

        Runs to its end even if the caller is cancelled. A broadcast that was refused is not
        tried again; one that was accepted is put back on the air after whatever happens.
        """
        errand = asyncio.create_task(self._change(broadcast))
        self._errands.add(errand)
        errand.add_done_callback(self._errands.discard)
        await asyncio.shield(errand)

    async def _change(self, broadcast: Broadcast | None) -> None:
        async with self._lock:
            if self._slot.inviting:
                if broadcast is not None:
                    raise BluezError(self._radio, INVITES)
                return
            await self._put_instead(broadcast)

    async def _put_instead(self, broadcast: Broadcast | None) -> None:
        self._slot.wanted = None
        if broadcast is None:
            # While the adapter is off the kernel would keep it; ``_keep`` clears it then.
            if self._adapter is None or self._adapter.powered:
                await self._slot.clear()
        else:
            await self._put(await self._usable_adapter(), broadcast)
            self._slot.wanted = broadcast

    async def invite(self, invitation: Broadcast, service: OfferedService) -> None:
        """Offer a GATT service and put an invitation to it on the air. Raises BluezError.

        Until ``stop_inviting``, which must follow even after an error, no broadcast is taken.
        """
        async with self._lock:
            adapter = await self._usable_adapter()
            self._service, self._slot.inviting = service, True
            await service.offer(adapter)
            await self._put_instead(invitation)

    async def stop_inviting(self) -> None:
        """Take the invitation off the air, for good even after an error. Raises BluezError."""
        async with self._lock:
            self._service, self._slot.inviting = None, False
            await self._put_instead(None)

    @contextlib.asynccontextmanager
    async def deaf(self) -> AsyncIterator[Adapter]:
        """Do not listen while the block runs, as long as it needs the controller for itself.

        The kernel ends its scan for a connection, and begins it again only after up to 10 s.
        """
        async with self._lock:
            adapter = await self._usable_adapter()
            async with self._paused(adapter):
                yield adapter

    async def _usable_adapter(self) -> Adapter:
        adapter = self._adapter
        if adapter is None or not adapter.powered:
            raise BluezError(self._radio, self._recovery.trouble or _NOT_READY)
        return adapter

    async def _put(self, adapter: Adapter, broadcast: Broadcast) -> None:
        async with self._address_may_change(adapter):
            try:
                await self._slot.put(adapter, broadcast)
            except BluezError as refusal:
                if refusal.error_name == names.FAILED and await self._others_scan(adapter):
                    raise BluezError(self._radio, SCANNED_BY_OTHERS, names.FAILED) from refusal
                raise

    @contextlib.asynccontextmanager
    async def _address_may_change(self, adapter: Adapter) -> AsyncIterator[None]:
        """Pause listening: most controllers refuse a new address while they scan."""
        if adapter.extended:
            yield
            return
        async with self._paused(adapter):
            yield

    @contextlib.asynccontextmanager
    async def _paused(self, adapter: Adapter) -> AsyncIterator[None]:
        if not self.scanner.listening:
            yield
            return
        await self.scanner.stop()
        try:
            yield
        finally:
            try:
                await self.scanner.start(adapter)
            except BluezError as refusal:
                _log.warning("listening_not_resumed", extra=self._about(refusal.reason))
                self._wake.set()

    async def _others_scan(self, adapter: Adapter) -> bool:
        properties = await self._bus.properties(adapter.path, names.ADAPTER)
        return not self.scanner.listening and bool(properties.get(names.DISCOVERING))

    # --- looking after it

    async def _keep(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._wake.wait()
                    await asyncio.sleep(_SETTLE_S)
            self._wake.clear()
            async with self._lock:
                await self._attend()

    async def _attend(self) -> None:
        """Look, do what is needed, and tell the health."""
        for _ in Step:  # never for ever: what is done may not help
            try:
                step = await self._next_step()
            except BluezError as refusal:
                self._recovery.trouble = refusal.reason
                break
            if step is Step.NONE:
                break
            await self._try(step)
        self._tell(self._recovery.trouble)

    async def _try(self, step: Step) -> None:
        _log.info("radio_step", extra=self._about(step.value))
        try:
            await self._perform(step)
        except BluezError as refusal:
            self._recovery.failed(step, refusal.reason, time.monotonic())
        else:
            self._recovery.done(step, time.monotonic())

    async def _next_step(self) -> Step:
        await self._look()
        adapter = self._adapter
        now_s = time.monotonic()
        condition = Condition(
            service=self._owner is not None,
            adapter=adapter is not None,
            powered=adapter is not None and adapter.powered,
            left_over=self._left_over,
            listening=self.scanner.listening,
            on_air=self._slot.on_air,
            offered=self._service is None or self._service.offered,
            heard_at_s=self.scanner.last_heard_at_s,
        )
        return self._recovery.next_step(condition, now_s)

    async def _perform(self, step: Step) -> None:
        adapter = self._adapter
        if adapter is None:
            return
        match step:
            case Step.POWER_ON:
                await self._power.on(adapter)
            case Step.OFFER if self._service is not None:
                await self._service.offer(adapter)
            case Step.LISTEN | Step.LISTEN_ANEW:
                await self.scanner.start(adapter)
                self._undiscovered_since_s = None
            case Step.ADVERTISE:
                await self._advertise(adapter)
            case Step.POWER_CYCLE:
                await self._power_cycle(adapter)

    async def _advertise(self, adapter: Adapter) -> None:
        if not self._slot.swept:
            async with self._address_may_change(adapter):
                await self._slot.sweep(adapter)
        if self._slot.wanted is not None:
            await self._put(adapter, self._slot.wanted)
        else:
            await self._slot.clear()

    async def _power_cycle(self, adapter: Adapter) -> None:
        if await self.devices.connected(adapter):
            # Somebody talks through this adapter, so that it works; look again later.
            raise BluezError(self._radio, "")
        await self.scanner.stop()
        await self._slot.clear()
        self._slot.darken()
        await self._power.cycle(adapter)
        self._left_over = False

    # --- looking

    async def _look(self) -> None:
        owner = await self._bus.owner()
        adapter = await self._find() if owner is not None else None
        before = self._adapter
        same = owner == self._owner and (adapter and adapter.path) == (before and before.path)
        self._owner, self._adapter = owner, adapter
        if not same:
            self._slot.drop()
            if self._service is not None:
                self._service.drop()
            await self.scanner.stop()
        elif adapter is not None and not adapter.powered:
            self._slot.darken()
            await self.scanner.stop()
        if adapter is not None:
            self._look_at_service(adapter)
            self._choice = self._choice.settled(adapter)
            self._look_at_adverts(adapter)
            await self._look_at_discovery(adapter, time.monotonic())

    def _look_at_service(self, adapter: Adapter) -> None:
        """bluetoothd switches its adapters off when it ends in order, but not when it is killed."""
        if self._served_by not in (None, self._owner):
            self._left_over = True
        if not adapter.powered:
            self._left_over = False
        self._served_by = self._owner

    async def _find(self) -> Adapter | None:
        if self._adapter is not None:
            seen = await self._read(self._adapter.path)
            if seen is not None and seen.address == self._adapter.address:
                return seen
        return self._choice.pick(adapters_among(await self._bus.objects()))

    async def _read(self, path: str) -> Adapter | None:
        try:
            properties = await self._bus.properties(path, names.ADAPTER)
            manager = await self._bus.properties(path, names.ADVERTISING_MANAGER)
        except BluezError as refusal:
            if refusal.error_name:  # an answer: there is no such object any more
                return None
            raise
        return adapter_of(path, properties, manager)

    def _look_at_adverts(self, adapter: Adapter) -> None:
        """After another's advert has ended, ours may be off the air for good.

        The kernel takes turns between adverts, and without extended advertising each turn of
        ours needs a new address, which is refused while the controller scans.
        """
        others = adapter.active_adverts > self._slot.registered
        if self._others_advertised and not others and not adapter.extended:
            self._slot.doubt()
        self._others_advertised = others

    async def _look_at_discovery(self, adapter: Adapter, now_s: float) -> None:
        if adapter.discovering or not self.scanner.listening:
            self._undiscovered_since_s = None
        elif self._undiscovered_since_s is None:
            self._undiscovered_since_s = now_s
        elif now_s - self._undiscovered_since_s >= _DISCOVERY_GAP_S:
            await self.scanner.stop()

    # --- telling

    def _tell(self, trouble: str) -> None:
        detail = f'The radio "{self._radio}" {trouble}.' if trouble else ""
        if detail != self.health.detail:
            since_s = self._recovery.trouble_since_s(time.monotonic())
            self._take(Health(not detail, detail, since_s, self._recovery.strongest))
            if detail:
                _log.warning("radio_trouble", extra=self._about(trouble))
            else:
                _log.info("radio_well", extra=self._about("recovered"))
        if not detail:
            self._recovery.settle()

    def _take(self, health: Health) -> None:
        self.health = health
        self.report(health)

    def _about(self, reason: str) -> dict[str, Any]:
        name = self._adapter.name if self._adapter else None
        return {"radio": self._radio, "adapter": name, "reason": reason}

    def _on_bus_lost(self, failure: str) -> None:
        self._take(Health(ok=False, detail=failure, since_s=time.monotonic()))
        self.scanner.end(failure)
