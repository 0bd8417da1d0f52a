"""The terminal as a running process: puts its parts together and keeps them going."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import uuid6

from payment_device import enrolment, pump_memory
from payment_device.config import TerminalSettings
from payment_device.dispenser import SocketDispenser
from payment_device.doors import Doors
from payment_device.enrolment import Enrolled
from payment_device.errands import Equipment, Errands
from payment_device.forecourt import Forecourt
from payment_device.fuel import Price
from payment_device.intents import FILE_NAME, Intents
from payment_device.lane_radio import LaneRadio, nowhere
from payment_device.neighbours import Neighbours, parse_address, read_key
from payment_device.orders import Lane
from payment_device.pump_memory import PumpMemory
from payment_device.receipts import ReceiptCheck
from payment_device.sightings import Sightings
from payment_device.simulated_pump import FOLDER as PUMP_FOLDER
from payment_device.terminal import Terminal
from server.client import ServerClient, ServerUnreachableError
from twochannel import advert_recording
from twochannel.advert_recording import AdvertRecording
from twochannel.changes import Changes
from twochannel.condition.radio import RadioCondition
from twochannel.condition.watch import ConditionWatch
from twochannel.control import SOCKET_NAME
from twochannel.metrics.page import serving_figures
from twochannel.mqtt.publishing import publishing
from twochannel.protocol.errors import CodedError
from twochannel.radio.backends import open_radio
from twochannel.state_folder import held
from twochannel.supervisor import supervised
from twochannel.trace import Trace, boot_id, software, wall_ms
from twochannel.trial_notes import TrialNotes

_log = logging.getLogger(__name__)

TRACE_NAME: Final = "trace.jsonl"
#: The server drops a connection that is idle for 75 s, the client for 60 s.
_KEEP_WARM_S: Final = 20.0


def new_id() -> str:
    """A fresh UUID of version 7."""
    return str(uuid6.uuid7())


class ServerLink:
    """Keeps the connection open that the next payment uses, and the offset to the server's time."""

    def __init__(self, client: ServerClient) -> None:
        self._client = client
        self.reachable = False

    async def run(self) -> None:
        while True:
            await self.knock()
            await asyncio.sleep(_KEEP_WARM_S)

    async def knock(self) -> None:
        """One request that costs the server nothing."""
        reached, reason = True, ""
        try:
            await self._client.synchronise()
        except (ServerUnreachableError, CodedError) as error:
            reached, reason = False, str(error)
        if reached is not self.reachable:
            self.reachable = reached
            _log.info("server_found" if reached else "server_lost", extra={"reason": reason})


