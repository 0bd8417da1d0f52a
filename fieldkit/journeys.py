"""The journeys of the demo: what people do with the agents, and what must come of it.

A journey acts as people would, by the agents' command lines, on a provisioned stage. What came of
it is judged by what really happened: the payment at the server, the processor's own books, and
the evidence, verified offline.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import uuid6

from fieldkit import legs
from fieldkit.process import READY_DEADLINE_S, Process, StageError
from fieldkit.processor_books import Charge
from fieldkit.results import AuditCheck, EvidenceStep, JourneyResult
from fieldkit.sniffer import Sniffer
from fieldkit.stage import SERVER, Stage
from fieldkit.trace import TraceError, TraceEvent
from twochannel.protocol.money import format_minor

#: Where the car stops: this far from the terminal's antenna.
STOPS_AT_M: Final = 2.5
#: A jack that boots in 1970 is found, synchronised and heard within this time.
_DEADLINE_S: Final = 30.0
_DECLINED: Final = 3
#: The phone is promised to be on its second path by then.
_FALLBACK_MS: Final = 2000


class JourneyFailedError(Exception):
    """Something did not end as it must. The text says what."""


@dataclass(frozen=True, slots=True)
class Journey:
    """A journey by name; ``title`` for people.

    ``visits``: the terminals that it needs; ``extra_radios``: those of the cast that are nobody's;
    ``breaks_wifi``: whether it needs a Wi-Fi that can be cut.
    """

    name: str
    title: str
    play: Callable[[Stage, Account], Awaitable[None]] = field(repr=False)
    visits: Sequence[str] = ("lane-1",)
    extra_radios: Sequence[str] = ()
    breaks_wifi: bool = False


@dataclass(slots=True)
class Account:
    """What a journey has found so far; ``payment`` as the server shows it."""

    payment: dict[str, Any] | None = None
    checks: list[str] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)
    evidence: list[EvidenceStep] = field(default_factory=list)

    def demand(self, holds: bool, sentence: str) -> None:
        """Note ``sentence`` as found. Raises JourneyFailedError if it does not hold."""
        if not holds:
            raise JourneyFailedError(f"This does not hold: {sentence}")
        self.checks.append(sentence)


async def perform(stage: Stage, journey: Journey) -> JourneyResult:
    """Play ``journey`` and judge it; failures of the stage are failures of the journey."""
    account, began_ns, failure = Account(), time.monotonic_ns(), ""
    try:
        await journey.play(stage, account)
    except (JourneyFailedError, StageError, TraceError) as error:
        failure = str(error)
    except Exception as error:
        # Whatever it was: the other journeys are played, and the report tells of this one.
        failure = f"{type(error).__name__}: {error}"
    payment = str(account.payment["id"]) if account.payment else ""
    return JourneyResult(
        name=journey.name,
        title=journey.title,
        payment=account.payment,
        legs=legs.measure(stage.events(), payment),
        checks=account.checks,
        failure=failure,
        statements=account.statements,
        evidence=account.evidence,
        began_ns=began_ns,
        ended_ns=time.monotonic_ns(),
    )


# --- what people do


async def arrive(stage: Stage, terminal: str, speed_mps: float | None = None) -> None:
    """Bring the car to ``terminal``, at ``speed_mps`` or at once, and wait until it is heard."""
    if stage.moves:
        await _move(stage, terminal, speed_mps)
    await heard(stage, terminal)


async def _move(stage: Stage, terminal: str, speed_mps: float | None) -> None:
    x_m, y_m = stage.cast.terminal(terminal).at_m
    places = stage.cast.in_car((x_m + STOPS_AT_M, y_m))
    async with stage.air() as air, asyncio.timeout(stage.within_s(_DEADLINE_S)):
        for name, there in places.items():
            if speed_mps is None:
                await air.move(name, *there)
            else:
                await air.drive(name, there, speed_mps)
        while not places.items() <= (await air.positions()).items():
            await _next_advert(stage, terminal)


async def heard(stage: Stage, terminal: str) -> None:
    """Wait until ``terminal`` would charge a jack without asking which. Raises TimeoutError."""
    async with asyncio.timeout(stage.within_s(_DEADLINE_S)):
        while "chosen" not in await _jack_states(stage, terminal):
            await _next_advert(stage, terminal)


async def _next_advert(stage: Stage, terminal: str) -> None:
    """Wait for the next beacon that ``terminal`` hears: what it hears changes with that."""
    await stage.seen(terminal, "code_heard", after_ns=time.monotonic_ns())


async def _jack_states(stage: Stage, terminal: str) -> set[str]:
    listed = await stage.ask(terminal, "GET", "/v1/jacks")
    return {jack["state"] for jack in listed["items"]}


async def charge(
    stage: Stage, terminal: str, amount: str, *options: str, expect: Sequence[int] = (0,)
) -> dict[str, Any]:
    """Type a charge at ``terminal`` (EUR); the payment as the terminal shows it."""
    order = f"order-{secrets.token_hex(4)}"
    arguments = ("charge", amount, "EUR", "--reference", order, *options)
    _, payment = await stage.cli(terminal, *arguments, expect=expect)
    return payment


@contextlib.asynccontextmanager
async def owner_asked(
    stage: Stage,
    terminal: str,
    amount: str,
    expect: Sequence[int] = (0,),
    options: Sequence[str] = (),
) -> AsyncIterator[tuple[str, asyncio.Task[dict[str, Any]]]]:
    """Charge at ``terminal``; once the phone asks its owner, the payment's id and the charge.

    ``expect``: exit codes that the charge may end with; ``options``: of its command.
    """
    after_ns = time.monotonic_ns()
    charging = asyncio.create_task(charge(stage, terminal, amount, *options, expect=expect))
    try:
        prompt = await stage.seen(stage.cast.phone.name, "prompt_shown", after_ns=after_ns)
        yield str(prompt.payment), charging
    finally:
        charging.cancel()
        await asyncio.gather(charging, return_exceptions=True)


async def declining(stage: Stage, terminal: str, amount: str) -> dict[str, Any]:
    """Charge at ``terminal``; the owner, asked on the phone, declines."""
    async with owner_asked(stage, terminal, amount, expect=(_DECLINED,)) as (payment, charging):
        await stage.cli(stage.cast.phone.name, "decline", payment)
        return await charging


async def resource(stage: Stage, payment: str) -> dict[str, Any]:
    """The payment as the server's operator sees it."""
    _, shown = await stage.cli(SERVER, "payments", "show", payment)
    found: dict[str, Any] = shown["payment"]
    return found


