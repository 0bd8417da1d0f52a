"""The same payment request again is the same payment; another one under its id is refused."""

from __future__ import annotations

import pytest
import uuid6

from fieldkit import processor_books
from fieldkit.journeys import Account, arrive, charge, resource, verify_evidence
from fieldkit.processor_books import Charge
from fieldkit.stage import SERVER, Stage
from server.client import EnrolmentCode, ServerClient, meet
from twochannel.keystore.file import FileKeyStore
from twochannel.protocol.envelope import sign, unverified_claims
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.money import Amount
from twochannel.protocol.statements import PaymentRequest
from twochannel.trace import wall_ms

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAYMENTS = "/v1/payments"


def new_id() -> str:
    return str(uuid6.uuid7())


async def client_of(stage: Stage, terminal: str) -> ServerClient:
    """A second client with the terminal's own key, as a terminal restored from a copy would be."""
    code = EnrolmentCode(stage.server_thumbprint, "A" * 22)
    pin = await meet(stage.processes[SERVER].ready["url"], code)
    signer = FileKeyStore(stage.state(terminal) / "keys").signer("signing")
    return ServerClient(pin, signer, new_id=new_id, wall_ms=wall_ms)


async def test_the_stored_statement_sent_again_is_the_same_payment(stage: Stage) -> None:
    await arrive(stage, "lane-1")
    paid, account = await charge(stage, "lane-1", "3.30"), Account()
    await verify_evidence(stage, account, paid["id"])
    request = account.statements[0]
    async with await client_of(stage, "lane-1") as client:
        answers = [await client.send(PAYMENTS, request) for _ in range(2)]
    assert [(a["id"], a["status"]) for a in answers] == [(paid["id"], "captured")] * 2
    assert answers[0]["receipt"] == answers[1]["receipt"]
    booked = processor_books.charges(stage.state(SERVER), paid["id"])
    assert booked == [Charge("captured", "EUR", 330, 330)]


async def test_another_amount_under_the_same_id_is_refused(stage: Stage) -> None:
    await arrive(stage, "lane-1")
    paid, account = await charge(stage, "lane-1", "3.40"), Account()
    await verify_evidence(stage, account, paid["id"])
    first = PaymentRequest.from_claims(unverified_claims(account.statements[0]))
    dearer = first.model_copy(update={"amount": Amount(value=34_000, currency="EUR")})
    signer = FileKeyStore(stage.state("lane-1") / "keys").signer("signing")
    async with await client_of(stage, "lane-1") as client:
        with pytest.raises(CodedError) as refused:
            await client.send(PAYMENTS, sign(dearer, signer))
    assert refused.value.code is ErrorCode.PAYMENT_CONFLICT
    assert (await resource(stage, paid["id"]))["amount"]["value"] == 340
    booked = processor_books.charges(stage.state(SERVER), paid["id"])
    assert booked == [Charge("captured", "EUR", 340, 340)]
