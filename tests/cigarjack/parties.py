"""Who a jack meets: a server and phones with real keys, and a jack to be met, on a fresh folder."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import uuid6
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.types import ASGIApp

from cigarjack import identity as identities
from cigarjack.announcement import Announcement
from cigarjack.chip import Chip
from cigarjack.client import JackClient, JackPin, PairedJack, pair, pair_over_gatt, wifi_channel
from cigarjack.clock import JackClock
from cigarjack.config import JackSettings, StateFolder
from cigarjack.lane_ear import LaneEar
from cigarjack.link_service import LinkService
from cigarjack.local_service import PairedService, PairingService
from cigarjack.memory import Memory
from cigarjack.pairing import PairingDesk
from cigarjack.pairing_rules import Owner
from cigarjack.services import Services
from twochannel import tls
from twochannel.keystore.file import FileAgreement, FileSigner
from twochannel.protocol import beacon, envelope
from twochannel.protocol.lane import lane_digest
from twochannel.protocol.money import Amount
from twochannel.protocol.payment import CaptureMode
from twochannel.protocol.statements import (
    Challenge,
    Identity,
    Merchant,
    PairingRequest,
    Presence,
    Role,
    Time,
)
from twochannel.protocol.wire import base64url
from twochannel.radio.port import Link
from twochannel.trace import Trace

LOOPBACK = "127.0.0.1"
#: A fixed present: 2023-11-14T22:13:20Z, the start of a slot of 256 s and 128 s more.
NOW_S = 1_700_000_000
NOW_MS = NOW_S * 1000
LANE_NONCE = b"twelve bytes"


def new_id() -> str:
    return str(uuid6.uuid7())


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Server:
    """Signs challenges and time; ``signer`` may be replaced to make a forger."""

    signer: FileSigner = field(default_factory=lambda: FileSigner(new_key()))
    agreement: FileAgreement = field(default_factory=lambda: FileAgreement(new_key()))
    rotation_exponent: int = 8

    @property
    def id(self) -> str:
        return self.signer.key.kid

    def identity(self, role: Role = Role.SERVER) -> str:
        statement = Identity(
            iss=self.id,
            jti=new_id(),
            role=role,
            key=self.signer.key.jwk,
            beacon_key=self.agreement.key.jwk,
            tls_sha256="0" * 64,
            rotation_exponent=self.rotation_exponent,
        )
        return envelope.sign(statement, self.signer)

    def challenge(self, jack: str, phone: str, **changes: object) -> Challenge:
        """A challenge of 4.50 EUR at ``NOW_S``; ``changes`` replace claims."""
        claims: dict[str, object] = {
            "iss": self.id,
            "aud": jack,
            "jti": new_id(),
            "iat": NOW_S,
            "exp": NOW_S + 60,
            "sub": new_id(),
            "prev": base64url(secrets.token_bytes(32)),
            "amount": Amount(value=450, currency="EUR"),
            "capture": CaptureMode.AUTOMATIC,
            "merchant": Merchant(id="cafe", name="Café"),
            "lane": "Lane 1",
            "lane_digest": lane_digest(LANE_NONCE),
            "presence": Presence.PREFER,
            "phone": phone,
            "nonce": base64url(secrets.token_bytes(16)),
            "match_code": "42",
        }
        return Challenge.model_validate(claims | changes)

    def signed_challenge(self, jack: str, phone: str, **changes: object) -> str:
        return envelope.sign(self.challenge(jack, phone, **changes), self.signer)

    def time(self, jack: str, nonce: str, time_ms: int = NOW_MS) -> str:
        statement = Time(iss=self.id, aud=jack, jti=new_id(), nonce=nonce, time_ms=time_ms)
        return envelope.sign(statement, self.signer)

    def code(self, jack_beacon: FileAgreement, time_s: int) -> bytes:
        """The code that the server expects of a jack: computed from its own half of the keys."""
        key = beacon.identity_key(
            self.agreement.exchange(jack_beacon.key),
            self.agreement.key.point,
            jack_beacon.key.point,
        )
        return beacon.code_at(key, time_s, self.rotation_exponent)


@dataclass
class Phone:
    signer: FileSigner = field(default_factory=lambda: FileSigner(new_key()))
    tls_key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)

    def __post_init__(self) -> None:
        self.certificate = tls.make_certificate(self.tls_key, "phone", secrets.randbits(128))

    @property
    def id(self) -> str:
        return self.signer.key.kid

    def request(self, jack: str, server_identity: str, **changes: object) -> PairingRequest:
        claims: dict[str, object] = {
            "iss": self.id,
            "aud": jack,
            "jti": new_id(),
            "key": self.signer.key.jwk,
            "claim_secret": None,
            "server": server_identity,
            "tls_certificate": base64url(self.certificate),
        }
        return PairingRequest.model_validate(claims | changes)

    async def pair(self, port: int, label: str, server: Server) -> PairedJack:
        return await pair(
            LOOPBACK,
            port,
            label,
            phone=self.signer,
            phone_certificate=self.certificate,
            server_identity=server.identity(),
            new_id=new_id,
        )

    async def pair_over_gatt(self, link: Link, label: str, server: Server) -> PairedJack:
        return await pair_over_gatt(
            link,
            label,
            phone=self.signer,
            phone_certificate=self.certificate,
            server_identity=server.identity(),
            new_id=new_id,
        )

    def client(self, port: int, pin: JackPin, **options: float) -> JackClient:
        channel = wifi_channel(LOOPBACK, port, pin, self.certificate, self.tls_key)
        return JackClient(channel, pin, **options)

    def tls_context(self, pin: JackPin) -> ssl.SSLContext:
        return tls.client_context(pin.certificate, self.certificate, self.tls_key)


def owner_of(phone: Phone, server: Server, epoch: int = 1) -> Owner:
    return Owner(phone.id, phone.certificate, server.identity(), bytes(32), epoch)


class Boottime:
    """CLOCK_BOOTTIME, turned by hand."""

    def __init__(self, now_ms: int = 5_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


@dataclass
class Jack:
    """The parts of a jack without its agent and radio; ``ear`` hears what a test lets it hear."""

    folder: StateFolder
    identity: identities.JackIdentity
    memory: Memory
    clock: JackClock
    ear: LaneEar
    chip: Chip
    boottime: Boottime
    synchronised: int = 0
    changed: Callable[[], None] = lambda: None
    services: Services | None = None

    @property
    def id(self) -> str:
        return self.identity.jack

    def adopt(self, owner: Owner) -> None:
        """Pair without the ceremony."""
        with self.memory.transaction():
            state = self.memory.pairing_state()
            self.memory.store_pairing_state(replace(state, owner=owner))

    def desk(self, on_paired: Callable[[Owner], object] | None = None) -> PairingDesk:
        async def paired(owner: Owner) -> int:
            self.changed()
            if self.services is not None:
                return await self.services.serve_owner(owner)
            if on_paired is not None:
                on_paired(owner)
            return 1

        return PairingDesk(
            self.memory,
            self.identity.signer,
            self.clock,
            silent_trace(),
            identity=self.identity.statement(new_id),
            certificate=self.identity.certificate,
            new_id=new_id,
            random_bytes=secrets.token_bytes,
            on_paired=paired,
        )


def silent_trace() -> Trace:
    return Trace("jack", None, boot="boot")


@contextmanager
def a_jack(
    path: Path, boot: str = "boot", boottime: Boottime | None = None, keys: str = "file"
) -> Iterator[Jack]:
    """A jack on ``path``, initialised if it is new; the presence wait is cut to nothing."""
    folder, settings = StateFolder(path), JackSettings(keys=keys)
    if not Memory.initialised(folder.memory):
        identities.initialise(folder, settings)
    identity = identities.load(folder, settings)
    since_boot = boottime or Boottime()
    ear = LaneEar(silent_trace())
    with Memory(folder.memory) as memory:
        clock = JackClock(memory, boot, since_boot)
        chip = Chip(
            memory,
            identity.signer,
            clock,
            lambda digest: ear.hear(digest, wait_s=0),
            silent_trace(),
            new_id,
        )
        yield Jack(folder, identity, memory, clock, ear, chip, since_boot)


def applications(jack: Jack, desk: PairingDesk) -> tuple[ASGIApp, ASGIApp]:
    """For the owner's phone, and for whoever pairs."""

    def synchronised() -> None:
        jack.synchronised += 1
        jack.changed()

    async def invite(compact: str) -> None:
        if jack.services is not None:
            await jack.services.open_for_member(compact)
        else:
            desk.invite(compact)

    paired = PairedService(
        jack.id,
        jack.memory,
        jack.clock,
        jack.chip,
        silent_trace(),
        random_bytes=secrets.token_bytes,
        condition=lambda: {
            "jack": jack.id,
            "epoch": jack.memory.pairing_state().epoch,
            "clock": "trusted" if jack.clock.trusted else "unsynchronised",
        },
        on_synchronised=synchronised,
        invite=invite,
        remove=desk.remove,
    )
    return paired.app(), PairingService(desk).app()


def link_service(jack: Jack, desk: PairingDesk) -> LinkService:
    """What serves a link to ``jack``."""
    paired_app, pairing_app = applications(jack, desk)
    return LinkService(
        jack.memory,
        jack.identity.agreement,
        desk,
        silent_trace(),
        paired_app=paired_app,
        pairing_app=pairing_app,
    )


@asynccontextmanager
async def served(jack: Jack) -> AsyncIterator[tuple[Services, PairingDesk]]:
    """The jack's services on real sockets and real mDNS on loopback."""
    desk = jack.desk()
    paired_app, pairing_app = applications(jack, desk)
    async with Services(
        jack.identity,
        jack.memory,
        desk,
        Announcement(secrets.token_hex(8), [LOOPBACK]),
        paired_app=paired_app,
        pairing_app=pairing_app,
        host=LOOPBACK,
        port=0,
    ) as services:
        jack.services = services
        yield services, desk
