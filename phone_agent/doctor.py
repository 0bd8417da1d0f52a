"""The phone's doctor: its radio if it has one, Wi-Fi and jacks, its server, its machine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from phone_agent import identity
from phone_agent.agent import new_id
from phone_agent.config import PhoneSettings
from phone_agent.database import FILE_NAME, Database
from phone_agent.jack_finder import JackFinder
from phone_agent.wallet import KeptJack, Wallet
from server.client import ServerClient, ServerPin, ServerUnreachableError
from twochannel.control import ControlError, ask
from twochannel.doctor.examination import (
    NOT_RUNNING,
    Patient,
    Progress,
    agent_kept_out,
    air_rows,
    machine_rows,
    system_clock_row,
)
from twochannel.doctor.findings import Absent, Missing, Refused, Row, Unread
from twochannel.doctor.network_rules import mdns_row, server_rows
from twochannel.doctor.readings import AgentRadio, ServerReading
from twochannel.doctor.server import read_server
from twochannel.protocol.errors import CodedError
from twochannel.trace import wall_ms

_AGENT: Final = "phone-agent"
#: A phone advertises nothing but the call of its jack, at the interval of a beacon.
_INTERVAL_MS: Final = 100
#: Announcements are answered within a second or so; a sleeping access point takes some more.
_LOOK_S: Final = 5.0


async def examine(
    settings: PhoneSettings, state: Path, progress: Progress, *, quick: bool
) -> tuple[bool, list[Row]]:
    """Whether the agent runs, and every row.

    Raises StateFolderError, DatabaseError, KeyStoreError.
    """
    with agent_kept_out(state) as alone, Database.open(state / FILE_NAME) as database:
        wallet = Wallet(database)
        agent = NOT_RUNNING if alone else await asyncio.to_thread(_ask_agent, state)
        patient = Patient(
            state,
            settings.radio,
            _INTERVAL_MS,
            agent,
            wifi=True,
            quick=quick,
            progress=progress,
        )
        rows = await air_rows(patient)
        rows.append(mdns_row(await _jacks(settings, wallet.jacks(), progress, quick=quick)))
        rows += server_rows(await _server(settings, state, wallet.server()))
        return not alone, rows + machine_rows(patient, system_clock_row())


def _ask_agent(state: Path) -> AgentRadio | Missing:
    try:
        status = ask(state, "GET", "/v1/status", agent=_AGENT)
    except (ControlError, CodedError) as error:
        return Unread(str(error))
    return AgentRadio(str(status.get("radio_problem") or ""), "it tells no problem")


async def _jacks(
    settings: PhoneSettings, jacks: list[KeptJack], progress: Progress, *, quick: bool
) -> str | Refused | Missing:
    """Where the paired jacks are announced."""
    if not jacks:
        return Absent("no jack is paired: phone-agent pair 'CJ1:…'")
    if quick:
        return Unread("not looked for: --quick")
    progress("Looking for the paired jacks", _LOOK_S)
    try:
        async with JackFinder(settings.interfaces) as finder:
            return await _found(finder, jacks)
    except OSError as error:
        return Refused(f"multicast does not work here ({error.strerror})", "connect a network")


async def _found(finder: JackFinder, jacks: list[KeptJack]) -> str | Refused:
    def unseen() -> list[KeptJack]:
        return [jack for jack in jacks if not finder.candidates(jack.pin.link_key)]

    try:
        async with asyncio.timeout(_LOOK_S):
            while unseen():
                await finder.change()
    except TimeoutError:
        missing = ", ".join(jack.pin.jack[:8] for jack in unseen())
        return Refused(f"not seen in {_LOOK_S:.0f} s: {missing}")
    places = [finder.candidates(jack.pin.link_key)[0] for jack in jacks]
    return "seen at " + ", ".join(f"{host}:{port}" for host, port in places)


async def _server(
    settings: PhoneSettings, state: Path, pin: ServerPin | None
) -> ServerReading | Missing:
    if pin is None:
        return Absent("not enrolled yet: phone-agent enroll URL CODE")
    signer = identity.load(state, settings.keys).signer
    async with ServerClient(pin, signer, new_id=new_id, wall_ms=wall_ms) as client:
        return await read_server(client, ServerUnreachableError)