async def verify_evidence(stage: Stage, account: Account, payment: str) -> None:
    """Export the evidence, verify it offline, and note what it shows."""
    file = stage.state(SERVER).with_name(f"evidence-{payment}.json")
    await stage.say(SERVER, "evidence", "export", payment, "--out", str(file))
    account.statements = json.loads(await stage.read(SERVER, file))["statements"]
    trusted = ("--server", stage.server_thumbprint)
    _, verdict = await stage.cli(SERVER, "evidence", "verify", str(file), *trusted)
    account.evidence = [
        EvidenceStep(step["subject"], step["text"], bool(step["warning"]))
        for step in verdict["steps"]
    ]


# --- what must come of it


async def _settled(
    stage: Stage, account: Account, payment: Mapping[str, Any], status: str, booked: list[Charge]
) -> None:
    """The payment has ``status`` everywhere, and the processor has booked just ``booked``."""
    ident = str(payment["id"])
    account.payment, _ = await asyncio.gather(
        resource(stage, ident), verify_evidence(stage, account, ident)
    )
    account.demand(
        payment["status"] == status == account.payment["status"],
        f"terminal and server both say: {status}",
    )
    found = await stage.booked(ident)
    account.demand(found == booked, _in_words(booked))
    account.demand(bool(account.evidence), "the evidence verifies offline, with public keys alone")


