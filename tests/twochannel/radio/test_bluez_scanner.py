"""How listening through BlueZ begins, and what becomes of a beginning that is given up.

bluetoothd answers when it likes: here when the test does.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from twochannel.radio import bluez_scanner
from twochannel.radio.bluez_adapters import Adapter
from twochannel.radio.bluez_refusals import BluezError
from twochannel.radio.bluez_scanner import BluezScanner

ADAPTER = Adapter(
    path="/org/bluez/hci0", address="02:00:00:00:00:A1", powered=True, discovering=False
)


class SilentBus:
    """No bus: nobody looks at monitors here."""

    def export(self, path: str, interface: object) -> None: ...

    def withdraw(self, path: str) -> None: ...

    async def call(self, *arguments: Any, signature: str) -> None: ...


class SlowDiscovery:
    """bleak's scanner on a bluetoothd that takes up one discovery for us, once it is let."""

    may_begin: asyncio.Event
    runs = False

    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        self._begun = False

    async def start(self) -> None:
        if SlowDiscovery.runs:
            raise OSError("InProgress")
        SlowDiscovery.runs = True
        await SlowDiscovery.may_begin.wait()
        self._begun = True

    async def stop(self) -> None:
        if self._begun:
            SlowDiscovery.runs = self._begun = False


@pytest.fixture
def scanner(monkeypatch: pytest.MonkeyPatch) -> BluezScanner:
    monkeypatch.setattr(bluez_scanner, "BleakScanner", SlowDiscovery)
    monkeypatch.setattr(SlowDiscovery, "may_begin", asyncio.Event(), raising=False)
    monkeypatch.setattr(SlowDiscovery, "runs", False)
    return BluezScanner("bluez", SilentBus())  # type: ignore[arg-type]


async def given_up(scanner: BluezScanner) -> None:
    starting = asyncio.create_task(scanner.start(ADAPTER))
    while not SlowDiscovery.runs:  # noqa: ASYNC110
        await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting


async def test_a_beginning_that_is_cancelled_keeps_no_other_from_beginning(
    scanner: BluezScanner,
) -> None:
    await given_up(scanner)
    SlowDiscovery.may_begin.set()
    await scanner.start(ADAPTER)
    assert scanner.listening
    await scanner.stop()
    assert not SlowDiscovery.runs


async def test_nor_does_one_that_takes_too_long(
    scanner: BluezScanner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bluez_scanner, "_TIMEOUT_S", 0.01)
    with pytest.raises(BluezError, match="no answer"):
        await scanner.start(ADAPTER)
    monkeypatch.setattr(bluez_scanner, "_TIMEOUT_S", 5.0)
    SlowDiscovery.may_begin.set()
    await scanner.start(ADAPTER)
    assert scanner.listening
    await scanner.stop()
