"""The running server: doors, and all that works beside them, in one event loop."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import uuid6

from server.allowances import Allowances
from server.announcement import Announcer
from server.app import build
from server.config import ServerSettings
from server.keeping import keeping, observers_of
from server.keyring import KeyRing
from server.kinds import FailureKind
from server.last_heard import LastHeard
from server.notifications import Notifications
from server.occupancy import shared
from server.outbox import Clearing, run_worker
from server.processors.choice import chosen_processor, stripe_events
from server.proofs import ProofMemory
from server.reconciler import run_reconciler
from server.reign import Reign
from server.resolver import Resolver
from server.services import Services
from server.state import StateFolder, make_private
from server.store import Store
from server.sweeper import run_sweeper
from twochannel.condition.watch import ConditionWatch
from twochannel.mqtt.publishing import publishing
from twochannel.protocol.envelope import unverified_claims
from twochannel.protocol.statements import Identity
from twochannel.serving import Address, serve
from twochannel.settings import SettingsError
from twochannel.supervisor import starting, supervised
from twochannel.tls import server_context
from twochannel.trace import Trace, boot_id, software, wall_ms

if TYPE_CHECKING:
    from server.metrics import Metrics
    from server.relay import Relay

_log = logging.getLogger(__name__)

#: What is being answered when the server stops has this long; waits and streams end at once.
_GRACE_S: Final = 5


def new_id() -> str:
    """A fresh UUIDv7 (RFC 9562)."""
    return str(uuid6.uuid7())


async def run(
    folder: StateFolder,
    settings: ServerSettings,
    ready: Callable[[dict[str, object]], None],
    stop: asyncio.Event,
) -> None:
    """Serve until ``stop`` is set. ``ready`` gets the address once everything runs.

    Raises StateFolderError, DatabaseError, StoreError, KeyStoreError, SettingsError, OSError.
    """
    path, keep = folder.path / "trace.jsonl", settings.trace_keep
    with (
        folder.locked(),
        shared(settings.database_at(folder.path)),
        Trace("server", path, boot=boot_id(), keep=keep) as trace,
    ):
        try:
            async with (
                publishing(settings, trace),
                _services(folder, settings, trace) as services,
            ):
                await _serve(folder, settings, services, ready, stop)
            trace.event("agent_stopped")
        except ExceptionGroup as failures:
            # A task group wraps even what its block raises, such as that the port is taken.
            raise _sole(failures) from None
    _log.info("stopped")


async def _serve(
    folder: StateFolder,
    settings: ServerSettings,
    services: Services,
    ready: Callable[[dict[str, object]], None],
    stop: asyncio.Event,
) -> None:
    tls = server_context(folder.certificate(), folder.keys.private_key("tls"))
    app = build(
        services,
        trusted_proxies=settings.trusted_proxies,
        observers=observers_of(settings, services),
    )
    address, server = Address(settings.host, settings.port), services.issuer.server_id
    encrypted = tls if settings.tls else None
    async with (
        _working(settings, services),
        keeping(settings, services),
        _dashboard(folder, settings, services, encrypted),
        serve(
            app,
            address,
            encrypted,
            connections=settings.connections,
            grace_s=_GRACE_S,
        ) as served,
    ):
        services.trace.event("agent_started", server=server, **software())
        url = f"{'https' if settings.tls else 'http'}://{settings.host}:{served.port}"
        condition = ConditionWatch(services.trace, folder.path)
        async with condition.running(), supervised(lambda: f"Serving {url}."):
            ready({"event": "ready", "url": url, "server": server})
            await _either(stop.wait(), served.ended)
            services.draining.set()
            if not served.ended.done():
                _log.info("draining", extra={"drain_s": settings.drain_s})
                await _either(asyncio.sleep(settings.drain_s), served.ended)
        services.notifications.close()


def _sole(failures: ExceptionGroup) -> Exception:
    """The one failure of the group, however deep it is; the group, if there are several."""
    if len(failures.exceptions) > 1:
        return failures
    (failure,) = failures.exceptions
    return _sole(failure) if isinstance(failure, ExceptionGroup) else failure


@asynccontextmanager
async def _services(
    folder: StateFolder, settings: ServerSettings, trace: Trace
) -> AsyncIterator[Services]:
    issuer = folder.issuer(new_id)
    reign = Reign(folder, issuer, wall_ms)
    identity = Identity.from_claims(unverified_claims(reign.current.identity))
    rotation_exponent = identity.rotation_exponent or 0
    store = folder.open_store(settings)
    metrics = _metrics(settings)
    if metrics is not None:
        trace.listen(metrics.condition.take)
    notifications = Notifications()
    relay = _relay(settings, store, notifications)
    last_heard = LastHeard(wall_ms)
    resolver = Resolver(store, folder.beacon_key(), rotation_exponent, lambda: wall_ms() // 1000)
    books = folder.path / "processor.sqlite3"
    make_private(books)
    try:
        async with chosen_processor(settings, books) as processor:
            yield Services(
                store=store,
                issuer=issuer,
                reign=reign,
                rotation_exponent=rotation_exponent,
                keyring=KeyRing(store, issuer.server_id, last_heard.note),
                last_heard=last_heard,
                resolver=resolver,
                proofs=ProofMemory(),
                notifications=notifications,
                announce=Announcer(
                    trace,
                    notifications,
                    relay.send if relay else None,
                    metrics.count_change if metrics else None,
                ),
                trace=trace,
                now_ms=wall_ms,
                token=secrets.token_bytes,
                allowances=_allowances(settings),
                processor=metrics.measured(processor) if metrics else processor,
                stripe_events=stripe_events(settings),
                relay=relay,
                metrics=metrics,
            )
    finally:
        await store.close()


@asynccontextmanager
async def _dashboard(
    folder: StateFolder, settings: ServerSettings, services: Services, tls: ssl.SSLContext | None
) -> AsyncIterator[None]:
    """For its operators, if a port is set. Raises SettingsError, OSError."""
    if settings.dashboard_port is None:
        yield
        return
    try:
        from server.dashboard.listener import serving
    except ImportError:
        raise SettingsError(
            "dashboard_port is set and the dashboard is missing; run: pip install"
            ' "cigarjack[dashboard]"'
        ) from None
    store = folder.open_store(settings)
    try:
        async with serving(services, store, settings, tls):
            yield
    finally:
        await store.close()


def _metrics(settings: ServerSettings) -> Metrics | None:
    """If somebody asks for them."""
    if settings.metrics_port is None:
        return None
    from server.metrics import Metrics

    return Metrics()


def _relay(settings: ServerSettings, store: Store, notifications: Notifications) -> Relay | None:
    """To the other servers of a database that can be shared."""
    if not store.shared:
        return None
    from server.relay import Relay

    return Relay(settings.database, notifications)


def _allowances(settings: ServerSettings) -> Allowances:
    return Allowances(
        settings.prompts_per_jack,
        settings.denials_per_terminal,
        {
            FailureKind.CODE: settings.unknown_codes_per_terminal,
            FailureKind.CONFIRMATION: settings.failed_confirmations_per_phone,
            FailureKind.ENROLMENT: settings.failed_enrolments_per_address,
            FailureKind.LOGIN: settings.failed_logins,
        },
    )


@asynccontextmanager
async def _working(settings: ServerSettings, services: Services) -> AsyncIterator[None]:
    """Run the background work while the block runs. If a part of it fails, everything ends."""
    clearing = Clearing(
        store=services.store,
        processor=services.processor,
        issuer=services.issuer,
        announce=services.announce,
        notifications=services.notifications,
        trace=services.trace,
        clock_ms=services.now_ms,
        jitter=random.random,
        timeout_s=settings.processor_timeout_s,
    )
    async with starting(lambda: services.resolver.state):
        await services.resolver.get_ready()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(run_worker(clearing), name="outbox"),
            group.create_task(run_reconciler(clearing), name="reconciler"),
            group.create_task(run_sweeper(services), name="sweeper"),
            group.create_task(services.resolver.keep_ready(), name="resolver"),
            group.create_task(services.reign.run(), name="keys"),
        ]
        if services.relay is not None:
            tasks.append(group.create_task(services.relay.run(), name="relay"))
        yield
        for task in tasks:
            task.cancel()


async def _either(first: Coroutine[Any, Any, object], second: asyncio.Task[None]) -> None:
    """Wait until one of the two is done."""
    task = asyncio.ensure_future(first)
    try:
        await asyncio.wait((task, second), return_when=asyncio.FIRST_COMPLETED)
    finally:
        task.cancel()


async def run_until_signal(
    folder: StateFolder, settings: ServerSettings, ready: Callable[[dict[str, object]], None]
) -> None:
    """``run`` until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(folder, settings, ready, stop)
