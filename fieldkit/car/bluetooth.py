"""The guest's Bluetooth: virtual controllers as adapters of the kernel, and the real bluetoothd.

bluetoothd is started by systemd, as on a Raspberry Pi, with the experimental interfaces that the
deployment turns on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final, Self

from fieldkit.air_control import AirControl
from fieldkit.car.daemon import recording, run
from fieldkit.process import Process, StageError
from fieldkit.venue import AIR
from twochannel.radio.bluez_adapters import Adapter, adapters_among
from twochannel.radio.bluez_bus import Bus
from twochannel.radio.bluez_refusals import BluezError

_DROP_IN: Final = Path("/run/systemd/system/bluetooth.service.d/experimental.conf")
_EXPERIMENTAL: Final = """\
[Service]
ExecStart=
ExecStart=/usr/libexec/bluetooth/bluetoothd -E
"""
#: The air and bluetoothd start and power the adapters, emulated, while others start as well.
_READY_DEADLINE_S: Final = 120.0
_POLL_S: Final = 0.1


def traffic(file: Path) -> AbstractAsyncContextManager[None]:
    """All that kernel and controllers tell each other, while the block runs. Raises StageError."""
    return recording(("btmon", "--write", str(file)), file)


class Adapters:
    """``async with Adapters(plan, folder)``: every adapter of an air's plan, powered. Root only.

    ``plan`` is TOML as in ``fieldkit.air``; its controllers with ``host = "vhci"`` become
    adapters. ``folder`` gets the plan, the air's log, and all that kernel and controllers told each
    other (btsnoop, for Wireshark and btmon); bluetoothd's log is in the journal.
    """

    def __init__(self, plan: str, folder: Path) -> None:
        self._traffic = folder / "hci.btsnoop"
        file = folder / "air.toml"
        file.write_text(plan, encoding="utf-8")
        arguments = ("-m", "fieldkit.air", "--config", str(file))
        self._air = Process(AIR, arguments, folder / "air.log", ready_deadline_s=_READY_DEADLINE_S)
        self._bus = Bus("car", lambda: None, lambda _reason: None)
        self._open = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Raises StageError."""
        async with contextlib.AsyncExitStack() as opening:
            await run("modprobe", "hci_vhci")
            await opening.enter_async_context(traffic(self._traffic))
            await self._air.start()
            opening.push_async_callback(self._air.stop)
            await self._bus.connect()
            opening.push_async_callback(self._bus.close)
            _DROP_IN.parent.mkdir(parents=True, exist_ok=True)
            _DROP_IN.write_text(_EXPERIMENTAL, encoding="utf-8")
            await run("systemctl", "daemon-reload")
            await run("systemctl", "start", "bluetooth.service")
            opening.push_async_callback(run, "systemctl", "stop", "bluetooth.service")
            for name in self.addresses:
                await self.powered(name)
            self._open = opening.pop_all()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._open.aclose()

    @property
    def air_process(self) -> Process:
        """The process of the air, which runs while the block does."""
        return self._air

    @property
    def addresses(self) -> Mapping[str, str]:
        """The address of each adapter, by the name of its controller in the plan."""
        found: Mapping[str, str] = self._air.ready["adapters"]
        return found

    def radio(self, name: str) -> str:
        """A controller's radio, as an agent's setting."""
        if address := self.addresses.get(name):
            return f"bluez:{address}"
        return f"bumble:{self._air.ready['controllers'][name]}"

    def air(self) -> AirControl:
        """The control channel of the air: ``async with`` it."""
        return AirControl(self._air.ready["control"])

    async def now(self, name: str) -> Adapter | None:
        """The adapter as bluetoothd shows it; None if it does not."""
        try:
            adapters = adapters_among(await self._bus.objects())
        except BluezError:
            return None  # bluetoothd is just starting, or gone
        address = self.addresses[name]
        return next((known for known in adapters.values() if known.address == address), None)

    async def powered(self, name: str) -> Adapter:
        """Wait until the adapter is there and powered. Raises StageError."""
        try:
            async with asyncio.timeout(_READY_DEADLINE_S):
                # Nobody tells when it comes: bluetoothd itself may not be there yet.
                while not (adapter := await self.now(name)) or not adapter.powered:  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise StageError(f"the adapter {name} was not powered in time") from None
        return adapter

    async def gone(self, name: str) -> None:
        """Wait until bluetoothd no longer has the adapter. Raises StageError."""
        try:
            async with asyncio.timeout(_READY_DEADLINE_S):
                while await self.now(name):  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise StageError(f"the adapter {name} did not go") from None
