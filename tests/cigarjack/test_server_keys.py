"""What a jack believes of its server while the server's key is replaced."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cigarjack import chip_rules, clock_rules
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
from tests.cigarjack.test_local_service import pin_of
from twochannel.keystore.file import FileSigner
from twochannel.protocol import envelope
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.statements import Identity
from twochannel.protocol.succession import Succession

BEGINS_S, ENDS_S = NOW_S + 60, NOW_S + 600


class Dynasty:
    """A server and the keys that come after its first."""

    def __init__(self) -> None:
        self.server = Server()
        self.identity = self.server.identity()
        self.signers = [self.server.signer]
        self.successions: list[str] = []

    def succeed(self, begins_s: int = BEGINS_S, ends_s: int = ENDS_S) -> str:
        before, signer = self.signers[-1], FileSigner(new_key())
        identity = Identity.from_claims(envelope.unverified_claims(self.identity))
        following = identity.model_copy(update={"jti": new_id(), "key": signer.key.jwk})
        succession = Succession(
            iss=self.server.id,
            jti=new_id(),
            iat=NOW_S,
            identity=envelope.sign(following, signer),
            begins=begins_s,
            ends=ends_s,
        )
        self.signers.append(signer)
        self.successions.append(envelope.sign(succession, before))
        return self.successions[-1]

    def challenge(self, number: int, jack: str, phone: str) -> str:
        """Signed with the key of that number, from 0."""
        return envelope.sign(self.server.challenge(jack, phone), self.signers[number])


@pytest.fixture
def dynasty() -> Dynasty:
    return Dynasty()


@pytest.fixture
def phone() -> Phone:
    return Phone()


def refusal(ask: Callable[[], object]) -> ErrorCode:
    with pytest.raises(CodedError) as refused:
        ask()
    return refused.value.code


def test_a_jack_reads_what_either_key_has_signed(dynasty: Dynasty, phone: Phone) -> None:
    jack = FileSigner(new_key()).key.kid
    owner = owner_of(phone, dynasty.server)
    dynasty.identity = owner.server_identity
    told = owner.succeeded(dynasty.succeed())
    assert told.succeeded(dynasty.successions[0]) == told
    assert told.server().id == owner.server().id
    assert told.server().beacon_key == owner.server().beacon_key
    for number in (0, 1):
        compact = dynasty.challenge(number, jack, phone.id)
        for now_s in (None, NOW_S, ENDS_S - 1):
            chip_rules.read_challenge(compact, jack, told, now_s)
    old, new = (dynasty.challenge(number, jack, phone.id) for number in (0, 1))
    chip_rules.read_challenge(new, jack, told, ENDS_S)
    assert refusal(lambda: chip_rules.read_challenge(old, jack, told, ENDS_S)) is (
        ErrorCode.KEY_UNKNOWN
    )
    assert refusal(lambda: chip_rules.read_challenge(new, jack, owner, NOW_S)) is (
        ErrorCode.KEY_UNKNOWN
    )


def test_without_a_clock_the_last_two_keys_are_believed(dynasty: Dynasty, phone: Phone) -> None:
    jack = FileSigner(new_key()).key.kid
    owner = owner_of(phone, dynasty.server)
    dynasty.identity = owner.server_identity
    owner = owner.succeeded(dynasty.succeed()).succeeded(dynasty.succeed())
    told = [dynasty.challenge(number, jack, phone.id) for number in range(3)]
    assert refusal(lambda: chip_rules.read_challenge(told[0], jack, owner, None)) is (
        ErrorCode.KEY_UNKNOWN
    )
    for compact in told[1:]:
        chip_rules.read_challenge(compact, jack, owner, None)
    time = dynasty.server.time(jack, "A" * 22)
    assert refusal(lambda: clock_rules.read_time(time, jack, owner, None)) is ErrorCode.KEY_UNKNOWN


async def test_only_the_servers_own_word_changes_what_the_jack_believes(
    paired: Jack, phone: Phone, server: Server
) -> None:
    dynasty = Dynasty()
    dynasty.server, dynasty.signers = server, [server.signer]
    owner = paired.memory.pairing_state().owner
    assert owner is not None
    dynasty.identity = owner.server_identity
    word = dynasty.succeed()
    foreign = Dynasty()
    async with served(paired) as (services, _):
        assert services.port is not None
        async with phone.client(services.port, pin_of(paired)) as client:
            for compact, code in (
                (foreign.succeed(), ErrorCode.KEY_UNKNOWN),
                (word[:-4] + "AAAA", ErrorCode.SIGNATURE_INVALID),
                (dynasty.identity, ErrorCode.STATEMENT_TYPE_WRONG),
            ):
                with pytest.raises(CodedError) as refused:
                    await client.put_server_key(compact)
                assert refused.value.code is code
            assert paired.memory.pairing_state().owner == owner
            await client.put_server_key(word)
            await client.put_server_key(word)
            challenge = dynasty.challenge(1, paired.id, phone.id)
            assert envelope.read_header(await client.auth_code(challenge)).kid == paired.id
    assert paired.memory.pairing_state().owner == owner.succeeded(word)
