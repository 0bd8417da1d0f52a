"""What the doors of one running server share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import Connection
from starlette.requests import Request

from server.allowances import Allowances
from server.announcement import Announcer
from server.issuer import Issuer
from server.keyring import KeyRing
from server.kinds import FailureKind
from server.last_heard import LastHeard
from server.notifications import Notifications, payment_topic
from server.payments import PaymentRow, get_payment
from server.processors.port import Processor
from server.proofs import ProofMemory
from server.registry import check_not_revoked
from server.reign import Reign
from server.resolver import Resolver
from server.settlement import answerable
from server.store import Store
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.payment import Status
from twochannel.protocol.statements import Proof, Role
from twochannel.trace import Trace

if TYPE_CHECKING:
    from server.metrics import Metrics
    from server.processors.stripe_events import StripeEvents
    from server.relay import Relay

_log = logging.getLogger(__name__)

T = TypeVar("T")

#: Who waits looks again after this time even without a wake-up: another process may have written.
RECHECK_S: Final = 5.0
#: A proof that is refused so is as good as none.
_UNREADABLE: Final = frozenset({ErrorCode.MESSAGE_MALFORMED, ErrorCode.MESSAGE_TOO_LARGE})


@dataclass(frozen=True, slots=True)
class Device:
    """Who made a request, as its proof shows."""

    role: Role
    id: str

    def check(self, connection: Connection) -> None:
        """Inside the transaction: the device is in force. Raises CodedError."""
        check_not_revoked(connection, self.role, self.id)


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a door needs. ``now_ms``: Unix milliseconds; ``token``: n random bytes.

    ``stripe_events``: reads Stripe's webhooks, where they are taken. ``relay``: to other servers,
    where there can be some. ``metrics``: where they are asked for. ``draining``: set when this
    server is about to stop.
    """

    store: Store
    issuer: Issuer
    reign: Reign
    rotation_exponent: int
    keyring: KeyRing
    last_heard: LastHeard
    resolver: Resolver
    proofs: ProofMemory
    notifications: Notifications
    announce: Announcer
    trace: Trace
    now_ms: Callable[[], int]
    token: Callable[[int], bytes]
    allowances: Allowances
    processor: Processor
    stripe_events: StripeEvents | None = None
    relay: Relay | None = None
    metrics: Metrics | None = None
    draining: asyncio.Event = field(default_factory=asyncio.Event)

    async def note_failure(self, kind: FailureKind, subject: str) -> None:
        """Count a refusal that left nothing behind."""
        full = await self.store.write(
            lambda c: self.allowances.note_failure(c, kind, subject, self.now_ms())
        )
        if full:
            _log.warning("limit_reached", extra={"kind": kind.value, "subject": subject})

    async def prove(self, request: Request, *roles: Role) -> Device:
        """Who asks, by the proof in ``Authorization``. Raises CodedError."""
        kind, _, compact = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not compact:
            raise CodedError(ErrorCode.PROOF_REQUIRED)
        for role in roles:
            try:
                proof, key = await self.keyring.read(compact, Proof, role)
            except CodedError as error:
                if error.code in _UNREADABLE:  # RFC 6750, 3.1: malformed is 401 as well
                    raise CodedError(ErrorCode.PROOF_REQUIRED, error.detail) from None
                if error.code is not ErrorCode.KEY_UNKNOWN or role is roles[-1]:
                    raise
                continue
            self.proofs.use(proof, request.method, _target(request), self.now_ms() // 1000)
            return Device(role, key.kid)
        raise ValueError("at least one role must be allowed")

    async def wait_for_outcome(
        self,
        payment_id: str,
        wait_s: float,
        look: Callable[[Connection], PaymentRow] | None = None,
    ) -> PaymentRow:
        """The payment once it is settled and nothing is under way, or as it is after ``wait_s``.

        ``look``: finds it each time, and raises if who asks may no more; None: finds it always.
        """
        return await self.wait_until(
            payment_id,
            wait_s,
            look or (lambda connection: get_payment(connection, payment_id)),
            lambda row: answerable(Status(row.status), row.operation),
        )

    async def wait_until(
        self,
        payment_id: str,
        wait_s: float,
        look: Callable[[Connection], T],
        over: Callable[[T], bool],
    ) -> T:
        """What ``look`` finds once it is ``over``, or after ``wait_s``. It is of this payment."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        with self.notifications.listen(payment_topic(payment_id)) as listener:
            while True:
                found = await self.store.read(look)
                left_s = deadline - loop.time()
                if left_s <= 0 or self.notifications.closed or over(found):
                    return found
                await listener.wait(min(left_s, RECHECK_S))


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def _target(request: Request) -> str:
    """Path and query exactly as they were sent."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    query: bytes = request.scope["query_string"]
    return (raw + (b"?" + query if query else b"")).decode("latin-1")
