"""The running phone: events of the server, care of the jacks, the owner's answers."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uuid6 import uuid7

from cigarjack.client import JackClientError
from phone_agent.approvals import Approvals
from phone_agent.config import PhoneSettings
from phone_agent.confirmations import Confirmations
from phone_agent.database import FILE_NAME, Database
from phone_agent.family import Family
from phone_agent.identity import PhoneIdentity, load
from phone_agent.instructions import Instructions
from phone_agent.jack_care import JackCare
from phone_agent.jack_finder import Endpoint, JackFinder
from phone_agent.jack_radio import JackRadio, listening
from phone_agent.ledger import Ledger
from phone_agent.local_api import local_api, payment_view
from phone_agent.owed import Owed
from phone_agent.page import serving_pages
from phone_agent.page_certificate import certificate_shown
from phone_agent.pairing_errand import PairingErrand
from phone_agent.registration import Registration
from phone_agent.screen import TerminalScreen, terminal
from phone_agent.wallet import Wallet
from server.client import ServerClient, ServerEvent, ServerPin, ServerUnreachableError
from twochannel import advert_recording
from twochannel.advert_recording import AdvertRecording, told
from twochannel.condition.radio import RadioCondition
from twochannel.condition.watch import ConditionWatch
from twochannel.metrics.page import serving_figures
from twochannel.mqtt.publishing import publishing
from twochannel.pages.door import Doorway
from twochannel.protocol.errors import PROBLEMS, CodedError, ErrorCode
from twochannel.protocol.statements import Decision
from twochannel.serving import Address, serve
from twochannel.state_folder import held
from twochannel.supervisor import supervised
from twochannel.trace import Trace, boot_id, software, wall_ms
from twochannel.trial_notes import TrialNotes

_log = logging.getLogger(__name__)


class AgentError(Exception):
    """The agent cannot go on. The text says what to do next."""


class NotEnrolledError(AgentError):
    """There is no server to talk to."""


def new_id() -> str:
    """A fresh id of a statement: UUID version 7."""
    return str(uuid7())


@dataclass(eq=False)
class Agent:
    """Implements ``local_api.RunningAgent`` and ``situation.PagedAgent``."""

    identity: PhoneIdentity
    server: ServerClient
    wallet: Wallet
    ledger: Ledger
    registration: Registration
    instructions: Instructions
    jacks: JackCare
    approvals: Approvals
    pairing: PairingErrand
    trace: Trace
    notes: TrialNotes
    radio: JackRadio | None = None
    connected: bool = False
    doorway: Doorway | None = None
    _sweep: asyncio.Task[None] | None = None
    _unswept: bool = False

    def status(self) -> dict[str, Any]:
        open_payments = (kept.id for kept in self.ledger.open_payments())
        return {
            "phone": self.identity.phone,
            "server": {"url": self.server.pin.url, "connected": self.connected},
            "jacks": self.jacks.report(),
            "radio_problem": self.problem(),
            "waiting": [payment for payment in open_payments if self.approvals.question(payment)],
        }

    def problem(self) -> str | None:
        """Why its radio cannot do its work now; None if it can, or if there is none."""
        return self.radio.problem if self.radio else None

    def condition(self, folder: Path) -> ConditionWatch:
        """Of this agent. ``folder``: its state."""
        return ConditionWatch(self.trace, folder, self.radio.condition if self.radio else None)

    def state(self) -> str:
        """What the phone does, in a sentence."""
        return f"{'Connected to' if self.connected else 'Looking for'} {self.server.pin.url}."

    def payments(self) -> list[dict[str, Any]]:
        return [
            payment_view(kept, self.approvals.question(kept.id)) for kept in self.ledger.payments()
        ]

    async def answer(self, payment: str, decision: Decision) -> dict[str, Any]:
        return payment_view(await self.approvals.answer(payment, decision))

    async def couple(self, method: str, jack: str) -> dict[str, Any]:
        """Couple a payment method to a jack that is at hand now.

        Raises CodedError; ``jack_unreachable``, ``server_unreachable``: nothing was coupled, or the
        server is told later.
        """
        try:
            challenge = await self.server.coupling_challenge(method, jack)
            answer = await self.jacks.coupling_answer(jack, challenge)
            await self.instructions.send(self.instructions.couple(method, challenge, answer))
        except JackClientError as error:
            raise CodedError(ErrorCode.JACK_UNREACHABLE, str(error)) from None
        except ServerUnreachableError as error:
            raise CodedError(ErrorCode.SERVER_UNREACHABLE, str(error)) from None
        return {"id": method, "jack": jack}

    @property
    def family(self) -> Family:
        """Further phones of this one's jacks."""
        return Family(
            self.wallet,
            self.identity,
            self.server,
            self.jacks,
            self.instructions,
            Owed(self.wallet),
            new_id,
        )

    def page_link(self) -> dict[str, Any]:
        """A link that opens the owner's pages in one browser, and the fingerprint it is shown.

        Raises CodedError (``not_ready``).
        """
        if self.doorway is None:
            raise CodedError(ErrorCode.NOT_READY, "the pages are not served yet")
        sha256 = self.doorway.certificate_sha256
        return {"url": self.doorway.link(), "certificate_sha256": sha256}

    async def refresh(self) -> None:
        """The command line has changed the wallet."""
        await self.jacks.take_on(self.wallet.jacks())
        self._begin_sweep()

    async def follow_server(self) -> None:
        """Take in the server's events. Ends only by CodedError: the server has shut us out."""
        async with aclosing(self.server.events(self.ledger.last_event_id())) as events:  # type: ignore[type-var]
            async for event in events:
                self._take(event)

    async def close(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            await asyncio.wait({self._sweep})
        await self.pairing.close()
        await self.approvals.close()
        await self.jacks.close()

    def _take(self, event: ServerEvent) -> None:
        if event.kind == "connected":
            self._connection(is_up=True)
            self._begin_sweep()
            self.approvals.connected()
        elif event.kind == "lost":
            self._connection(is_up=False)
        elif event.kind == "challenge":
            self.approvals.challenged(event)
        elif event.kind == "payment":
            self.approvals.shown(event)

    def _connection(self, *, is_up: bool) -> None:
        if is_up is not self.connected:
            self.connected = is_up
            self.trace.event("server_connected" if is_up else "server_lost")
            _log.info("server_connected" if is_up else "server_lost")

    def _begin_sweep(self) -> None:
        self._unswept = True
        if self._sweep is None or self._sweep.done():
            self._sweep = asyncio.create_task(self._run_sweep(), name="registration sweep")

    async def _run_sweep(self) -> None:
        """Until nothing has been added meanwhile, or the server is away."""
        try:
            while self._unswept:
                self._unswept = False
                await self.registration.sweep(self.trace)
                await self.instructions.sweep(self.trace)
        except ServerUnreachableError as error:
            _log.info("sweep_postponed", extra={"reason": str(error)})


async def run(state: Path, settings: PhoneSettings, ready: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT. ``ready`` is told the phone's id once all is started.

    Raises AgentError, StateFolderError, DatabaseError, KeyStoreError, RadioError, OSError.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    path, keep = state / "trace.jsonl", settings.trace_keep
    with held(state) as socket, Trace("phone", path, boot=boot_id(), keep=keep) as trace:
        async with (
            _started(state, settings, trace) as agent,
            serve(local_api(agent), Address(socket=socket)) as served,
            supervised(agent.state, agent.problem, settings.radio_patience_s),
        ):
            await agent.jacks.take_on(agent.wallet.jacks())
            async with agent.condition(state).running():
                ready(agent.identity.phone)
                await _until_stopped(stop, agent, served.ended)
        trace.event("agent_stopped")


async def _until_stopped(stop: asyncio.Event, agent: Agent, served: asyncio.Task[None]) -> None:
    stopped = asyncio.create_task(stop.wait())
    following = asyncio.create_task(agent.follow_server(), name="server events")
    try:
        await asyncio.wait({stopped, following, served}, return_when=asyncio.FIRST_COMPLETED)
        if following.done():
            following.result()
        if served.done() and not stop.is_set():
            raise AgentError("the control socket has stopped; look at the log")
    except CodedError as error:
        raise AgentError(
            f"the server does not accept this phone: {error.detail}."
            f" {PROBLEMS[error.code].next_step}"
        ) from None
    finally:
        following.cancel()
        stopped.cancel()
        await asyncio.gather(following, stopped, return_exceptions=True)


@asynccontextmanager
async def _started(state: Path, settings: PhoneSettings, trace: Trace) -> AsyncIterator[Agent]:
    async with AsyncExitStack() as stack:
        database = stack.enter_context(Database.open(state / FILE_NAME))
        wallet = Wallet(database)
        pin = pinned_server(wallet)
        identity = load(state, settings.keys)
        # Before what belongs to this run: readers tell runs apart by it.
        trace.event("agent_started", **software())
        server = await stack.enter_async_context(
            ServerClient(
                pin, identity.signer, new_id=new_id, wall_ms=wall_ms, keep_pin=wallet.pin_server
            )
        )
        finder = await stack.enter_async_context(JackFinder(settings.interfaces))
        hearing = RadioCondition(trace, settings.radio) if settings.radio else None
        await stack.enter_async_context(serving_figures(settings, trace, hearing))
        await stack.enter_async_context(publishing(settings, trace))
        recording = await stack.enter_async_context(_recording(state, settings, trace))
        radio = await stack.enter_async_context(listening(hearing, server.now_s, recording))
        notes = TrialNotes(trace, state)
        agent = _assembled(
            database, wallet, identity, server, finder, radio, notes, trace, settings
        )
        stack.push_async_callback(agent.close)
        if (descriptor := terminal()) is not None:
            screen = TerminalScreen(descriptor, agent.approvals.answer_on_screen)
            agent.approvals.show_on(stack.enter_context(screen))
        address = Address(settings.page_host, settings.page_port)
        pages = serving_pages(agent, database, address, certificate_shown(state, settings))
        agent.doorway = await stack.enter_async_context(pages)
        yield agent


@asynccontextmanager
async def _recording(
    state: Path, settings: PhoneSettings, trace: Trace
) -> AsyncIterator[AdvertRecording | None]:
    """Of what the radio hears, if there is one."""
    if not settings.radio:
        yield None
        return
    with closing(
        AdvertRecording(state / advert_recording.FILE_NAME, settings.adverts_keep)
    ) as kept:

        def tell() -> None:
            trace.event("recording_begun", file="adverts", epoch_us=kept.epoch_us, piece=kept.piece)

        async with told(tell):
            yield kept


def pinned_server(wallet: Wallet) -> ServerPin:
    """The server of this phone. Raises NotEnrolledError."""
    pin = wallet.server()
    if pin is None:
        raise NotEnrolledError(
            "this phone is not enrolled; get a code with `cigarjack-server phones add`, then run:"
            " phone-agent enroll URL CODE"
        )
    return pin


def _assembled(
    database: Database,
    wallet: Wallet,
    identity: PhoneIdentity,
    server: ServerClient,
    finder: JackFinder,
    radio: JackRadio | None,
    notes: TrialNotes,
    trace: Trace,
    settings: PhoneSettings,
) -> Agent:
    def remember(jack: str, endpoint: Endpoint) -> None:
        wallet.keep_address(jack, *endpoint)

    ledger = Ledger(database)
    owed = Owed(wallet)
    jacks = JackCare(finder, identity, server, trace, remember, owed, radio)
    confirmations = Confirmations(
        identity=identity,
        server=server,
        wallet=wallet,
        ledger=ledger,
        trace=trace,
        new_id=new_id,
    )
    approvals = Approvals(
        phone=identity.phone,
        server=server,
        wallet=wallet,
        ledger=ledger,
        jacks=jacks,
        confirmations=confirmations,
        trace=trace,
        prompt_s=settings.prompt_s,
    )
    registration = Registration(wallet, identity, server, new_id)
    instructions = Instructions(wallet, identity, server, new_id)
    pairing = PairingErrand(identity, server, registration, finder, radio, new_id)
    return Agent(
        identity,
        server,
        wallet,
        ledger,
        registration,
        instructions,
        jacks,
        approvals,
        pairing,
        trace,
        notes,
        radio,
    )
