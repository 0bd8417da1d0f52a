"""Radio backend on Bumble: virtual controllers over TCP, and USB or serial HCI dongles."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from twochannel.radio import adverts, hci_commands
from twochannel.radio.hci_adapter import HciAdapter
from twochannel.radio.port import Broadcast, Health, RadioError, Sighting
from twochannel.radio.sighting_stream import SightingStream

if TYPE_CHECKING:
    from twochannel.radio.bumble_link import BumbleCentral, BumbleLinks, BumblePeripheral


class BumbleAdvertiser:
    """The adapter's one advert: a broadcast, or an invitation while links are welcome."""

    def __init__(self, adapter: HciAdapter) -> None:
        self._adapter = adapter
        self._inviting = False
        self.on_air = False

    async def broadcast(self, broadcast: Broadcast) -> None:
        """See ``port.Advertiser``. ValueError: payload over 31 bytes, interval not 20..10240 ms."""
        slots = hci_commands.interval_slots(broadcast.interval_ms)
        data = adverts.advertising_data(broadcast.service_uuid, broadcast.service_data)
        await self._adapter.exclusively(lambda: self._replace(data, slots))

    async def silence(self) -> None:
        """See ``port.Advertiser``."""
        await self._adapter.exclusively(self._stop_broadcast)

    # --- for the peripheral, within a sequence of the adapter

    async def invite(self, invitation: Broadcast) -> None:
        """Put an invitation on the air, which stays the only advert until ``stop_inviting``."""
        slots = hci_commands.interval_slots(invitation.interval_ms)
        data = adverts.invitation_data(invitation.service_uuid, invitation.service_data)
        self._inviting = False
        await self._replace(data, slots, connectable=True)
        self._inviting = True

    def note_connection(self) -> None:
        """The controller has taken the invitation off the air for a connection."""
        self.on_air = False

    async def stop_inviting(self) -> None:
        """Take the invitation off the air; broadcasts are welcome again."""
        self._inviting = False
        await self._stop()

    # --- sequences

    async def _stop_broadcast(self) -> None:
        if not self._inviting:
            await self._stop()

    async def _replace(self, data: bytes, slots: int, *, connectable: bool = False) -> None:
        if self._inviting:
            raise RadioError("The radio invites: leave that block before broadcasting.")
        # The old payload leaves the air before the address changes and the new one enters after,
        # so that no advert links the two. Scanning pauses for the address command alone.
        send = self._adapter.send
        await self._stop()
        await send(hci_commands.advertising_parameters(slots, connectable=connectable))
        await send(hci_commands.advertising_data(data))
        await send(hci_commands.scan_enable(on=False))
        try:
            await send(hci_commands.fresh_address())
        finally:
            await send(hci_commands.scan_enable(on=True))
        await send(hci_commands.advertising_enable(on=True))
        self.on_air = True

    async def _stop(self) -> None:
        if self.on_air:
            await self._adapter.send(hci_commands.advertising_enable(on=False))
            self.on_air = False


class BumbleScanner:
    """The adapter's receiver: passive, always on, every packet."""

    def __init__(self) -> None:
        self._stream = SightingStream()
        self._failure: str | None = None
        self._ended = False
        self._lost = 0
        self._last_heard_at_s: float | None = None
        self._stream.end()  # nobody listens yet

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

    def on_report(self, packet: bytes) -> None:
        """Take the adverts out of one HCI advertising report."""
        now_s = time.monotonic()
        self._last_heard_at_s = now_s
        if self._stream.ended:
            return
        for report in adverts.reports(packet):
            service = adverts.first_service_data(report.advertising_data)
            if service is not None:
                sighting = Sighting(
                    *(report.address, *service, report.rssi_dbm, now_s, report.random_address)
                )
                self._lost += self._stream.put(sighting)

    def end(self, failure: str | None = None) -> None:
        """End the stream: quietly when the radio closes, with ``failure`` when it was lost."""
        if not self._ended:
            self._ended, self._failure = True, failure
            self._stream.end(failure)


class BumbleRadio:
    """One HCI adapter as a radio. ``transport`` is a Bumble transport name."""

    def __init__(self, name: str, transport: str) -> None:
        self._name = name
        self._transport = transport
        self._parts: tuple[HciAdapter, BumbleAdvertiser, BumbleScanner] | None = None
        self._links: BumbleLinks | None = None
        self._health = Health(ok=True, detail="", since_s=time.monotonic())
        self._report: Callable[[Health], None] = lambda _health: None

    @property
    def name(self) -> str:
        """See ``port.Radio``."""
        return self._name

    @property
    def advertiser(self) -> BumbleAdvertiser:
        """See ``port.Radio``. RuntimeError before the radio was opened."""
        return self._opened()[1]

    @property
    def scanner(self) -> BumbleScanner:
        """See ``port.Radio``. RuntimeError before the radio was opened."""
        return self._opened()[2]

    @property
    def equipment(self) -> None:
        """See ``port.Radio``: an HCI transport says nothing that a record would need."""
        return None

    @property
    def health(self) -> Health:
        """See ``port.Radio``. RuntimeError before the radio was opened."""
        self._opened()
        return self._health

    def report(self, told: Callable[[Health], None]) -> None:
        """See ``port.Radio``."""
        self._report = told

    @property
    def peripheral(self) -> BumblePeripheral:
        """See ``port.Radio``. RuntimeError before the radio was opened."""
        return self._linked().peripheral

    @property
    def central(self) -> BumbleCentral:
        """See ``port.Radio``. RuntimeError before the radio was opened."""
        return self._linked().central

    def _linked(self) -> BumbleLinks:
        adapter, advertiser, _ = self._opened()
        if self._links is None:
            # Only now: whoever never links loads no GATT.
            from twochannel.radio.bumble_link import BumbleLinks

            self._links = BumbleLinks(adapter, advertiser)
        return self._links

    def _opened(self) -> tuple[HciAdapter, BumbleAdvertiser, BumbleScanner]:
        if self._parts is None:
            raise RuntimeError("open the radio with `async with` first")
        return self._parts

    async def __aenter__(self) -> BumbleRadio:
        scanner = BumbleScanner()
        adapter = HciAdapter(self._name, self._transport, scanner.on_report)
        adapter.lost.add_done_callback(lambda lost: self._lose(scanner, lost.result()))
        try:
            await adapter.open()
            await adapter.exclusively(lambda: _start_scanning(adapter))
        except BaseException:
            await adapter.close()
            raise
        self._parts = adapter, BumbleAdvertiser(adapter), scanner
        self._links = None
        return self

    def _lose(self, scanner: BumbleScanner, failure: str) -> None:
        self._health = Health(ok=False, detail=failure, since_s=time.monotonic())
        self._report(self._health)
        scanner.end(failure)

    async def __aexit__(self, *failure: object) -> None:
        adapter, _, scanner = self._opened()
        scanner.end()
        if self._links is not None:
            self._links.close()
        await adapter.close()


async def _start_scanning(adapter: HciAdapter) -> None:
    await adapter.send(hci_commands.fresh_address())
    await adapter.send(hci_commands.scan_parameters())
    await adapter.send(hci_commands.scan_enable(on=True))
