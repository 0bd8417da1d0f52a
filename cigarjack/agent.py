"""The jack as a running process: puts its parts together and keeps them going."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import uuid6

from cigarjack import identity as identities
from cigarjack.beaconing import Beaconing
from cigarjack.chip import Chip
from cigarjack.clock import JackClock, boottime_ms
from cigarjack.config import JackSettings, StateFolder
from cigarjack.gps_track import tracking
from cigarjack.inviting import Inviting
from cigarjack.lane_ear import LaneEar
from cigarjack.link_service import LinkService
from cigarjack.memory import Memory
from cigarjack.pairing import PairingDesk
from cigarjack.pairing_rules import Owner
from twochannel.advert_recording import AdvertRecording, told
from twochannel.condition.radio import RadioCondition
from twochannel.condition.watch import ConditionWatch
from twochannel.metrics.page import serving_figures
from twochannel.mqtt.publishing import publishing
from twochannel.protocol.errors import CodedError
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Radio, RadioError, Sighting
from twochannel.radio.watch import RadioWatch, all_of
from twochannel.state_folder import held
from twochannel.supervisor import supervised
from twochannel.trace import ClockTrust, Trace, boot_id, software, wall_ms

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from cigarjack.services import Services

_log = logging.getLogger(__name__)

#: The radio comes first, for the terminal waits for it; services wait no longer than this.
_RADIO_HEAD_START_S: Final = 1.0


def new_id() -> str:
    return str(uuid6.uuid7())


class JackAgent:
    """The parts of one jack. Build it inside a running event loop, then ``run`` it once."""

    def __init__(self, settings: JackSettings, folder: StateFolder, memory: Memory) -> None:
        """Raises KeyStoreError, IdentityError, StorageError, and RadioError for a wrong name."""
        open_radio(settings.radio)  # a wrong name is told now, and not tried for ever
        self._settings = settings
        self._folder = folder
        self._memory = memory
        self._identity = identities.load(folder, settings)
        boot = settings.boot_id or boot_id()
        self._clock = JackClock(memory, boot, boottime_ms)
        self._trace = Trace(
            "jack",
            folder.trace,
            boot=boot,
            keep=settings.trace_keep,
            wall=self._wall_source(),
            trust=self._clock_trust,
        )
        self._recording = AdvertRecording(folder.adverts, settings.adverts_keep)
        self._ear = LaneEar(self._trace, self._recording)
        self._beaconing = Beaconing(
            memory, self._identity.agreement, self._clock, self._trace, settings.tx_power_dbm
        )
        self._desk = PairingDesk(
            memory,
            self._identity.signer,
            self._clock,
            self._trace,
            identity=self._identity.statement(new_id),
            certificate=self._identity.certificate,
            new_id=new_id,
            random_bytes=secrets.token_bytes,
            on_paired=self._on_paired,
        )
        self._hearing = RadioCondition(self._trace, settings.radio)
        self._watch = ConditionWatch(self._trace, folder.path, self._hearing)
        self._radio = RadioWatch(lambda: open_radio(settings.radio), self._on_air, self._hearing)
        self._services: Services | None = None
        self._inviting: Inviting | None = None
        self._hospitable = asyncio.Event()

    # --- running

    async def run(self, ready: Callable[[dict[str, object]], None]) -> None:
        """Until SIGTERM or SIGINT. ``ready`` gets the addresses. Raises OSError, StorageError."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        self._trace.event("agent_started", **software())
        if self._clock.trusted:
            self._trace.event("clock_restored")
        with self._trace, contextlib.closing(self._recording), _failure_alone():
            async with (
                told(self._tell_recording),
                serving_figures(self._settings, self._trace, self._hearing),
                publishing(self._settings, self._trace),
                self._working() as addresses,
                self._watch.running(),
                tracking(self._settings.gpsd, self._trace),
                self._supervised(),
            ):
                ready({"event": "ready", "jack": self._identity.jack} | addresses)
                await stop.wait()
                _log.info("stopping")
            self._trace.event("agent_stopped")

    def _tell_recording(self) -> None:
        kept = self._recording
        self._trace.event(
            "recording_begun", file="adverts", epoch_us=kept.epoch_us, piece=kept.piece
        )

    @contextlib.asynccontextmanager
    async def _working(self) -> AsyncIterator[dict[str, object]]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._radio.run(), name="radio")]
            await self._give_radio_a_head_start()
            async with self._serving() as services:
                tasks.append(group.create_task(services.close_windows(), name="windows"))
                tasks.append(group.create_task(services.follow_addresses(), name="addresses"))
                yield {"port": services.port, "pairing_port": services.pairing_port}
                for task in tasks[1:]:
                    task.cancel()
            tasks[0].cancel()

    async def _give_radio_a_head_start(self) -> None:
        settled = asyncio.ensure_future(self._beaconing.settled.wait())
        tried = asyncio.ensure_future(self._radio.tried.wait())
        await asyncio.wait(
            {settled, tried}, timeout=_RADIO_HEAD_START_S, return_when=asyncio.FIRST_COMPLETED
        )
        settled.cancel()
        tried.cancel()

    @contextlib.asynccontextmanager
    async def _serving(self) -> AsyncIterator[Services]:
        # Imported here, for the first advert need not wait for web and mDNS libraries.
        from cigarjack.operator_service import operator_app
        from twochannel.serving import Address, serve
        from twochannel.trial_notes import TrialNotes

        paired_app, pairing_app = self._applications()
        async with self._wifi_services(paired_app, pairing_app) as services:
            self._services = services
            if self._settings.gatt:
                self._inviting = self._invitations(paired_app, pairing_app)
            self._hospitable.set()
            self._desk.tidy()
            if self._memory.pairing_state().owner is None:
                await self._open_first_window(services)
            notes = TrialNotes(self._trace, self._folder.path)
            app = operator_app(self.status, self._open_pairing, notes)
            async with serve(app, Address(socket=self._folder.control)):
                self._folder.control.chmod(0o600)
                try:
                    yield services
                finally:
                    self._folder.control.unlink(missing_ok=True)

    def _applications(self) -> tuple[ASGIApp, ASGIApp]:
        """For the owner's phone, and for whoever pairs: over Wi-Fi and over GATT the same."""
        from cigarjack.local_service import PairedService, PairingService

        chip = Chip(
            self._memory,
            self._identity.signer,
            self._clock,
            self._ear.hear,
            self._trace,
            new_id,
        )
        paired = PairedService(
            self._identity.jack,
            self._memory,
            self._clock,
            chip,
            self._trace,
            random_bytes=secrets.token_bytes,
            condition=self._condition,
            on_synchronised=self._reconsider,
            invite=lambda compact: self._running_services().open_for_member(compact),
            remove=self._remove_member,
        )
        return paired.app(), PairingService(self._desk).app()

    def _wifi_services(self, paired_app: ASGIApp, pairing_app: ASGIApp) -> Services:
        from cigarjack.announcement import INSTANCE_BYTES, Announcement
        from cigarjack.services import Services

        return Services(
            self._identity,
            self._memory,
            self._desk,
            Announcement(secrets.token_hex(INSTANCE_BYTES), self._settings.interfaces),
            paired_app=paired_app,
            pairing_app=pairing_app,
            host=self._settings.host,
            port=self._settings.port,
        )

    def _invitations(self, paired_app: ASGIApp, pairing_app: ASGIApp) -> Inviting:
        service = LinkService(
            self._memory,
            self._identity.agreement,
            self._desk,
            self._trace,
            paired_app=paired_app,
            pairing_app=pairing_app,
        )
        return Inviting(
            self._identity.jack,
            self._memory,
            self._clock,
            self._desk.window,
            self._beaconing,
            service,
            self._trace,
            random_bytes=secrets.token_bytes,
        )

    async def _open_first_window(self, services: Services) -> None:
        try:
            await services.open_pairing()
        except CodedError as error:
            _log.warning("pairing_stays_closed", extra={"reason": error.detail})

    async def _on_air(self, radio: Radio) -> None:
        await all_of(
            self._ear.listen(radio.scanner, self._called, self._hearing.take),
            self._beaconing.run(radio.advertiser),
            self._invite(radio),
        )

    async def _invite(self, radio: Radio) -> None:
        """Once there is something to serve, and unless settings or radio are against it."""
        await self._hospitable.wait()
        if self._inviting is None:
            return
        try:
            peripheral = radio.peripheral
        except RadioError as error:
            _log.warning("gatt_unavailable", extra={"reason": str(error)})
            return
        await self._inviting.run(peripheral)

    def _called(self, sighting: Sighting) -> None:
        if self._inviting is not None:
            self._inviting.take(sighting)

    # --- what the parts tell each other

    def _reconsider(self) -> None:
        """Pairing or clock has changed."""
        self._beaconing.reconsider()
        if self._inviting is not None:
            self._inviting.reconsider()

    async def _on_paired(self, owner: Owner) -> int:
        self._reconsider()
        _log.info("paired", extra={"epoch": owner.epoch})
        return await self._running_services().serve_owner(owner)

    async def _remove_member(self, compact: str) -> None:
        """The connections end once this is answered: it came over one of them, perhaps."""
        await self._desk.remove(compact)
        self._reconsider()
        self._running_services().renew_soon()

    async def _open_pairing(self) -> dict[str, object]:
        label = await self._running_services().open_pairing()
        return {
            "label": str(label),
            "pairing_port": self._running_services().pairing_port,
            "open_s": round(self._desk.window.remaining_s),
        }

    def _running_services(self) -> Services:
        if self._services is None:
            raise RuntimeError("the services have not started")
        return self._services

    def _condition(self) -> dict[str, object]:
        """What the paired phone is told about the jack (docs/protocol.md, ``GET /v1/status``)."""
        state = self._memory.pairing_state()
        keys = state.owner.server().keys if state.owner else None
        return {
            "jack": self._identity.jack,
            "epoch": state.epoch,
            "server_key": keys.newest.key.kid if keys else None,
            "clock": "trusted" if self._clock.trusted else "unsynchronised",
            "broadcasting": self._beaconing.broadcasting,
            "adverts_heard": self._ear.adverts_heard,
            "version": version("cigarjack"),
        }

    def _supervised(self) -> contextlib.AbstractAsyncContextManager[None]:
        patience_s = self._settings.radio_patience_s
        return supervised(self._state, lambda: self._radio.problem, patience_s)

    def _state(self) -> str:
        shown = self._beaconing.shown
        return "Broadcasting." if self._beaconing.broadcasting else f"Nothing on the air: {shown}."

    def status(self) -> dict[str, object]:
        """What the operator is told: the condition, the owner, the radio, the services."""
        state = self._memory.pairing_state()
        services = self._running_services()
        shown = self._beaconing.shown
        return self._condition() | {
            "phone": state.owner.phone if state.owner else None,
            "members": [member.phone for member in state.owner.members] if state.owner else [],
            "silent_because": None if self._beaconing.broadcasting else str(shown),
            "inviting": self._inviting and self._inviting.shown,
            "radio_problem": self._radio.problem,
            "port": services.port,
            "pairing_port": services.pairing_port,
            "pairing_locked": state.locked,
        }

    # --- the wall clock: nothing but the trace uses it

    def _wall_source(self) -> Callable[[], int]:
        start = self._settings.wall_clock_start
        shift_ms = 0 if start is None else int(start.timestamp() * 1000) - wall_ms()

        def wall() -> int:
            now_ms = self._clock.now_ms()
            return wall_ms() + shift_ms if now_ms is None else now_ms

        return wall

    def _clock_trust(self) -> ClockTrust:
        return ClockTrust.SERVER if self._clock.trusted else ClockTrust.UNSYNCHRONISED


@contextlib.contextmanager
def _failure_alone() -> Iterator[None]:
    """A task group wraps even a single error, which the command line wants to tell as it is."""
    try:
        yield
    except ExceptionGroup as failures:
        if len(failures.exceptions) == 1:
            raise failures.exceptions[0] from None
        raise


async def run(
    settings: JackSettings, folder: StateFolder, ready: Callable[[dict[str, object]], None]
) -> None:
    """Be the jack of ``folder`` until told to stop.

    Raises StateFolderError, IdentityError, KeyStoreError, StorageError, RadioError, OSError.
    """
    with Memory(folder.memory) as memory, held(folder.path):
        await JackAgent(settings, folder, memory).run(ready)
