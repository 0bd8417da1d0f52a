"""The medium between virtual controllers: what one sends, and who receives it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from bumble import hci
from bumble.link import LocalLink

from fieldkit import motion, propagation
from fieldkit.propagation import Propagation
from fieldkit.virtual_connection import AirConnection

if TYPE_CHECKING:
    from fieldkit.virtual_controller import Advert, VirtualController


class Clock(Protocol):
    """What the air needs of an event loop, so that tests can turn the time by hand."""

    def time(self) -> float: ...

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.Handle: ...


class Ether(LocalLink):
    """The medium all controllers of one air share."""

    def __init__(self, site: Propagation, seed: int, clock: Clock) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.site = site
        self.seed = seed
        self.clock = clock
        self._members: list[VirtualController] = []

    def join(self, member: VirtualController) -> None:
        """Put a controller on the air; receivers hear a packet in the order they joined."""
        self.add_controller(member)
        self._members.append(member)

    def radiate(self, sender: VirtualController, advert: Advert) -> None:
        """Deliver one advert to everyone who listens and is lucky enough to hear it."""
        number = sender.count_packet()
        for receiver in self._members:
            if receiver is sender or not receiver.listening:
                continue
            rssi_dbm = self._received_rssi_dbm(sender, receiver, number)
            if rssi_dbm is not None:
                receiver.hear(advert, rssi_dbm)
                if receiver.wants(advert) and sender.is_advertising:
                    self._connect(receiver, sender)

    def carry(self, sender: VirtualController, receiver: VirtualController) -> int | None:
        """The RSSI of one packet from one controller to another; None if it is lost."""
        return self._received_rssi_dbm(sender, receiver, sender.count_packet())

    def _received_rssi_dbm(
        self, sender: VirtualController, receiver: VirtualController, packet_number: int
    ) -> int | None:
        return propagation.received_rssi_dbm(
            self.site,
            self.seed,
            sender.name,
            receiver.name,
            packet_number,
            sender.tx_power_dbm,
            motion.distance_m(sender.position, receiver.position),
        )

    def _connect(self, central: VirtualController, peripheral: VirtualController) -> None:
        wanted = central.wanted
        # The request to connect must arrive as well; if not, the next advert brings another.
        if wanted is None or self.carry(central, peripheral) is None:
            return
        central.pending_le_connection = None
        address = peripheral.le_legacy_advertiser.address
        own_address = central.own_address(wanted.own_address_type)
        peripheral.le_legacy_advertiser.stop()
        AirConnection(
            self,
            central.enter_connection(hci.Role.CENTRAL, own_address, address, wanted),
            peripheral.enter_connection(hci.Role.PERIPHERAL, address, own_address, wanted),
            wanted,
        )
