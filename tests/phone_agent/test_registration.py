"""Telling the server: kept before it is sent, sent again after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cigarjack.client import PairedJack
from phone_agent import identity as identities
from phone_agent.database import Database
from phone_agent.identity import PhoneIdentity
from phone_agent.registration import Registration
from phone_agent.wallet import Wallet
from server.client import EnrolmentCode, ServerClient, ServerUnreachableError
from tests.cigarjack.parties import Jack, Server, new_id
from tests.phone_agent.owners_phone import OwnersPhone
from tests.phone_agent.scripted_server import ScriptedServer
from twochannel.protocol.envelope import unverified_claims, verify
from twochannel.protocol.errors import CodedError, ErrorCode, StatementError
from twochannel.protocol.statements import Enrolment, Method, PairingAcceptance, Role
from twochannel.trace import Trace, wall_ms

CODE = EnrolmentCode("T" * 43, "C" * 22)


@dataclass
class Desk:
    wallet: Wallet
    identity: PhoneIdentity
    registration: Registration
    client: ServerClient


@pytest.fixture
def wallet(tmp_path: Path) -> Iterator[Wallet]:
    with Database.open(tmp_path / "w.sqlite3") as database:
        yield Wallet(database)


@pytest.fixture
async def desk(tmp_path: Path, wallet: Wallet, server: ScriptedServer) -> AsyncIterator[Desk]:
    identity = identities.create(tmp_path / "state")
    async with ServerClient(server.pin, identity.signer, new_id=new_id, wall_ms=wall_ms) as client:
        yield Desk(wallet, identity, Registration(wallet, identity, client, new_id), client)


@pytest.fixture
def paired(jack: Jack, tmp_path: Path, server: ScriptedServer) -> PairedJack:
    phone = OwnersPhone(tmp_path / "other")
    return PairedJack(phone.pair(jack, server), server.party.identity(), 4000)


async def test_enrolment_proves_the_key_and_pins_the_server(
    desk: Desk, server: ScriptedServer
) -> None:
    await desk.registration.enrol(CODE)
    (compact,) = server.registered
    enrolment = verify(compact, Enrolment, desk.identity.signer.key, audience=server.party.id)
    assert (enrolment.role, enrolment.code) == (Role.PHONE, CODE.code)
    assert desk.wallet.server() == desk.client.pin


async def test_an_enrolment_whose_answer_was_lost_is_repeated_byte_for_byte(
    desk: Desk, server: ScriptedServer
) -> None:
    server.refusals.append(None)
    with pytest.raises(ServerUnreachableError):
        await desk.registration.enrol(CODE)
    assert desk.wallet.server() is None
    await desk.registration.enrol(CODE)
    first, second = server.registered
    assert first == second


async def test_a_new_code_makes_a_new_enrolment(desk: Desk, server: ScriptedServer) -> None:
    server.refusals.append(ErrorCode.ENROLMENT_CODE_REFUSED)
    with pytest.raises(CodedError):
        await desk.registration.enrol(CODE)
    await desk.registration.enrol(EnrolmentCode(CODE.thumbprint, "D" * 22))
    assert unverified_claims(server.registered[-1])["code"] == "D" * 22


async def test_a_clock_that_is_wrong_is_corrected_and_the_id_stays(
    desk: Desk, server: ScriptedServer
) -> None:
    server.skew_ms = 100_000
    server.refusals.append(ErrorCode.CLOCK_SKEW)
    await desk.registration.enrol(CODE)
    first, second = map(unverified_claims, server.registered)
    assert first["jti"] == second["jti"]
    assert int(str(second["iat"])) - int(str(first["iat"])) >= 99


async def test_a_pairing_is_counter_signed_and_registered(
    desk: Desk, server: ScriptedServer, paired: PairedJack
) -> None:
    kept = desk.registration.keep_pairing(paired, "192.0.2.7")
    assert desk.wallet.jacks() == [kept]
    assert (kept.host, kept.port, kept.registered) == ("192.0.2.7", 4000, False)
    await desk.registration.register_jack(kept)
    (compact,) = server.registered
    key = desk.identity.signer.key
    acceptance = verify(compact, PairingAcceptance, key, audience=server.party.id)
    assert (acceptance.sub, acceptance.pairing) == (paired.pin.jack, paired.pairing)
    assert desk.wallet.jacks()[0].registered


async def test_a_method_is_registered_under_the_id_of_its_statement(
    desk: Desk, server: ScriptedServer
) -> None:
    kept = desk.registration.keep_method("tok_success", "Card")
    assert desk.wallet.default_method() is None
    await desk.registration.register_method(kept)
    method = verify(server.registered[0], Method, desk.identity.signer.key)
    assert (method.jti, method.token, method.label) == (kept.id, "tok_success", "Card")
    assert desk.wallet.default_method() == kept.id


async def test_a_method_that_is_refused_is_forgotten(desk: Desk, server: ScriptedServer) -> None:
    server.refusals.append(ErrorCode.CLAIM_INVALID)
    with pytest.raises(CodedError):
        await desk.registration.register_method(desk.registration.keep_method("tok_x", "Card"))
    assert desk.wallet.methods() == []


async def test_a_method_that_cannot_be_told_now_is_kept(desk: Desk, server: ScriptedServer) -> None:
    for refusal in (ErrorCode.NOT_READY, None):
        server.refusals.append(refusal)
        kept = desk.registration.keep_method("tok_success", "Card")
        with pytest.raises((CodedError, ServerUnreachableError)):
            await desk.registration.register_method(kept)
        assert kept in desk.wallet.methods()


@pytest.mark.parametrize(
    ("token", "label"),
    [
        ("", "Card"),
        ("tok x", "Card"),
        ("tok", "a\x00b"),
        ("4242424242424242", "Card"),
        ("pm_4242-4242-4242-4242", "Card"),
        ("tok_success", "Visa 4242 4242 4242 4242"),
    ],
)
async def test_a_method_that_makes_no_sense_is_refused_here(
    desk: Desk, server: ScriptedServer, token: str, label: str
) -> None:
    with pytest.raises(StatementError):
        desk.registration.keep_method(token, label)
    assert (desk.wallet.methods(), server.registered) == ([], [])


async def test_the_sweep_sends_what_has_no_answer_and_goes_on_after_a_refusal(
    desk: Desk, server: ScriptedServer, paired: PairedJack, tmp_path: Path
) -> None:
    desk.registration.keep_pairing(paired, "192.0.2.7")
    method = desk.registration.keep_method("tok_success", "Card")
    server.refusals.append(ErrorCode.EPOCH_OUTDATED)
    with Trace("phone", tmp_path / "trace.jsonl", boot="boot") as trace:
        await desk.registration.sweep(trace)
        assert [jack.registered for jack in desk.wallet.jacks()] == [False]
        assert desk.wallet.default_method() == method.id
        await desk.registration.sweep(trace)
        assert [jack.registered for jack in desk.wallet.jacks()] == [True]
        sent = len(server.registered)
        await desk.registration.sweep(trace)
        assert len(server.registered) == sent
    assert (tmp_path / "trace.jsonl").read_text().count('"intent_swept"') == 3


async def test_an_identity_is_made_once_and_kept_private(tmp_path: Path) -> None:
    first = identities.create(tmp_path)
    assert identities.create(tmp_path).phone == first.phone
    assert identities.load(tmp_path).certificate == first.certificate
    for name in ("signing.pem", "tls.pem"):
        assert (tmp_path / "keys" / name).stat().st_mode & 0o777 == 0o600
    assert Server().id != first.phone
