"""The jack's doctor: its radio, Wi-Fi and mDNS, its clock, its machine."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, Final

from zeroconf import InterfaceChoice, IPVersion
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from cigarjack import clock_rules
from cigarjack.announcement import INSTANCE_BYTES, SERVICE_TYPE, Announcement, Notice
from cigarjack.beaconing import INTERVAL_MS
from cigarjack.config import COMMAND, JackSettings, StateFolder
from cigarjack.memory import Memory
from twochannel.control import ControlError, ask
from twochannel.doctor.examination import (
    NOT_RUNNING,
    Patient,
    Progress,
    agent_kept_out,
    air_rows,
    machine_rows,
)
from twochannel.doctor.findings import Absent, Missing, Refused, Row, Unread
from twochannel.doctor.machine_rules import trust_row
from twochannel.doctor.network_rules import mdns_row
from twochannel.doctor.readings import AgentRadio
from twochannel.protocol.errors import CodedError
from twochannel.trace import boot_id

#: An announcement is sent three times within a second.
_LOOK_S: Final = 5.0
_NOT_INITIALISED: Final = Absent("not initialised yet: cigarjack init")


async def examine(
    settings: JackSettings, folder: StateFolder, progress: Progress, *, quick: bool
) -> tuple[bool, list[Row]]:
    """Whether the jack runs, and every row. Raises StateFolderError, StorageError."""
    with agent_kept_out(folder.path) as alone:
        status = None if alone else await asyncio.to_thread(_status, folder)
        patient = Patient(
            folder.path,
            settings.radio,
            INTERVAL_MS,
            NOT_RUNNING if status is None else _radio(status),
            wifi=True,
            quick=quick,
            progress=progress,
        )
        rows = await air_rows(patient)
        rows.append(mdns_row(await _hears_itself(settings, progress, quick=quick)))
        trusted = _kept_trust(settings, folder) if status is None else _trust(status)
        return not alone, rows + machine_rows(patient, trust_row(trusted))


def _status(folder: StateFolder) -> dict[str, Any] | Unread:
    try:
        return ask(folder.path, "GET", "/v1/status", agent=COMMAND)
    except (ControlError, CodedError) as error:
        return Unread(str(error))


def _radio(status: dict[str, Any] | Unread) -> AgentRadio | Missing:
    if isinstance(status, Unread):
        return status
    on_air = "on the air" if status["broadcasting"] else f"silent: {status['silent_because']}"
    heard = f"{status['adverts_heard']} adverts of agents heard"
    return AgentRadio(str(status["radio_problem"] or ""), f"{on_air}, {heard}")


def _trust(status: dict[str, Any] | Unread) -> bool | Missing:
    return status if isinstance(status, Unread) else status["clock"] == "trusted"


def _kept_trust(settings: JackSettings, folder: StateFolder) -> bool | Missing:
    """Whether the jack would know the time if it started now."""
    if not Memory.initialised(folder.memory):
        return _NOT_INITIALISED
    with Memory(folder.memory) as memory:
        state = clock_rules.restored(memory.clock(), settings.boot_id or boot_id())
    return state.offset_ms is not None


async def _hears_itself(
    settings: JackSettings, progress: Progress, *, quick: bool
) -> str | Refused | Missing:
    """Announce something that no phone takes for its jack, and listen for it."""
    if quick:
        return Unread("not tried: --quick")
    progress("Announcing by mDNS", _LOOK_S)
    instance = secrets.token_hex(INSTANCE_BYTES)
    listener = None
    try:
        listener = AsyncZeroconf(
            interfaces=list(settings.interfaces) or InterfaceChoice.All,
            ip_version=IPVersion.V4Only,
        )
        async with Announcement(instance, settings.interfaces) as announcement:
            await announcement.tell(Notice())
            info = AsyncServiceInfo(SERVICE_TYPE, f"{instance}.{SERVICE_TYPE}")
            heard = await info.async_request(listener.zeroconf, _LOOK_S * 1000)
    except OSError as error:
        return Refused(f"multicast does not work here ({error.strerror})", "connect a network")
    finally:
        if listener is not None:
            await listener.async_close()
    if not heard:
        do = "let UDP port 5353 to 224.0.0.251 pass the firewall, and connect a network"
        return Refused(f"its own announcement did not come back in {_LOOK_S:.0f} s", do)
    return "hears itself at " + ", ".join(info.parsed_addresses())
