"""Gives a virtual controller to the Linux kernel of this machine, as one of its adapters.

The device /dev/vhci (module hci_vhci, drivers/bluetooth/hci_vhci.c): whoever has it open is a
controller. Each read and each write is one HCI packet with its type byte (H4). The first write
creates the adapter::

    write  ff <opcode>              opcode 0: a primary controller
    read   ff <opcode> <index u16>  the number of the hciX that was created
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path
from typing import Final

from fieldkit.virtual_controller import VirtualController

_log = logging.getLogger(__name__)

DEVICE: Final = Path("/dev/vhci")
_VENDOR_PACKET: Final = 0xFF
_CREATE: Final = bytes((_VENDOR_PACKET, 0))
#: Longer than any HCI packet: 4 bytes of ISO or ACL header and at most 65535 of data.
_PACKET_LIMIT_BYTES: Final = 1 + 4 + 65535


class VhciPort:
    """One controller as an adapter of the kernel. Opening it needs root."""

    def __init__(self, controller: VirtualController) -> None:
        self._controller = controller
        self._device: int | None = None

    def plug(self) -> None:
        """Let the adapter appear; no effect if it is there. OSError without the device."""
        if self._device is not None:
            return
        self._controller.host = self
        device = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(device, _CREATE)
        except OSError:
            os.close(device)
            raise
        self._device = device
        asyncio.get_running_loop().add_reader(device, self._read, device)

    def unplug(self) -> None:
        """Let the adapter vanish, as if somebody pulled it out; no effect if it is gone."""
        if self._device is None:
            return
        device, self._device = self._device, None
        asyncio.get_running_loop().remove_reader(device)
        os.close(device)
        self._controller.reset()
        _log.info("controller %s: unplugged", self._controller.name)

    async def close(self) -> None:
        """The same as ``unplug``, for an exit stack."""
        self.unplug()

    def on_packet(self, packet: bytes) -> None:
        """Send one HCI packet to the kernel, if it is there (Bumble's TransportSink)."""
        if self._device is not None:
            # The kernel refuses packets of an adapter that it has just switched off.
            with contextlib.suppress(OSError):
                os.write(self._device, packet)

    def _read(self, device: int) -> None:
        try:
            packet = os.read(device, _PACKET_LIMIT_BYTES)
        except BlockingIOError:
            return
        if packet[0] == _VENDOR_PACKET:
            index = int.from_bytes(packet[2:4], "little")
            _log.info("controller %s: plugged in as hci%d", self._controller.name, index)
        else:
            self._controller.on_packet(packet)
