"""The jack's word that it is at hand: for its server and its phone, and for nobody else."""

from __future__ import annotations

import secrets

import pytest

from cigarjack import clock_rules
from cigarjack.client import JackPin
from tests.cigarjack.parties import (
    NOW_S,
    Jack,
    Phone,
    Server,
    new_id,
    new_key,
    owner_of,
    served,
)
from twochannel.keystore.file import FileSigner
from twochannel.protocol import envelope
from twochannel.protocol.chain import check_coupling
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.instructions import CouplingAnswer, CouplingChallenge
from twochannel.protocol.wire import base64url


def asked(server: Server, jack: str, phone: str, **changes: object) -> CouplingChallenge:
    claims: dict[str, object] = {
        "iss": server.id,
        "aud": jack,
        "jti": new_id(),
        "iat": NOW_S,
        "exp": NOW_S + 60,
        "sub": new_id(),
        "phone": phone,
        "nonce": base64url(secrets.token_bytes(16)),
    }
    return CouplingChallenge.model_validate(claims | changes)


def refusal(jack: Jack, compact: str) -> ErrorCode:
    with pytest.raises(CodedError) as refused:
        jack.chip.coupling_answer(compact)
    return refused.value.code


def test_it_answers_its_server_for_its_phone(paired: Jack, phone: Phone, server: Server) -> None:
    challenge = asked(server, paired.id, phone.id)
    compact = envelope.sign(challenge, server.signer)
    before = paired.memory.counter()
    answer = envelope.verify(
        paired.chip.coupling_answer(compact), CouplingAnswer, paired.identity.signer.key
    )
    check_coupling(challenge, compact, answer)
    assert answer.epoch == 1
    assert paired.memory.counter() == before


def test_what_it_refuses(paired: Jack, phone: Phone, server: Server) -> None:
    forger = FileSigner(new_key())
    for challenge, signer, code in (
        (asked(server, paired.id, phone.id), forger, ErrorCode.KEY_UNKNOWN),
        (asked(server, "A" * 43, phone.id), server.signer, ErrorCode.AUDIENCE_WRONG),
        (asked(server, paired.id, "A" * 43), server.signer, ErrorCode.EPOCH_OUTDATED),
        (asked(server, paired.id, phone.id, iss="A" * 43), server.signer, ErrorCode.ISSUER_WRONG),
    ):
        assert refusal(paired, envelope.sign(challenge, signer)) is code
    payment = server.signed_challenge(paired.id, phone.id)
    assert refusal(paired, payment) is ErrorCode.STATEMENT_TYPE_WRONG


def test_a_jack_that_knows_the_time_answers_in_time_only(
    paired: Jack, phone: Phone, server: Server
) -> None:
    past = asked(server, paired.id, phone.id, iat=NOW_S - 120, exp=NOW_S - 60)
    compact = envelope.sign(past, server.signer)
    assert paired.chip.coupling_answer(compact)
    paired.clock.hand_out("n" * 22)
    time = server.time(paired.id, "n" * 22)
    paired.clock.accept(clock_rules.read_time(time, paired.id, owner_of(phone, server), None))
    assert refusal(paired, compact) is ErrorCode.STATEMENT_EXPIRED


def test_an_unpaired_jack_says_nothing(unpaired: Jack, phone: Phone, server: Server) -> None:
    compact = envelope.sign(asked(server, unpaired.id, phone.id), server.signer)
    assert refusal(unpaired, compact) is ErrorCode.NOT_READY


async def test_its_phone_gets_the_word_and_checks_it(
    paired: Jack, phone: Phone, server: Server
) -> None:
    compact = envelope.sign(asked(server, paired.id, phone.id), server.signer)
    key, certificate = paired.identity.signer.key.jwk, paired.identity.certificate
    pin = JackPin(paired.id, key, certificate, bytes(32), epoch=1)
    async with served(paired) as (services, _):
        async with phone.client(services.port or 0, pin) as client:
            told = envelope.unverified_claims(await client.coupling_answer(compact))
            assert CouplingAnswer.from_claims(told).prev == envelope.digest(compact)
            stale = envelope.sign(asked(server, paired.id, "A" * 43), server.signer)
            with pytest.raises(CodedError) as refused:
                await client.coupling_answer(stale)
            assert refused.value.code is ErrorCode.EPOCH_OUTDATED
        later = JackPin(paired.id, key, certificate, bytes(32), epoch=2)
        async with phone.client(services.port or 0, later) as client:
            with pytest.raises(CodedError) as refused:
                await client.coupling_answer(compact)
            assert refused.value.code is ErrorCode.EPOCH_OUTDATED
