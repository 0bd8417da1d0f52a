"""Radio backend on Bumble: virtual controllers over TCP, and USB or serial HCI dongles.

Legacy advertising and scanning commands are used on every controller, as they are the ones that
all of them have (Core spec, Vol 4 Part E section 7.8.5 ff.).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from bumble import hci

from twochannel.radio import adverts
from twochannel.radio.hci_adapter import HciAdapter
from twochannel.radio.port import Broadcast, Health, Sighting
from twochannel.radio.sighting_stream import SightingStream

# Interval and window in units of 0.625 ms; equal, so that the receiver never sleeps.
# 60 ms is what the kernel and phones use: long enough to catch all three channels in turn.
_SCAN_INTERVAL_SLOTS = 96

# Core spec, Vol 4 Part E section 7.8.5: 0x0020 to 0x4000 slots of 0.625 ms.
ADVERTISING_INTERVAL_MS = range(20, 10_241)
_ALL_CHANNELS = 0b111
_SLOT_US = 625


class BumbleAdvertiser:
    """The adapter's one broadcast."""

    def __init__(self, adapter: HciAdapter) -> None:
        self._adapter = adapter
        self._on_air = False

    async def broadcast(self, broadcast: Broadcast) -> None:
        """See ``port.Advertiser``. ValueError: payload over 31 bytes, interval not 20..10240 ms."""
        if broadcast.interval_ms not in ADVERTISING_INTERVAL_MS:
            raise ValueError("an advertising interval is 20 to 10240 ms")
        data = adverts.advertising_data(broadcast.service_uuid, broadcast.service_data)
        slots = broadcast.interval_ms * 1000 // _SLOT_US
        await self._adapter.exclusively(lambda: self._replace(data, slots))

    async def silence(self) -> None:
        """See ``port.Advertiser``."""
        await self._adapter.exclusively(self._stop)

    async def _replace(self, data: bytes, interval_slots: int) -> None:
        # The old payload leaves the air before the address changes and the new one enters after,
        # so that no advert links the two. Scanning pauses for the address command alone.
        send = self._adapter.send
        await self._stop()
        await send(_advertising_parameters(interval_slots))
        await send(hci.HCI_LE_Set_Advertising_Data_Command(advertising_data=data))
        await send(_scan_enable(on=False))
        try:
            await send(_fresh_address())
        finally:
            await send(_scan_enable(on=True))
        await send(hci.HCI_LE_Set_Advertising_Enable_Command(advertising_enable=1))
        self._on_air = True

    async def _stop(self) -> None:
        if self._on_air:
            await self._adapter.send(
                hci.HCI_LE_Set_Advertising_Enable_Command(advertising_enable=0)
            )
            self._on_air = False


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
        self._health = Health(ok=True, detail="", since_s=time.monotonic())

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
    def health(self) -> Health:
        """See ``port.Radio``. RuntimeError before the radio was opened."""
        self._opened()
        return self._health

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
        return self

    def _lose(self, scanner: BumbleScanner, failure: str) -> None:
        self._health = Health(ok=False, detail=failure, since_s=time.monotonic())
        scanner.end(failure)

    async def __aexit__(self, *failure: object) -> None:
        adapter, _, scanner = self._opened()
        scanner.end()
        await adapter.close()


async def _start_scanning(adapter: HciAdapter) -> None:
    # Scanning under a random address, as dongles without an address of their own need one;
    # a passive scanner never sends it.
    await adapter.send(_fresh_address())
    await adapter.send(
        hci.HCI_LE_Set_Scan_Parameters_Command(
            le_scan_type=hci.HCI_LE_Set_Scan_Parameters_Command.PASSIVE_SCANNING,
            le_scan_interval=_SCAN_INTERVAL_SLOTS,
            le_scan_window=_SCAN_INTERVAL_SLOTS,
            own_address_type=hci.OwnAddressType.RANDOM,
            scanning_filter_policy=hci.HCI_LE_Set_Scan_Parameters_Command.BASIC_UNFILTERED_POLICY,
        )
    )
    await adapter.send(_scan_enable(on=True))


def _advertising_parameters(interval_slots: int) -> hci.HCI_LE_Set_Advertising_Parameters_Command:
    kind = hci.HCI_LE_Set_Advertising_Parameters_Command.AdvertisingType
    return hci.HCI_LE_Set_Advertising_Parameters_Command(
        advertising_interval_min=interval_slots,
        advertising_interval_max=interval_slots,
        advertising_type=kind.ADV_NONCONN_IND,
        own_address_type=hci.OwnAddressType.RANDOM,
        peer_address_type=hci.Address.PUBLIC_DEVICE_ADDRESS,
        peer_address=hci.Address.ANY,
        advertising_channel_map=_ALL_CHANNELS,
        advertising_filter_policy=0,
    )


def _scan_enable(*, on: bool) -> hci.HCI_LE_Set_Scan_Enable_Command:
    return hci.HCI_LE_Set_Scan_Enable_Command(le_scan_enable=int(on), filter_duplicates=0)


def _fresh_address() -> hci.HCI_LE_Set_Random_Address_Command:
    """A non-resolvable private address: 46 random bits below two zero bits (Vol 6 Part B 1.3.2)."""
    return hci.HCI_LE_Set_Random_Address_Command(
        random_address=hci.Address.generate_private_address()
    )
