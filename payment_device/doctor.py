"""The terminal's doctor: its radio, its server, its machine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from payment_device import enrolment
from payment_device.agent import new_id
from payment_device.config import TerminalSettings
from payment_device.enrolment import EnrolmentError
from payment_device.lane_radio import LANE_INTERVAL_MS
from server.client import ServerClient, ServerUnreachableError
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
from twochannel.doctor.findings import Absent, Missing, Row, Unread
from twochannel.doctor.network_rules import server_rows
from twochannel.doctor.readings import AgentRadio, ServerReading
from twochannel.doctor.server import read_server
from twochannel.protocol.errors import CodedError
from twochannel.trace import wall_ms

_AGENT: Final = "payment-device"


async def examine(
    settings: TerminalSettings, state: Path, progress: Progress, *, quick: bool
) -> tuple[bool, list[Row]]:
    """Whether the agent runs, and every row. Raises StateFolderError, KeyStoreError."""
    with agent_kept_out(state) as alone:
        agent = NOT_RUNNING if alone else await asyncio.to_thread(_ask_agent, state)
        patient = Patient(
            state,
            settings.radio,
            LANE_INTERVAL_MS,
            agent,
            wifi=False,
            quick=quick,
            progress=progress,
        )
        rows = await air_rows(patient)
        rows += server_rows(await _server(settings, state))
        return not alone, rows + machine_rows(patient, system_clock_row())


def _ask_agent(state: Path) -> AgentRadio | Missing:
    try:
        status = ask(state, "GET", "/v1/status", agent=_AGENT)
    except (ControlError, CodedError) as error:
        return Unread(str(error))
    silent_ms = status["radio_silent_ms"]
    heard = "nothing heard yet" if silent_ms is None else f"heard an advert {silent_ms} ms ago"
    problem = "" if status["radio_working"] else f"the radio {status['radio']} does not work"
    return AgentRadio(problem, heard)


async def _server(settings: TerminalSettings, state: Path) -> ServerReading | Missing:
    try:
        pin = enrolment.load(state).pin
    except EnrolmentError as error:
        return Absent(str(error))
    signer = enrolment.keys_of(state, settings.keys).signer(enrolment.KEY_NAME)
    async with ServerClient(pin, signer, new_id=new_id, wall_ms=wall_ms) as client:
        return await read_server(client, ServerUnreachableError)
