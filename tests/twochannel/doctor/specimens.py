"""Readings of a fine machine, to be changed by each test in one thing."""

from __future__ import annotations

from twochannel.doctor.readings import AdapterReading, BluezReading, Hardware

#: Like a Raspberry Pi's: no extended advertising.
ADAPTER = AdapterReading(
    name="hci0",
    address="AA:AA:AA:AA:AA:01",
    powered=True,
    discovering=False,
    extended=False,
    intervals=True,
    monitors=True,
    active_adverts=0,
    free_slots=5,
    hardware=Hardware("manufacturer 15, hci revision 382", 15, 382),
)
BLUEZ = BluezReading((5, 66, 0), (ADAPTER,), ADAPTER)
