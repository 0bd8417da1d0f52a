"""Radio backend on BlueZ: the machine's own adapters, through bluetoothd.

Needs ``bluetoothd -E`` before BlueZ 5.77: without it the advertising interval is bluetoothd's.
The radio looks after itself (``bluez_keeper``); an agent that asks for something meanwhile gets
RadioError and may ask again. Aliases and other settings of the adapter are never touched, but a
radio that is switched off is switched on.
"""

from __future__ import annotations

from collections.abc import Callable

from twochannel.radio.bluez_adapters import AdapterChoice, bluez_version
from twochannel.radio.bluez_advertiser import BluezAdvertiser
from twochannel.radio.bluez_keeper import BluezKeeper
from twochannel.radio.bluez_link import BluezCentral, BluezPeripheral
from twochannel.radio.bluez_scanner import BluezScanner
from twochannel.radio.port import Equipment, Health


class BluezRadio:
    """One adapter as a radio."""

    def __init__(self, name: str, choice: AdapterChoice) -> None:
        self._name = name
        self._choice = choice
        self._parts: tuple[BluezKeeper, BluezAdvertiser, BluezScanner, BluezPeripheral] | None = (
            None
        )

    @property
    def name(self) -> str:
        """See ``port.Radio``."""
        return self._name

    @property
    def advertiser(self) -> BluezAdvertiser:
        """See ``port.Radio``. RuntimeError before the radio was opened."""
        return self._opened()[1]

    @property
    def scanner(self) -> BluezScanner:
        """See ``port.Radio``. RuntimeError before the radio was opened."""
        return self._opened()[2]

    @property
    def peripheral(self) -> BluezPeripheral:
        """See ``port.Radio``. RuntimeError before the radio was opened."""
        return self._opened()[3]

    @property
    def central(self) -> BluezCentral:
        """See ``port.Radio``. RuntimeError before the radio was opened."""
        return BluezCentral(self._opened()[0])

    @property
    def health(self) -> Health:
        """See ``port.Radio``. RuntimeError before the radio was opened."""
        return self._opened()[0].health

    def report(self, told: Callable[[Health], None]) -> None:
        """See ``port.Radio``. RuntimeError before the radio was opened."""
        self._opened()[0].report = told

    @property
    def adapter_name(self) -> str | None:
        """What the kernel calls the adapter now, like hci0; None while it is missing."""
        adapter = self._opened()[0].adapter
        return adapter.name if adapter is not None else None

    @property
    def equipment(self) -> Equipment | None:
        """See ``port.Radio``. RuntimeError before the radio was opened."""
        adapter = self._opened()[0].adapter
        if adapter is None:
            return None
        version = bluez_version(adapter.modalias)
        told = f"{version[0]}.{version[1]}" if version else None
        return Equipment(adapter.name, adapter.address, told)

    def _opened(self) -> tuple[BluezKeeper, BluezAdvertiser, BluezScanner, BluezPeripheral]:
        if self._parts is None:
            raise RuntimeError("open the radio with `async with` first")
        return self._parts

    async def __aenter__(self) -> BluezRadio:
        keeper = BluezKeeper(self._name, self._choice)
        try:
            await keeper.open()
        except BaseException:
            await keeper.close()
            raise
        peripheral = BluezPeripheral(self._name, keeper)
        self._parts = keeper, BluezAdvertiser(keeper.change), keeper.scanner, peripheral
        return self

    async def __aexit__(self, *failure: object) -> None:
        keeper, _, scanner, _ = self._opened()
        scanner.end()
        await keeper.close()
