"""An adapter is not left off, whoever gives up waiting for it to be on again.

bluetoothd answers here what it would if rfkill came in between, or nothing at all.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from twochannel.radio import bluez_names as names
from twochannel.radio import bluez_power
from twochannel.radio.bluez_adapters import Adapter
from twochannel.radio.bluez_power import AdapterPower
from twochannel.radio.bluez_refusals import NO_ANSWER, BluezError

ADAPTER = Adapter(
    path="/org/bluez/hci0", address="02:00:00:00:00:A1", powered=True, discovering=False
)


class Switch:
    """A bus with one adapter. ``refused``: how the next calls with that value end."""

    def __init__(self) -> None:
        self.calls: list[bool] = []
        self.refused: dict[bool, BluezError] = {}

    async def set_flag(self, path: str, interface: str, name: str, *, value: bool) -> None:
        assert (path, interface, name) == (ADAPTER.path, names.ADAPTER, names.POWERED)
        self.calls.append(value)
        await asyncio.sleep(0)
        if refusal := self.refused.get(value):
            raise refusal


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> Switch:
    monkeypatch.setattr(bluez_power, "_OFF_S", 0.05)
    return Switch()


def power_of(switch: Any) -> AdapterPower:
    return AdapterPower("bluez", switch)


async def test_off_and_on(switch: Switch) -> None:
    await power_of(switch).cycle(ADAPTER)
    assert switch.calls == [False, True]


@pytest.mark.parametrize("turns", [1, 2, 5])
async def test_on_again_though_the_caller_is_cancelled_at_any_moment(
    switch: Switch, turns: int
) -> None:
    power = power_of(switch)
    cycling = asyncio.create_task(power.cycle(ADAPTER))
    for _ in range(turns):
        await asyncio.sleep(0)
    cycling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cycling
    await power.settle()
    assert switch.calls == [False, True]


async def test_a_refusal_after_that_keeps_nobody_waiting(switch: Switch) -> None:
    switch.refused[True] = BluezError("bluez", "is blocked", names.BLOCKED)
    power = power_of(switch)
    cycling = asyncio.create_task(power.cycle(ADAPTER))
    await asyncio.sleep(0.01)
    cycling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cycling
    async with asyncio.timeout(5):
        await power.settle()


async def test_on_again_if_switching_off_had_no_answer(switch: Switch) -> None:
    switch.refused[False] = BluezError("bluez", NO_ANSWER)
    with pytest.raises(BluezError):
        await power_of(switch).cycle(ADAPTER)
    assert switch.calls == [False, True]


async def test_what_rfkill_keeps_off_is_not_asked_for(switch: Switch) -> None:
    blocked = Adapter(
        path=ADAPTER.path, address=ADAPTER.address, powered=False, discovering=False, blocked=True
    )
    with pytest.raises(BluezError, match="rfkill unblock bluetooth"):
        await power_of(switch).on(blocked)
    assert switch.calls == []
