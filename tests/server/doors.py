"""Every door of the server that takes a statement, each with a good one for it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.server.bench import Bench
from tests.server.devices import Claims, Devices, new_id, new_signer, now_s, seal
from tests.server.test_couplings import asked
from twochannel.keystore.file import FileSigner
from twochannel.protocol.envelope import read_header, unverified_claims
from twochannel.protocol.statements import Role


@dataclass(frozen=True)
class Door:
    """One place that takes a statement, and a good one for it."""

    path: str
    typ: str
    claims: Claims
    signer: FileSigner

    def sealed(self, changes: Claims | None = None, **header: str) -> str:
        typ = header.pop("typ", self.typ)
        return seal(self.claims | (changes or {}), self.signer, typ, **header)

    def with_text(self, old: str, new: str) -> str:
        """The statement with ``old`` replaced in its JSON: for JSON that no dictionary gives."""
        text = json.dumps(self.claims, separators=(",", ":"))
        assert old in text
        return seal(text.replace(old, new, 1).encode(), self.signer, self.typ)


@dataclass
class Scene:
    """A server with its devices, a pending, a held and a paid payment, and a family's car beside.

    ``spare``: a card of the car's owner; ``member``: another phone of the car.
    """

    bench: Bench
    held: tuple[str, str] = ("", "")
    paid: tuple[str, str] = ("", "")
    car: Devices = field(init=False)
    spare: str = ""
    member: FileSigner = field(init=False)

    async def prepare(self) -> None:
        self.held = await self.bench.held()
        payment, request, challenge = await self.bench.pending()
        compact = self.bench.devices.confirmation(payment, challenge)
        assert (await self.bench.confirm(payment, compact)).json()["status"] == "captured"
        self.paid = payment, request
        self.car = await self.bench.other_car()
        await self._add_spare()
        await self._couple()
        await self._join()

    async def door(self, name: str) -> Door:
        return await _DOORS[name](self)

    async def mend(self, name: str) -> None:
        """Make whole what an accepted statement has used up."""
        if name == "pairings":
            self.bench.devices.epoch += 1
        if name in ("captures", "cancellation"):
            self.held = await self.bench.held()
        if name == "removal":
            await self._add_spare()
        if name == "releases":
            self.car.epoch += 1
            await self._accepted("/v1/pairings", self.car.acceptance())
        if name in ("releases", "uncouplings"):
            await self._couple()
        if name in ("releases", "member-removals"):
            await self._join()

    # --- the doors

    async def enrolment(self) -> Door:
        signer = new_signer()
        claims: Claims = {
            "iss": signer.key.kid,
            "aud": self.bench.devices.server_id,
            "jti": new_id(),
            "iat": now_s(),
            "exp": now_s() + 60,
            "role": "phone",
            "key": signer.key.jwk.model_dump(),
            "code": "A" * 22,
        }
        return Door("/v1/enrolments", "enrolment+jwt", claims, signer)

    async def pairing(self) -> Door:
        devices = self.bench.devices
        claims = devices.acceptance_claims(pairing={"epoch": devices.epoch + 1})
        return Door("/v1/pairings", "pairing-acceptance+jwt", claims, devices.phone)

    async def method(self) -> Door:
        devices = self.bench.devices
        claims = devices.method_claims()
        return Door("/v1/payment-methods", "payment-method+jwt", claims, devices.phone)

    async def default(self) -> Door:
        path = f"/v1/payment-methods/{self.spare}/default"
        return self._of_car(path, self.car.method_default(self.spare))

    async def removal(self) -> Door:
        path = f"/v1/payment-methods/{self.spare}/removal"
        return self._of_car(path, self.car.method_removal(self.spare))

    async def coupling(self) -> Door:
        challenge = await asked(self.bench, self.car, method=self.spare)
        return self._of_car("/v1/couplings", self.car.coupling(challenge.text))

    async def uncoupling(self) -> Door:
        return self._of_car("/v1/uncouplings", self.car.uncoupling(self.car.method_id))

    async def release(self) -> Door:
        return self._of_car("/v1/releases", self.car.release())

    async def member_removal(self) -> Door:
        return self._of_car("/v1/member-removals", self.car.member_removal(self.member.key.kid))

    async def request(self) -> Door:
        devices = self.bench.devices
        claims = devices.request_claims()
        return Door("/v1/payments", "payment-request+jwt", claims, devices.terminal)

    async def confirmation(self) -> Door:
        devices = self.bench.devices
        await self.bench.clear()
        payment, _, challenge = await self.bench.pending()
        claims = devices.confirmation_claims(payment, challenge)
        path = f"/v1/payments/{payment}/confirmation"
        return Door(path, "confirmation+jwt", claims, devices.phone)

    async def capture(self) -> Door:
        payment, request = self.held
        devices, path = self.bench.devices, f"/v1/payments/{payment}/captures"
        return Door(path, "capture+jwt", devices.capture_claims(request, 1), devices.terminal)

    async def cancellation(self) -> Door:
        payment, request = self.held
        devices, path = self.bench.devices, f"/v1/payments/{payment}/cancellation"
        return Door(path, "cancel+jwt", _claims(devices.cancel(request)), devices.terminal)

    async def refund(self) -> Door:
        payment, request = self.paid
        devices, path = self.bench.devices, f"/v1/payments/{payment}/refunds"
        return Door(path, "refund+jwt", devices.refund_claims(request, 1), devices.terminal)

    # --- how

    def _of_car(self, path: str, compact: str) -> Door:
        return Door(path, read_header(compact).typ, _claims(compact), self.car.phone)

    async def _accepted(self, path: str, compact: str) -> str:
        answer = await self.bench.post(path, compact)
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json().get("id"))

    async def _add_spare(self) -> None:
        self.spare = await self._accepted("/v1/payment-methods", self.car.method())

    async def _couple(self) -> None:
        challenge = await asked(self.bench, self.car)
        await self._accepted("/v1/couplings", self.car.coupling(challenge.text))

    async def _join(self) -> None:
        """Let another phone pair as a member."""
        owner = self.car.phone
        self.member = self.car.phone = await self.bench.enrolled(Role.PHONE)
        acceptance = self.car.acceptance(pairing={"owner": owner.key.kid})
        self.car.phone = owner
        await self._accepted("/v1/pairings", acceptance)


_DOORS: dict[str, Callable[[Scene], Awaitable[Door]]] = {
    "enrolments": Scene.enrolment,
    "pairings": Scene.pairing,
    "payment-methods": Scene.method,
    "default": Scene.default,
    "removal": Scene.removal,
    "couplings": Scene.coupling,
    "uncouplings": Scene.uncoupling,
    "releases": Scene.release,
    "member-removals": Scene.member_removal,
    "payments": Scene.request,
    "confirmation": Scene.confirmation,
    "captures": Scene.capture,
    "cancellation": Scene.cancellation,
    "refunds": Scene.refund,
}
DOORS = tuple(_DOORS)


def _claims(compact: str) -> Claims:
    return dict(unverified_claims(compact))
