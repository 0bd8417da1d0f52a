"""PURE. The rows of a radio, from what bluetoothd and the kernel say of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from twochannel.doctor import catalogue
from twochannel.doctor.findings import Absent, Missing, Refused, Row, Unread, judged
from twochannel.doctor.readings import (
    AdapterReading,
    AgentRadio,
    BluezReading,
    Hardware,
    RfkillSwitch,
)

_OF_AN_ADAPTER: Final = (
    *(catalogue.FIRMWARE, catalogue.POWERED, catalogue.EXPERIMENTAL, catalogue.SLOTS),
)
#: Broadcom and Cypress (Bluetooth SIG, Assigned Numbers). The low bits of their HCI_Revision are
#: the build of their firmware file, zero before that is loaded (Linux, drivers/bluetooth/btbcm.c).
_LOADED_BY_BTBCM: Final = (15, 305)
_BUILD_BITS: Final = 0x0FFF
_LOAD_FIRMWARE: Final = (
    "sudo apt install --reinstall bluez-firmware (on Ubuntu linux-firmware-raspi), and switch the "
    "machine off and on; `sudo dmesg | grep BCM` names the file that was looked for"
)
BLUEZ_CHECKS: Final = (
    *(catalogue.SERVICE, catalogue.PAIR, catalogue.RFKILL, catalogue.ADAPTER, *_OF_AN_ADAPTER),
)


def without_bluez(why: Missing) -> list[Row]:
    """The rows of BlueZ for a radio that does not use it."""
    return [check.missing(why) for check in BLUEZ_CHECKS]


def refused(error: str) -> Refused:
    """An error's sentence, which says what happened, a colon, and what to do."""
    what, colon, do = error.strip().rstrip(".").rpartition(": ")
    return Refused(what, do) if colon else Refused(do)


def service_row(reading: BluezReading | Refused | Missing) -> Row:
    return judged(catalogue.SERVICE, reading, lambda _known: catalogue.SERVICE.ok("it runs"))


def adapter_row(reading: BluezReading, wanted: str) -> Row:
    if (adapter := reading.chosen) is not None:
        return catalogue.ADAPTER.ok(f"{adapter.name}, {adapter.address}", adapter.address)
    there = ", ".join(f"{known.name} ({known.address})" for known in reading.adapters)
    return catalogue.ADAPTER.failing(f'no adapter "{wanted}"; there are: {there or "none"}')


def firmware_row(adapter: AdapterReading) -> Row:
    def rule(known: Hardware) -> Row:
        patched = known.revision is None or known.revision & _BUILD_BITS
        if known.manufacturer in _LOADED_BY_BTBCM and not patched:
            return catalogue.FIRMWARE.warning(
                f"{known.told}: no firmware file was loaded into it", do=_LOAD_FIRMWARE
            )
        return catalogue.FIRMWARE.ok(known.told)

    return judged(catalogue.FIRMWARE, adapter.hardware, rule)


def rfkill_row(switches: Sequence[RfkillSwitch] | Missing) -> Row:
    def rule(known: Sequence[RfkillSwitch]) -> Row:
        hard = ", ".join(switch.name for switch in known if switch.hard)
        if hard:
            do = "switch it on with the machine's own key or switch, or in its set-up"
            return catalogue.RFKILL.failing(f"hard blocked: {hard}", "hard", do)
        soft = ", ".join(switch.name for switch in known if switch.soft)
        if soft:
            return catalogue.RFKILL.failing(f"soft blocked: {soft}", "soft")
        return catalogue.RFKILL.ok("not blocked")

    return judged(catalogue.RFKILL, switches, rule)


def powered_row(adapter: AdapterReading) -> Row:
    scan = "scanning" if adapter.discovering else "not scanning"
    if adapter.powered:
        return catalogue.POWERED.ok(f"on, {scan}", value=True)
    return catalogue.POWERED.warning("off", value=False)


def experimental_row(adapter: AdapterReading) -> Row:
    parts = {"advertising intervals": adapter.intervals, "monitors": adapter.monitors}
    missing = " and ".join(name for name, there in parts.items() if not there)
    if missing:
        return catalogue.EXPERIMENTAL.failing(f"no {missing}", value=False)
    return catalogue.EXPERIMENTAL.ok("intervals and monitors", value=True)


def slots_row(adapter: AdapterReading, *, agent_running: bool) -> Row:
    found = f"{adapter.active_adverts} in use, {adapter.free_slots} free"
    others = adapter.active_adverts - (1 if agent_running else 0)
    if not adapter.free_slots and others > 0:
        return catalogue.SLOTS.failing(found, adapter.free_slots)
    if others > 0:
        return catalogue.SLOTS.warning(found, adapter.free_slots)
    return catalogue.SLOTS.ok(found, adapter.free_slots)


def agent_row(agent: AgentRadio | Missing) -> Row:
    def rule(known: AgentRadio) -> Row:
        if known.problem:
            return judged(catalogue.AGENT, refused(known.problem), catalogue.AGENT.ok)
        return catalogue.AGENT.ok(known.detail)

    return judged(catalogue.AGENT, agent, rule)


def opens_row(opened: str | Refused | Missing) -> Row:
    return judged(catalogue.OPENS, opened, catalogue.OPENS.ok)


def witness_among(reading: BluezReading) -> AdapterReading | None:
    """An adapter that hears what the chosen one sends, and that nobody else needs just now."""
    chosen = reading.chosen
    idle = (adapter for adapter in reading.adapters if adapter is not chosen and adapter.idle)
    return next(idle, None) if chosen is not None else None


def adapter_rows(reading: BluezReading | Unread, wanted: str, *, agent_running: bool) -> list[Row]:
    """Adapter, firmware, power, experimental interfaces, slots; without an adapter, why not."""
    if isinstance(reading, Unread):
        return [check.missing(reading) for check in (catalogue.ADAPTER, *_OF_AN_ADAPTER)]
    adapter = reading.chosen
    if adapter is None:
        why = Unread("there is no adapter")
        return [adapter_row(reading, wanted), *(check.missing(why) for check in _OF_AN_ADAPTER)]
    return [
        adapter_row(reading, wanted),
        firmware_row(adapter),
        powered_row(adapter),
        experimental_row(adapter),
        slots_row(adapter, agent_running=agent_running),
    ]


NO_RADIO: Final = Absent("no radio is set")
