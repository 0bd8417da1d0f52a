"""What a phone does when its first connection to a jack breaks. The rest is in tests/car."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bleak.exc import BleakDBusError

from twochannel.radio.bluez_link import _at_second_try
from twochannel.radio.port import LinkError

#: What a kernel answers that has not let go of the last connection yet, as bluetoothd tells it.
BUSY = BleakDBusError("org.bluez.Error.Failed", ["Input/output error"])


class Visit:
    """A connection that breaks once, to a kernel that lets go of it some time later."""

    address = "02:00:00:00:00:01"

    def __init__(self, lets_go_after_s: float) -> None:
        self.link: Any = object()
        self._lets_go_after_s = lets_go_after_s
        self._free_at_s = 0.0
        self._broke = False

    async def make(self) -> Any:
        if not self._broke:
            self._broke = True
            raise LinkError("the connection has ended")
        if asyncio.get_running_loop().time() < self._free_at_s:
            raise BUSY
        return self.link

    async def hang_up(self) -> None:
        self._free_at_s = asyncio.get_running_loop().time() + self._lets_go_after_s


async def test_the_second_attempt_comes_when_the_kernel_has_let_go() -> None:
    visit: Any = Visit(lets_go_after_s=0.1)
    assert await _at_second_try(visit) is visit.link


async def test_there_is_no_third() -> None:
    visit: Any = Visit(lets_go_after_s=60)
    with pytest.raises(BleakDBusError):
        await _at_second_try(visit)
