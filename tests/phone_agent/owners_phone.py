"""A phone on a fresh folder, enrolled and paired, running in this process."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cigarjack.client import JackPin
from cigarjack.pairing_rules import Owner
from phone_agent import identity as identities
from phone_agent.agent import run
from phone_agent.config import PhoneSettings
from phone_agent.database import FILE_NAME, Database
from phone_agent.ledger import KeptPayment, Ledger
from phone_agent.wallet import KeptJack, KeptMethod, Limit, Wallet
from tests.cigarjack.parties import LANE_NONCE, Jack, new_id
from tests.phone_agent.scripted_server import ScriptedServer
from twochannel.control import ask
from twochannel.protocol.lane import SERVICE_UUID, LaneFrame
from twochannel.protocol.money import Amount
from twochannel.radio.port import Sighting
from twochannel.state_folder import make

LOOPBACK = "127.0.0.1"
#: Nothing listens there: the phone has to find the jack by mDNS.
NOWHERE = 9
DEADLINE_S = 15.0


def drop_methods(wallet: Wallet) -> None:
    for method in wallet.methods():
        wallet.drop_method(method.id)


def hear_lane(jack: Jack) -> None:
    """The jack hears the lane that the scripted challenges speak of."""
    data = LaneFrame(LANE_NONCE).encode()
    jack.ear.take(Sighting("00:00:00:00:00:01", SERVICE_UUID, data, -50, time.monotonic()))


@dataclass
class OwnersPhone:
    """``state``: its folder. The wallet may be changed while the agent runs."""

    state: Path

    def __post_init__(self) -> None:
        make(self.state)
        self.identity = identities.create(self.state)

    @property
    def id(self) -> str:
        return self.identity.phone

    def wallet(self, change: Callable[[Wallet], object]) -> None:
        with Database.open(self.state / FILE_NAME) as database:
            change(Wallet(database))

    def payment(self, payment: str) -> KeptPayment:
        with Database.open(self.state / FILE_NAME) as database:
            return Ledger(database).payment(payment)

    def pair(
        self, jack: Jack, server: ScriptedServer, port: int = NOWHERE, epoch: int = 1
    ) -> JackPin:
        """Pair without the ceremony; the link key is fresh, so that no other test's jack fits."""
        link_key = secrets.token_bytes(32)
        identity = server.party.identity()
        jack.adopt(Owner(self.id, self.identity.certificate, identity, link_key, epoch))
        key = jack.identity.signer.key.jwk
        pin = JackPin(jack.id, key, jack.identity.certificate, link_key, epoch)
        self.wallet(lambda w: w.keep_jack(KeptJack(pin, LOOPBACK, port, "a.b.c", True)))
        return pin

    def prepare(self, server: ScriptedServer) -> None:
        """Pin the server, own a card, and let `cafe` have 20.00 EUR."""
        self.wallet(lambda w: w.pin_server(server.pin))
        self.wallet(lambda w: w.keep_method(KeptMethod(new_id(), "Card", "a.b.c", True)))
        limit = Limit("cafe", Amount(value=2000, currency="EUR"))
        self.wallet(lambda w: w.allow(limit))

    @asynccontextmanager
    async def running(self, **settings: Any) -> AsyncIterator[asyncio.Task[None]]:
        """The agent while the block runs. What ended it before is raised at the end."""
        started: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        options = PhoneSettings(**({"interfaces": (LOOPBACK,)} | settings))
        agent = asyncio.create_task(run(self.state, options, started.set_result))
        both: set[asyncio.Future[Any]] = {agent, started}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if agent.done():
            agent.result()
        try:
            yield agent
        finally:
            agent.cancel()
            with suppress(asyncio.CancelledError):
                await agent

    async def command(self, method: str, path: str) -> dict[str, Any]:
        """What a command of the owner asks the running agent."""
        return await asyncio.to_thread(ask, self.state, method, path, agent="phone-agent")

    def traced(self, event: str, payment: str | None = None) -> list[dict[str, Any]]:
        path = self.state / "trace.jsonl"
        lines = map(json.loads, path.read_text().splitlines() if path.exists() else [])
        return [
            line
            for line in lines
            if line["event"] == event and (payment is None or line["payment"] == payment)
        ]

    async def until_traced(
        self, event: str, payment: str | None = None, count: int = 1
    ) -> dict[str, Any]:
        """The ``count``-th such event."""
        await eventually(lambda: len(self.traced(event, payment)) >= count, event)
        return self.traced(event, payment)[count - 1]


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition with a deadline."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110  # files have no event to wait for
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"did not come to pass: {what}") from None
