"""What is asked of bluetoothd to end adverts that nobody owns, and what its refusals lead to."""

from __future__ import annotations

from typing import Any

import pytest
from dbus_fast.service import ServiceInterface

from twochannel.radio import bluez_names as names
from twochannel.radio.bluez_adapters import Adapter
from twochannel.radio.bluez_advertisement import EmptyAdvertisement
from twochannel.radio.bluez_advertiser import AdvertSlot
from twochannel.radio.bluez_refusals import NO_ANSWER, BluezError
from twochannel.radio.port import Broadcast

ADAPTER = Adapter(
    path="/org/bluez/hci0", address="02:00:00:00:00:A1", powered=True, discovering=False
)
BEACON = Broadcast(0xFEAA, b"\x30\x00" + bytes(8), 100)
FREE = 5


class Bluetoothd:
    """A bus whose bluetoothd has so many free slots. ``refusal``: of the one after ``takes``."""

    def __init__(self) -> None:
        self.offered: dict[str, ServiceInterface] = {}
        self.has: dict[str, ServiceInterface] = {}
        self.had: list[ServiceInterface] = []
        self.takes = FREE
        self.refusal: BluezError | None = None

    def export(self, path: str, interface: ServiceInterface) -> None:
        self.offered[path] = interface

    def withdraw(self, path: str) -> None:
        self.offered.pop(path, None)

    async def properties(self, path: str, interface: str) -> dict[str, Any]:
        assert (path, interface) == (ADAPTER.path, names.ADVERTISING_MANAGER)
        return {names.SUPPORTED_INSTANCES: FREE - len(self.has)}

    async def call(
        self, path: str, interface: str, method: str, *body: Any, signature: str
    ) -> None:
        assert (path, interface) == (ADAPTER.path, names.ADVERTISING_MANAGER)
        if method == names.UNREGISTER:
            if self.has.pop(body[0], None) is None:
                raise BluezError("bluez", "has no such advert", names.DOES_NOT_EXIST)
        elif len(self.had) == self.takes and self.refusal:
            raise self.refusal
        else:
            self.has[body[0]] = self.offered[body[0]]
            self.had.append(self.offered[body[0]])


def slot_of(bluetoothd: Any) -> AdvertSlot:
    return AdvertSlot(bluetoothd, lambda: None)


async def test_every_number_is_taken_once_by_an_advert_that_says_nothing() -> None:
    bluetoothd = Bluetoothd()
    slot = slot_of(bluetoothd)
    assert not slot.on_air
    await slot.sweep(ADAPTER)
    assert [type(one) for one in bluetoothd.had] == [EmptyAdvertisement] * FREE
    assert (bluetoothd.has, bluetoothd.offered, slot.registered) == ({}, {}, 0)
    assert slot.on_air


async def test_what_is_on_the_air_stays_there_meanwhile() -> None:
    bluetoothd = Bluetoothd()
    slot = slot_of(bluetoothd)
    await slot.put(ADAPTER, BEACON)
    slot.wanted = BEACON
    await slot.sweep(ADAPTER)
    assert len(bluetoothd.had) == FREE
    assert (len(bluetoothd.has), slot.registered) == (1, 1)


@pytest.mark.parametrize("error_name", [names.NOT_PERMITTED, names.FAILED])
async def test_refused_because_another_takes_them_too_it_is_left_at_that(error_name: str) -> None:
    bluetoothd = Bluetoothd()
    bluetoothd.takes, bluetoothd.refusal = 2, BluezError("bluez", "is refused", error_name)
    slot = slot_of(bluetoothd)
    await slot.sweep(ADAPTER)
    assert len(bluetoothd.had) == 2
    assert (bluetoothd.has, slot.registered, slot.on_air) == ({}, 0, True)


async def test_without_an_answer_it_is_done_again() -> None:
    bluetoothd = Bluetoothd()
    bluetoothd.takes, bluetoothd.refusal = 2, BluezError("bluez", NO_ANSWER)
    slot = slot_of(bluetoothd)
    with pytest.raises(BluezError):
        await slot.sweep(ADAPTER)
    assert (bluetoothd.has, slot.swept, slot.on_air) == ({}, False, False)


async def test_after_its_adapter_was_off_it_is_done_again() -> None:
    slot = slot_of(Bluetoothd())
    slot.wanted = BEACON

    async def put() -> bool:
        await slot.put(ADAPTER, BEACON)
        return slot.on_air

    await slot.sweep(ADAPTER)
    assert await put()
    slot.darken()
    assert not await put()
    await slot.sweep(ADAPTER)
    assert await put()