class TerminalAgent:
    """The parts of one terminal. Build it inside a running event loop, then ``run`` it once."""

    def __init__(self, settings: TerminalSettings, state: Path) -> None:
        """Raises EnrolmentError, KeyStoreError, DatabaseError, OSError."""
        self._loop = asyncio.get_running_loop()
        self._enrolled = enrolment.load(state)
        signer = enrolment.keys_of(state, settings.keys).signer(enrolment.KEY_NAME)
        self._settings = settings
        self._state_folder = state
        self._changes = Changes()
        self._intents = Intents(state / FILE_NAME, self._mark_change)
        self._trace = Trace(
            "terminal", state / TRACE_NAME, boot=boot_id(), keep=settings.trace_keep
        )
        pin = self._enrolled.pin
        self._client = ServerClient(
            pin,
            signer,
            new_id=new_id,
            wall_ms=wall_ms,
            keep_pin=lambda pin: enrolment.keep_pin(state, pin),
        )
        sightings = Sightings(settings.rules)
        self._neighbours = self._share(sightings) if settings.neighbours else None
        recorded = state / advert_recording.FILE_NAME
        self._recording = AdvertRecording(recorded, settings.adverts_keep)
        self._hearing = RadioCondition(self._trace, settings.radio)
        self._condition = ConditionWatch(self._trace, state, self._hearing)
        self._radio = LaneRadio(
            lambda: open_radio(settings.radio),
            sightings,
            self._trace,
            settings.listen_s,
            self._neighbours.elsewhere if self._neighbours else nowhere,
            self._recording,
            self._hearing,
        )
        self._link = ServerLink(self._client)
        self._equipment = Equipment(
            self._client,
            self._intents,
            signer,
            ReceiptCheck(self._enrolled.terminal, lambda: self._client.pin.keys),
            self._radio,
            self._trace,
        )

    def _share(self, sightings: Sightings) -> Neighbours:
        """Raises NeighboursError."""
        return Neighbours(
            read_key(self._state_folder),
            self._enrolled.terminal,
            map(parse_address, self._settings.neighbours.split()),
            lambda: sightings.told_to_neighbours(time.monotonic()),
            self._client.now_ms,
        )

    async def run(self, socket: Path, ready: Callable[[dict[str, object]], None]) -> None:
        """Until SIGTERM or SIGINT. ``socket``: of the local API. Raises RadioError, OSError."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, stop.set)
        self._trace.event("agent_started", **software())
        with contextlib.closing(self._intents), self._trace, contextlib.closing(self._recording):
            async with (
                self._client,
                serving_figures(self._settings, self._trace, self._hearing),
                publishing(self._settings, self._trace),
                self._condition.running(),
                self._working() as terminal,
                self._pump(terminal) as forecourt,
                self._doors(terminal, forecourt).open(socket),
                self._supervised(),
            ):
                ready(_ready(self._enrolled))
                await stop.wait()
                _log.info("stopping")
            self._trace.event("agent_stopped")

    def _mark_change(self) -> None:
        """Called in whatever thread has changed a payment."""
        self._loop.call_soon_threadsafe(self._changes.mark)

    def _doors(self, terminal: Terminal, forecourt: Forecourt | None) -> Doors:
        return Doors(
            terminal,
            self._radio,
            self._changes,
            partial(self._status, terminal),
            self._settings,
            self._state_folder,
            forecourt,
            TrialNotes(self._trace, self._state_folder),
        )

    @contextlib.asynccontextmanager
    async def _pump(self, terminal: Terminal) -> AsyncIterator[Forecourt | None]:
        """The pump at this lane, looked after; None: there is none."""
        if not self._settings.pump_price:
            yield None
            return
        memory = PumpMemory(self._state_folder / pump_memory.FILE_NAME, self._mark_change)
        socket = self._state_folder / PUMP_FOLDER / SOCKET_NAME
        with contextlib.closing(memory):
            async with SocketDispenser(socket) as pump, asyncio.TaskGroup() as tasks:
                forecourt = Forecourt(
                    terminal,
                    self._radio,
                    pump,
                    memory,
                    Price.parse(self._settings.pump_price),
                    self._changes,
                    new_id=new_id,
                    now_s=lambda: int(time.time()),
                    patience_s=self._settings.pump_patience_s,
                    postpay_on_lift=self._settings.pump_postpay_on_lift,
                )
                running = tasks.create_task(forecourt.run(), name="pump")
                yield forecourt
                running.cancel()

    @contextlib.asynccontextmanager
    async def _working(self) -> AsyncIterator[Terminal]:
        """Radio, server connection and errands of a terminal that has swept its intents."""
        async with asyncio.TaskGroup() as tasks:
            always = [
                tasks.create_task(self._radio.run(), name="radio"),
                tasks.create_task(self._link.run(), name="server"),
            ]
            if self._neighbours is not None:
                listen = parse_address(self._settings.neighbours_listen)
                sharing = self._neighbours.run(listen)
                always.append(tasks.create_task(sharing, name="neighbours"))
            errands = Errands(tasks)
            terminal = self._terminal(errands)
            await self._radio.opened.wait()
            await terminal.sweep()
            try:
                yield terminal
            finally:
                errands.stop()
                for task in always:
                    task.cancel()

    def _terminal(self, errands: Errands) -> Terminal:
        enrolled = self._enrolled
        return Terminal(
            Lane(enrolled.terminal, enrolled.pin.server, enrolled.lane),
            self._equipment,
            errands,
            new_id=new_id,
            patience_s=self._settings.patience_s,
        )

    def _supervised(self) -> contextlib.AbstractAsyncContextManager[None]:
        patience_s = self._settings.radio_patience_s
        return supervised(self._state, lambda: self._radio.problem, patience_s)

    def _state(self) -> str:
        return f"Listening; the server {'answers' if self._link.reachable else 'does not answer'}."

    def _status(self, terminal: Terminal) -> dict[str, Any]:
        silent_s = self._radio.silent_s
        return {
            "terminal": self._enrolled.terminal,
            "lane": self._enrolled.lane,
            "merchant": self._enrolled.merchant.model_dump(),
            "server": self._enrolled.pin.server,
            "url": self._enrolled.pin.url,
            "server_reachable": self._link.reachable,
            "radio": self._settings.radio,
            "radio_problem": self._radio.problem,
            "radio_working": self._radio.working,
            "radio_silent_ms": None if silent_s is None else round(silent_s * 1000),
            "jacks_heard": sum(not jack.quiet for jack in self._radio.nearby()),
            "neighbours_heard": self._neighbours.lanes() if self._neighbours else None,
            "payment": terminal.at_the_lane(),
            "version": version("cigarjack"),
        }


async def run(
    settings: TerminalSettings, state: Path, ready: Callable[[dict[str, object]], None]
) -> None:
    """Run the terminal of ``state`` in the foreground.

    Raises StateFolderError, EnrolmentError, KeyStoreError, DatabaseError, RadioError, OSError.
    """
    with held(state) as socket:
        try:
            await TerminalAgent(settings, state).run(socket, ready)
        except BaseExceptionGroup as group:
            raise _first(group) from group


def _first(error: BaseException) -> BaseException:
    """The error itself, out of the groups that tasks wrap it in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _ready(enrolled: Enrolled) -> dict[str, object]:
    return {"event": "ready", "terminal": enrolled.terminal, "lane": enrolled.lane}
