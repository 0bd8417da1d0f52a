"""An air by hand: controllers driven by HCI commands, and a clock that the test turns."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any, TypeVar

from bumble import hci

from fieldkit.ether import Ether
from fieldkit.motion import Position
from fieldkit.propagation import Propagation
from fieldkit.virtual_controller import VirtualController

SEED = 7
STILL = Propagation(shadowing_sd_db=0, fading_sd_db=0, loss_probability=0)
ADV = hci.HCI_LE_Set_Advertising_Parameters_Command.AdvertisingType
REPORT = hci.HCI_LE_Advertising_Report_Event.EventType
ERROR = hci.HCI_ErrorCode
DATA = bytes.fromhex("0303aafe")
ANSWER_DATA = bytes.fromhex("0201ff")
START, STOP = 1, 0


_Event = TypeVar("_Event", bound=hci.HCI_Packet)


class HandClock:
    """Time stands still until it is advanced, and then every callback runs at its moment."""

    def __init__(self) -> None:
        self._now_s = 1000.0
        self._waiting: list[tuple[float, int, asyncio.Handle]] = []
        self._order = itertools.count()

    def time(self) -> float:
        return self._now_s

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.Handle:
        handle = asyncio.Handle(callback, (), asyncio.get_running_loop())
        heapq.heappush(self._waiting, (when, next(self._order), handle))
        return handle

    def advance(self, seconds: float) -> None:
        end_s = self._now_s + seconds
        while self._waiting and self._waiting[0][0] <= end_s:
            when, _, handle = heapq.heappop(self._waiting)
            self._now_s = max(self._now_s, when)
            if not handle.cancelled():
                handle._run()
        self._now_s = end_s

    def stall(self, seconds: float) -> None:
        """Let time pass without running anything, as when a laptop sleeps."""
        self._now_s += seconds


class Host:
    """The host side of one controller: sends commands, keeps what comes back."""

    def __init__(self, controller: VirtualController) -> None:
        self.controller = controller
        self.heard: list[tuple[float, Any]] = []
        self.answer: Any = None
        self._answers: asyncio.Queue[Any] = asyncio.Queue()
        controller.host = self

    def on_packet(self, packet: bytes) -> None:
        event = hci.HCI_Packet.from_bytes(packet)
        if isinstance(event, hci.HCI_LE_Advertising_Report_Event):
            self.heard += [(self.controller.ether.clock.time(), report) for report in event.reports]
        else:
            self._answers.put_nowait(event)

    async def ask(self, command: hci.HCI_SyncCommand[Any]) -> hci.HCI_ErrorCode:
        self.controller.on_packet(bytes(command))
        answer = await asyncio.wait_for(self._answers.get(), 10)
        self.answer = answer.return_parameters
        status: hci.HCI_ErrorCode = self.answer.status
        return status

    async def accept(self, *commands: hci.HCI_SyncCommand[Any]) -> None:
        for command in commands:
            assert await self.ask(command) == ERROR.SUCCESS, command

    async def start(self, command: hci.HCI_AsyncCommand) -> hci.HCI_ErrorCode:
        """The status by which a command is answered whose result comes later."""
        self.controller.on_packet(bytes(command))
        status = await self.event(hci.HCI_Command_Status_Event)
        return hci.HCI_ErrorCode(status.status)

    async def event(self, kind: type[_Event]) -> _Event:
        """The next packet from the controller, which must be of this kind."""
        event = await asyncio.wait_for(self._answers.get(), 10)
        assert isinstance(event, kind), event
        return event

    async def silent(self) -> bool:
        """True if the controller has nothing more to say."""
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return self._answers.empty()

    @property
    def types(self) -> list[int]:
        return [report.event_type for _, report in self.heard]

    @property
    def rssis(self) -> list[int]:
        return [report.rssi for _, report in self.heard]


class Site:
    """Some controllers on one air with their hosts."""

    def __init__(self, propagation: Propagation = STILL, seed: int = SEED) -> None:
        self.clock = HandClock()
        self._ether = Ether(propagation, seed, self.clock)
        self._addresses = (f"02:00:00:00:00:{number:02X}" for number in itertools.count(1))

    def host(self, name: str, x_m: float = 0.0, tx_power_dbm: int = 0) -> Host:
        controller = VirtualController(
            name, self._ether, next(self._addresses), Position(x_m, 0), tx_power_dbm
        )
        return Host(controller)


def address(last: int = 1) -> hci.HCI_LE_Set_Random_Address_Command:
    return hci.HCI_LE_Set_Random_Address_Command(
        random_address=hci.Address(bytes((last, 2, 3, 4, 5, 6)))
    )


def parameters(
    kind: int = ADV.ADV_NONCONN_IND, slots: tuple[int, int] = (160, 160)
) -> hci.HCI_LE_Set_Advertising_Parameters_Command:
    peer = (hci.Address.PUBLIC_DEVICE_ADDRESS, hci.Address.ANY)
    return hci.HCI_LE_Set_Advertising_Parameters_Command(
        *slots, kind, hci.OwnAddressType.RANDOM, *peer, 0b111, 0
    )


def advertise(on: int = START) -> hci.HCI_LE_Set_Advertising_Enable_Command:
    return hci.HCI_LE_Set_Advertising_Enable_Command(advertising_enable=on)


def scan(on: int = START, duplicates_filtered: int = 0) -> hci.HCI_LE_Set_Scan_Enable_Command:
    return hci.HCI_LE_Set_Scan_Enable_Command(on, duplicates_filtered)


def scan_parameters(
    kind: int, own_address_type: int = hci.OwnAddressType.PUBLIC
) -> hci.HCI_LE_Set_Scan_Parameters_Command:
    return hci.HCI_LE_Set_Scan_Parameters_Command(kind, 96, 96, own_address_type, 0)


async def start_advertising(host: Host, *parameter: hci.HCI_SyncCommand[Any]) -> None:
    await host.accept(
        address(),
        *(parameter or (parameters(),)),
        hci.HCI_LE_Set_Advertising_Data_Command(advertising_data=DATA),
        hci.HCI_LE_Set_Scan_Response_Data_Command(scan_response_data=ANSWER_DATA),
        advertise(),
    )


async def start_scanning(host: Host, kind: int = 0, duplicates_filtered: int = 0) -> None:
    await host.accept(address(9), scan_parameters(kind), scan(START, duplicates_filtered))


async def talking_pair(site: Site, distance_m: float = 1.0) -> tuple[Host, Host]:
    jack, terminal = site.host("jack"), site.host("terminal", distance_m)
    await start_scanning(terminal)
    await start_advertising(jack)
    return jack, terminal