def _in_words(booked: list[Charge]) -> str:
    if not booked:
        return "the processor has booked nothing"
    sums = ", ".join(
        f"{format_minor(charge.captured_minor, charge.currency)} {charge.currency}"
        f" of {format_minor(charge.authorized_minor, charge.currency)}"
        for charge in booked
    )
    return f"the processor has booked {sums}, once"


async def coffee(stage: Stage, account: Account) -> None:
    """Automatic capture, approved by the phone under its owner's limit."""
    await arrive(stage, "lane-1")
    payment = await charge(stage, "lane-1", "4.50", "--description", "Flat white")
    await _settled(stage, account, payment, "captured", [Charge("captured", "EUR", 450, 450)])
    decided = stage.traces[stage.cast.phone.name].find("decision", payment=payment["id"])
    by_policy = decided is not None and decided.fields["decided_by"] == "policy"
    account.demand(by_policy, "the phone approved it by its owner's rule, without asking")


async def refuelling(stage: Stage, account: Account) -> None:
    """Authorise a maximum, take the real amount, release the rest."""
    await arrive(stage, "pump-3", speed_mps=30.0)
    held = await charge(stage, "pump-3", "80.00", "--manual")
    account.demand(held["status"] == "authorized", "80.00 EUR were held before the pump ran")
    _, payment = await stage.cli("pump-3", "capture", held["id"], "42.17", "EUR")
    await _settled(stage, account, payment, "captured", [Charge("captured", "EUR", 8000, 4217)])
    account.demand(payment["captured_minor"] == 4217, "42.17 EUR taken, 37.83 EUR released")


async def owner_declines(stage: Stage, account: Account) -> None:
    """A merchant that the phone does not know: it asks, and the owner says no."""
    await arrive(stage, "wash-1")
    payment = await declining(stage, "wash-1", "12.00")
    await _settled(stage, account, payment, "declined", [])


async def replayed_code(stage: Stage, account: Account) -> None:
    """A thief plays the jack's code at another lane of a merchant that the phone trusts."""
    await arrive(stage, "lane-1")
    ear, mouth = stage.radio("thief-ear"), stage.radio("thief-mouth")
    arguments = ["-m", "fieldkit.attacker", "--ear", ear, "--mouth", mouth]
    log, patience_s = stage.folder / "logs" / "thief.log", stage.within_s(READY_DEADLINE_S)
    thief = Process("thief", arguments, log, ready_deadline_s=patience_s)
    stage.processes[thief.name] = thief
    try:
        await thief.start()
        await heard(stage, "lane-2")
        account.demand(True, "lane 2, 900 m away, hears the replayed code as if the car were there")
        payment = await declining(stage, "lane-2", "9.00")
    finally:
        await thief.stop()
    await _settled(stage, account, payment, "declined", [])
    unheard = [e for e in account.evidence if e.warning and "not hear" in e.text.lower()]
    account.demand(bool(unheard), "the evidence says that the jack did not hear that lane")


