"""The car's Bluetooth: virtual controllers in the kernel, and the real bluetoothd on top.

Annotations are not deferred here: the D-Bus library reads them, and a deferred None is none to it.
"""

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Self

from dbus_fast import PropertyAccess, Variant
from dbus_fast.annotations import DBusBool, DBusStr
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

from fieldkit.air_control import AirControl
from fieldkit.process import Process
from twochannel.radio import bluez_names as names
from twochannel.radio.bluez_adapters import Adapter, adapters_among
from twochannel.radio.bluez_bus import Bus
from twochannel.radio.bluez_refusals import BluezError

#: Everything here is emulated, on a machine that others use too.
DEADLINE_S: Final = 30.0
_POLL_S: Final = 0.02
_BLUETOOTHD: Final = "/usr/libexec/bluetooth/bluetoothd"
_PLAN: Final = """
seed = 7
[propagation]
shadowing_sd_db = 0
fading_sd_db = 4
loss_probability = 0
[[controllers]]
name = "jack"
host = "vhci"
[[controllers]]
name = "terminal"
host = "vhci"
x = 3
[[controllers]]
name = "spare"
host = "vhci"
x = 500
[[controllers]]
name = "witness"
x = 2
"""


async def until(condition: Callable[[], Awaitable[bool]], deadline_s: float = DEADLINE_S) -> None:
    """Ask again and again until it is so: what is waited for tells nobody when it happens."""
    async with asyncio.timeout(deadline_s):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)


async def run(*command: str) -> None:
    """Run a program to its end, which must be a good one."""
    process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.DEVNULL)
    assert await process.wait() == 0, command


class ForeignAdvert(ServiceInterface):
    """Another program's connectable advert; it has the adapter's own address."""

    def __init__(self) -> None:
        super().__init__(names.ADVERTISEMENT)

    @dbus_property(PropertyAccess.READ, names.TYPE)
    def kind(self) -> DBusStr:
        return names.TYPE_PERIPHERAL

    @dbus_property(PropertyAccess.READ, names.DISCOVERABLE)
    def discoverable(self) -> DBusBool:
        return True

    @dbus_method(names.RELEASE)
    def release(self) -> None:
        return


class CarBluetooth:
    """``async with opened(folder) as car``. ``spare`` is unplugged at first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._daemon: asyncio.subprocess.Process | None = None
        plan = folder / "air.toml"
        plan.write_text(_PLAN)
        self._air = Process(
            "air", ("-m", "fieldkit", "air", "--config", str(plan)), folder / "air.log"
        )
        self.bus = Bus("bench", lambda: None, lambda _: None)

    async def __aenter__(self) -> Self:
        await run("modprobe", "hci_vhci")
        await self._air.start()
        await self.bus.connect()
        await self.start_bluetoothd()
        # The kernel is busy with a new adapter for a while and must not lose it then.
        await self.present("spare")
        await self.restore()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.kill_bluetoothd()
        await self.bus.close()
        await self._air.stop()

    async def restore(self) -> None:
        """As it was at first, whatever a test has left."""
        await run("rfkill", "unblock", "bluetooth")
        async with self.air() as air:
            await air.plug("jack")
            await air.unplug("spare")
        killed = self._daemon is None
        if killed:
            await self.start_bluetoothd()
        for controller in ("jack", "terminal"):
            await self.present(controller)
            if killed:
                # The kernel goes on for a while with what the dead one wanted.
                await self.set_property(controller, names.POWERED, Variant("b", False))

    # --- controllers

    @property
    def control(self) -> str:
        """Where the air is steered."""
        return str(self._air.ready["control"])

    def air(self) -> AirControl:
        return AirControl(self.control)

    def address(self, controller: str) -> str:
        return str(self._air.ready["adapters"][controller])

    def radio(self, controller: str) -> str:
        """The name of a radio on the kernel's adapter for this controller."""
        return f"bluez:{self.address(controller)}"

    @property
    def witness(self) -> str:
        """The name of a radio that hears what is on the air without the kernel."""
        return f"bumble:{self._air.ready['controllers']['witness']}"

    # --- bluetoothd

    async def start_bluetoothd(self, *, experimental: bool = True) -> None:
        with (self._folder / "bluetoothd.log").open("ab") as log:
            self._daemon = await asyncio.create_subprocess_exec(
                *(_BLUETOOTHD, "-n", *(["-E"] if experimental else [])), stdout=log, stderr=log
            )

    async def kill_bluetoothd(self) -> None:
        """As a crash would."""
        await self._end_bluetoothd(signal.SIGKILL)

    async def stop_bluetoothd(self) -> None:
        """As systemd does: in order, which takes it a moment."""
        await self._end_bluetoothd(signal.SIGTERM)

    async def _end_bluetoothd(self, how: signal.Signals) -> None:
        daemon, self._daemon = self._daemon, None
        if daemon is not None:
            with contextlib.suppress(ProcessLookupError):
                daemon.send_signal(how)
            await daemon.wait()

    async def adapter(self, controller: str) -> Adapter | None:
        """The adapter as bluetoothd shows it, if it does."""
        try:
            adapters = adapters_among(await self.bus.objects())
        except BluezError:
            return None
        address = self.address(controller)
        return next((known for known in adapters.values() if known.address == address), None)

    async def present(self, controller: str) -> Adapter:
        found: list[Adapter] = []

        async def there() -> bool:
            adapter = await self.adapter(controller)
            if adapter is not None:
                found.append(adapter)
            return bool(found)

        await until(there)
        return found[0]

    async def absent(self, controller: str) -> None:
        async def gone() -> bool:
            return await self.adapter(controller) is None

        await until(gone)

    async def set_property(self, controller: str, name: str, value: Variant) -> None:
        adapter = await self.present(controller)
        await self.bus.call(
            *(adapter.path, names.PROPERTIES, names.SET, names.ADAPTER, name, value),
            signature="ssv",
        )

    async def properties(self, controller: str) -> dict[str, Any]:
        adapter = await self.present(controller)
        return await self.bus.properties(adapter.path, names.ADAPTER)
