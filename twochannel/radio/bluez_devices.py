"""What bluetoothd knows of other devices: who is connected, and to be rid of them."""

from __future__ import annotations

import contextlib

from twochannel.radio import bluez_names as names
from twochannel.radio.bluez_adapters import Adapter, connected_to
from twochannel.radio.bluez_bus import Bus
from twochannel.radio.bluez_refusals import BluezError


class Devices:
    """The devices of one bluetoothd, by their D-Bus paths."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def connected(self, adapter: Adapter | None) -> set[str]:
        """Those with a connection by way of ``adapter``. Raises BluezError."""
        if adapter is None:
            return set()
        return set(connected_to(adapter, await self._bus.objects()))

    async def forget(self, device: str) -> None:
        """End its connection, and have bluetoothd forget it unless it is paired. Never raises.

        Random addresses would pile up, and what was cached of a jack's services may be outdated.
        """
        with contextlib.suppress(BluezError):  # it is gone, or will be with its adapter
            known = await self._bus.properties(device, names.DEVICE)
            if known.get(names.PAIRED):
                await self._bus.call(device, names.DEVICE, names.DISCONNECT, signature="")
            else:
                adapter = str(known[names.DEVICE_ADAPTER])
                await self._bus.call(
                    adapter, names.ADAPTER, names.REMOVE_DEVICE, device, signature="o"
                )


def device_path(adapter: Adapter, address: str) -> str:
    """The path of the device with that address, whether it is there or not."""
    return f"{adapter.path}/dev_{address.replace(':', '_')}"