async def jack_restarted_1970(stage: Stage, account: Account) -> None:
    """Power cut, no clock: nothing payable on the air until the phone has brought the time."""
    jack, phone = stage.cast.jack.name, stage.cast.phone.name
    await arrive(stage, "lane-1")
    async with Sniffer(stage.radio("sniffer")) as sniffer:
        await stage.processes[phone].stop()
        await stage.kill(jack)
        cut_ns = time.monotonic_ns()
        in_1970 = {
            "CIGARJACK_BOOT_ID": str(uuid6.uuid7()),
            "CIGARJACK_WALL_CLOCK_START": "1970-01-01T00:00:00+00:00",
        }
        await stage.restart(jack, in_1970)
        started = await stage.seen(jack, "agent_started", after_ns=cut_ns)
        account.demand(started.clock == "unsynchronised", "the jack knows that it has no time")
        silent = await stage.seen(
            jack,
            "beacon_silent",
            after_ns=cut_ns,
            where=lambda fields: fields["reason"] == "clock_unsynchronised",
        )
        await stage.restart(phone)
        synchronised = await stage.seen(jack, "clock_synchronised", after_ns=cut_ns)
        # A killed host's controller goes on until the air has seen that the host is gone; by the
        # time that the new one is silent, it has been reset.
        first = await sniffer.first_code(silent.mono_ns, stage.within_s(_DEADLINE_S))
    silence_ms = (synchronised.mono_ns - silent.mono_ns) // 1_000_000
    account.demand(
        first.heard_ns >= synchronised.mono_ns,
        f"a sniffer heard no code in the {silence_ms} ms until the phone had brought the time",
    )
    await heard(stage, "lane-1")
    payment = await charge(stage, "lane-1", "6.20", "--description", "Cold brew")
    await _settled(stage, account, payment, "captured", [Charge("captured", "EUR", 620, 620)])


async def wifi_lost(stage: Stage, account: Account) -> None:
    """Wi-Fi falls silent, though mDNS still says where the jack is: the code comes over GATT."""
    async with stage.breakable_wifi() as wifi:
        await arrive(stage, "lane-1")
        await wifi.cut()
        payment = await charge(stage, "lane-1", "3.40", "--description", "Espresso")
        await _settled(stage, account, payment, "captured", [Charge("captured", "EUR", 340, 340)])
        received = _by_phone(stage, "auth_code_received", payment)
        account.demand(received.fields["path"] == "gatt", "the auth code came over Bluetooth GATT")
        account.demand(received.fields["presence"] is True, "the jack heard the lane meanwhile")
        tried, asked = (
            _by_phone(stage, event, payment).mono_ns for event in ("gatt_tried", "auth_code_asked")
        )
        waited_ms = (tried - asked) // 1_000_000
        account.demand(
            waited_ms < _FALLBACK_MS, f"the phone waited {waited_ms} ms for Wi-Fi, less than 2 s"
        )
        await wifi.mend()
        after = await charge(stage, "lane-1", "2.10", "--description", "Biscotti")
        path = _by_phone(stage, "auth_code_received", after).fields["path"]
        account.demand(
            (after["status"], path) == ("captured", "wifi"),
            "with Wi-Fi back, the next payment's auth code came over Wi-Fi",
        )


def _by_phone(stage: Stage, event: str, payment: Mapping[str, Any]) -> TraceEvent:
    """What the phone noted about ``payment``."""
    found = stage.traces[stage.cast.phone.name].find(event, payment=str(payment["id"]))
    if found is None:
        raise JourneyFailedError(f"The phone has noted no {event} of this payment")
    return found


JOURNEYS: Final = (
    Journey("coffee", "Coffee at a drive-through lane", coffee),
    Journey("refuelling", "Refuelling: 80.00 held, 42.17 taken", refuelling, ("pump-3",)),
    Journey("owner-declines", "The owner declines", owner_declines, ("wash-1",)),
    Journey(
        *("replayed-code", "A code replayed at another lane", replayed_code),
        visits=("lane-1", "lane-2"),
        extra_radios=("thief-ear", "thief-mouth"),
    ),
    Journey(
        *("jack-restarted-1970", "Jack restarted in 1970", jack_restarted_1970),
        extra_radios=("sniffer",),
    ),
    Journey("wifi-lost", "Wi-Fi lost, code over GATT", wifi_lost, breaks_wifi=True),
)


async def audit(stage: Stage) -> list[AuditCheck]:
    """What ``cigarjack-server audit`` checked, and what it found."""
    _, audited = await stage.cli(SERVER, "audit", expect=(0, 1))
    if not audited.get("checks"):
        raise StageError("the audit did not run to its end")
    return [AuditCheck(c["title"], c["objects"], tuple(c["findings"])) for c in audited["checks"]]
