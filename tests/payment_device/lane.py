"""A lane in memory: a radio that hears what the test says, and a terminal on a real disk."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from payment_device.errands import Equipment, Errands
from payment_device.intents import FILE_NAME, Intents
from payment_device.lane_radio import LaneRadio
from payment_device.orders import Charge, Lane
from payment_device.receipts import ReceiptCheck
from payment_device.sightings import LaneRules, Sightings
from payment_device.terminal import Terminal
from server.client import ServerClient, ServerPin
from tests.payment_device.scripted_server import LANE, ScriptedServer, new_id
from twochannel.changes import Changes
from twochannel.keystore.file import FileSigner
from twochannel.protocol import beacon
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.lane import LaneFrame
from twochannel.protocol.money import Amount
from twochannel.protocol.payment import Status
from twochannel.radio.port import (
    Broadcast,
    Central,
    Health,
    Peripheral,
    RadioError,
    Sighting,
)
from twochannel.radio.sighting_stream import SightingStream
from twochannel.trace import Trace, wall_ms

CODE = bytes.fromhex("0123456789abcdef")


class MemoryRadio:
    """An adapter that broadcasts into a list and hears what is put into it."""

    def __init__(self, air: Air) -> None:
        self.name = "memory"
        self.advertiser = self
        self.scanner = self
        self.lost = 0
        self.last_heard_at_s: float | None = None
        self.health = Health(ok=True, detail="", since_s=time.monotonic())
        self._air = air
        self._stream = SightingStream()

    @property
    def peripheral(self) -> Peripheral:
        raise RadioError("a lane makes no links")

    @property
    def central(self) -> Central:
        raise RadioError("a lane makes no links")

    async def __aenter__(self) -> MemoryRadio:
        if self._air.unplugged:
            raise RadioError("the adapter is not there")
        self._air.radio = self
        return self

    async def __aexit__(self, *failure: object) -> None:
        self._stream.end()

    async def broadcast(self, broadcast: Broadcast) -> None:
        if self._air.unplugged:
            raise RadioError("the adapter went away")
        self._air.on_air.append(broadcast)

    async def silence(self) -> None:
        self._air.on_air.append(None)

    def sightings(self) -> SightingStream:
        return self._stream

    def hear(self, sighting: Sighting) -> None:
        self.last_heard_at_s = sighting.heard_at_s
        self._stream.put(sighting)

    @property
    def equipment(self) -> None:
        return None

    def report(self, told: Callable[[Health], None]) -> None:
        """It is well until it is lost, which whoever listens is told."""

    def lose(self) -> None:
        self._stream.end("the adapter went away")


@dataclass
class Air:
    """What the lane's radios heard and sent. ``on_air``: broadcasts, None for silence."""

    radio: MemoryRadio | None = None
    on_air: list[Broadcast | None] = field(default_factory=list)
    unplugged: bool = False

    def jack(self, code: bytes = CODE, rssi_dbm: int = -55, seconds: float = 2.0) -> None:
        """A jack that has been standing there for some seconds."""
        assert self.radio is not None
        now_s = time.monotonic()
        frame = beacon.BeaconFrame(0, code).encode()
        for number in range(round(seconds * 10), -1, -1):
            heard_at_s = now_s - number / 10
            self.radio.hear(Sighting("", beacon.SERVICE_UUID, frame, rssi_dbm, heard_at_s))

    @asynccontextmanager
    async def standing(
        self, *jacks: tuple[bytes, int], seconds: float = 2.0, swing_db: int = 0
    ) -> AsyncIterator[None]:
        """Jacks (code, RSSI) that have stood there for ``seconds`` and stay while the block runs.

        0: those that were heard before and stay on; with more they would be heard twice.
        ``swing_db``: by how much all are weaker in every other second.
        """

        async def stay() -> None:
            for tenths in itertools.count():
                await asyncio.sleep(0.1)
                lower_db = tenths // 10 % 2 * swing_db
                for code, rssi_dbm in jacks:
                    self.jack(code, rssi_dbm - lower_db, seconds=0)

        for code, rssi_dbm in jacks:
            self.jack(code, rssi_dbm, seconds)
        staying = asyncio.create_task(stay())
        yield
        staying.cancel()

    def nonces(self) -> list[bytes]:
        """The lane nonces that were broadcast, in order."""
        frames = [sent.service_data for sent in self.on_air if sent is not None]
        return [LaneFrame.decode(frame).nonce for frame in frames]


@dataclass
class Bench:
    """A running terminal with its parts."""

    terminal: Terminal
    intents: Intents
    radio: LaneRadio
    client: ServerClient
    air: Air
    trace: Path
    changes: Changes

    async def charge(self, reference: str = "r-1", **changes: Any) -> dict[str, Any]:
        return await self.terminal.charge(order(reference, **changes))

    def events(self) -> list[str]:
        return [line["event"] for line in self.trace_lines()]

    def trace_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.trace.read_text().splitlines()]


def order(reference: str = "r-1", **changes: Any) -> Charge:
    members = {"amount": {"value": 450, "currency": "EUR"}, "reference": reference, "wait_s": 20}
    return Charge.read(members | changes)


@asynccontextmanager
async def terminal_at(
    state: Path,
    pin: ServerPin,
    signer: FileSigner,
    air: Air,
    *,
    patience_s: float = 20.0,
) -> AsyncIterator[Bench]:
    """A terminal in ``state`` while the block runs; on leaving, open errands are just dropped."""
    trace = Trace("terminal", state / "trace.jsonl", boot="boot")
    changes, loop = Changes(), asyncio.get_running_loop()

    def changed() -> None:
        loop.call_soon_threadsafe(changes.mark)

    with closing(Intents(state / FILE_NAME, changed)) as intents, trace:
        radio = LaneRadio(lambda: MemoryRadio(air), Sightings(LaneRules()), trace, listen_s=0.3)
        client = ServerClient(pin, signer, new_id=new_id, wall_ms=wall_ms)
        check = ReceiptCheck(signer.key.kid, lambda: client.pin.keys)
        equipment = Equipment(client, intents, signer, check, radio, trace)
        async with client, asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(radio.run())
            errands = Errands(tasks)
            where = Lane(signer.key.kid, pin.server, LANE)
            terminal = Terminal(where, equipment, errands, new_id=new_id, patience_s=patience_s)
            await radio.opened.wait()
            await terminal.sweep()
            try:
                trace_file = state / "trace.jsonl"
                yield Bench(terminal, intents, radio, client, air, trace_file, changes)
            finally:
                changes.close()
                errands.stop()
                listening.cancel()


def euros(value: int) -> Amount:
    return Amount(value=value, currency="EUR")


def refused(code: ErrorCode) -> Any:
    return pytest.raises(CodedError, match=code.value)


async def held(lane: Bench, server: ScriptedServer) -> str:
    """The id of a payment that holds 80.00."""
    server.outcome = Status.AUTHORIZED
    amount = {"value": 8000, "currency": "EUR"}
    payment = await lane.charge("pump", amount=amount, capture="manual")
    assert (payment["status"], payment["paid"]) == ("authorized", True)
    return str(payment["id"])


async def until(holds: Callable[[], bool]) -> None:
    """Look whenever the event loop has had time to do something, up to a deadline."""
    deadline_s = time.monotonic() + 20
    while not holds():
        if time.monotonic() > deadline_s:
            raise TimeoutError
        await asyncio.sleep(0.005)
