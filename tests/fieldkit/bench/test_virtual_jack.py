"""The bench's jack makes statements that the real verifiers take."""

from __future__ import annotations

import pytest

from fieldkit.bench.virtual_jack import EPOCH, VirtualJack
from fieldkit.specimens import NOW_S, Specimens, specimen_agreement, specimen_id, specimen_signer
from server.pairing import read_acceptance
from twochannel.protocol import beacon, chain
from twochannel.protocol.envelope import sign, verify
from twochannel.protocol.errors import StatementError
from twochannel.protocol.statements import AuthCode, Challenge, PairingAcceptance
from twochannel.protocol.wire import base64url


@pytest.fixture
def jack() -> VirtualJack:
    return VirtualJack(specimen_signer("jack"), specimen_agreement("jack"))


def test_the_server_takes_its_pairing(jack: VirtualJack) -> None:
    specimens, phone = Specimens(), specimen_signer("phone")
    acceptance = PairingAcceptance(
        iss=phone.key.kid,
        aud=specimens.server,
        jti=specimen_id(201),
        iat=NOW_S,
        exp=NOW_S + 60,
        sub=jack.id,
        pairing=jack.pairing(specimens.server, phone.key.kid, (specimen_id(202), specimen_id(203))),
    )
    accepted = read_acceptance(sign(acceptance, phone), phone.key, specimens.server)
    assert accepted.pairing.epoch == EPOCH
    assert accepted.beacon_key.kid == specimen_agreement("jack").key.kid


def test_its_auth_codes_answer_the_challenge_and_count_up(jack: VirtualJack) -> None:
    specimen = Specimens()[Challenge]
    challenge = verify(specimen.compact, Challenge, specimen_signer("server").key)
    nonce, key = base64url(bytes(range(12))), specimen_signer("jack").key
    made = [jack.auth_code(challenge, specimen.compact, nonce, specimen_id(n)) for n in (1, 2)]
    codes = [verify(compact, AuthCode, key, audience=challenge.iss) for compact in made]
    chain.check_auth_code(challenge, specimen.compact, codes[0])
    assert chain.presence_proven(challenge, codes[0])
    assert [code.counter for code in codes] == [1, 2]


def test_an_auth_code_for_another_challenge_is_found_out(jack: VirtualJack) -> None:
    specimen = Specimens()[Challenge]
    challenge = verify(specimen.compact, Challenge, specimen_signer("server").key)
    compact = jack.auth_code(
        challenge, specimen.compact + "A", base64url(bytes(12)), specimen_id(1)
    )
    code = verify(compact, AuthCode, specimen_signer("jack").key)
    with pytest.raises(StatementError):
        chain.check_auth_code(challenge, specimen.compact, code)


def test_jack_and_server_derive_the_same_beacon_key(jack: VirtualJack) -> None:
    server, own = specimen_agreement("server"), specimen_agreement("jack")
    expected = beacon.identity_key(server.exchange(own.key), server.key.point, own.key.point)
    assert jack.identity_key(server.key) == expected
