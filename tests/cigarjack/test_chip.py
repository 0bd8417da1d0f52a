"""The chip: one auth code per payment, and a counter that never comes twice, whatever happens."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from cigarjack import chip as chip_module
from tests.cigarjack.parties import (
    LANE_NONCE,
    NOW_MS,
    NOW_S,
    Boottime,
    Jack,
    Phone,
    Server,
    a_jack,
    new_key,
    owner_of,
)
from twochannel.keystore.file import FileSigner
from twochannel.protocol import envelope
from twochannel.protocol.chain import check_auth_code, presence_proven
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.lane import SERVICE_UUID, LaneFrame
from twochannel.protocol.statements import AuthCode
from twochannel.radio.port import Sighting


def auth_code_of(compact: str, jack: Jack) -> AuthCode:
    return envelope.verify(compact, AuthCode, jack.identity.signer.key)


async def refusal(jack: Jack, compact: str) -> ErrorCode:
    before = jack.memory.counter()
    with pytest.raises(CodedError) as refused:
        await jack.chip.auth_code(compact)
    assert jack.memory.counter() == before
    return refused.value.code


async def test_an_auth_code_answers_its_challenge(
    paired: Jack, phone: Phone, server: Server
) -> None:
    challenge = server.challenge(paired.id, phone.id)
    compact = envelope.sign(challenge, server.signer)
    auth_code = auth_code_of(await paired.chip.auth_code(compact), paired)
    check_auth_code(challenge, compact, auth_code)
    assert (auth_code.counter, auth_code.epoch, auth_code.lane_nonce) == (1, 1, None)


async def test_an_auth_code_names_the_lane_that_the_jack_hears(
    paired: Jack, phone: Phone, server: Server
) -> None:
    frame = LaneFrame(LANE_NONCE).encode()
    paired.ear.take(Sighting("aa", SERVICE_UUID, frame, -40, 0.0))
    challenge = server.challenge(paired.id, phone.id)
    compact = await paired.chip.auth_code(envelope.sign(challenge, server.signer))
    assert presence_proven(challenge, auth_code_of(compact, paired))


async def test_the_same_challenge_gets_the_same_auth_code_even_after_it_expired(
    paired: Jack, phone: Phone, server: Server
) -> None:
    compact = server.signed_challenge(paired.id, phone.id)
    first = await paired.chip.auth_code(compact)
    synchronise(paired, server, NOW_MS + 3_600_000)
    assert await paired.chip.auth_code(compact) == first
    assert paired.memory.counter() == 1


async def test_twice_at_once_is_still_one_auth_code(
    paired: Jack, phone: Phone, server: Server
) -> None:
    compact = server.signed_challenge(paired.id, phone.id)
    answers = await asyncio.gather(*(paired.chip.auth_code(compact) for _ in range(5)))
    assert len(set(answers)) == 1
    assert paired.memory.counter() == 1


async def test_another_challenge_of_the_same_payment_is_refused(
    paired: Jack, phone: Phone, server: Server
) -> None:
    challenge = server.challenge(paired.id, phone.id)
    await paired.chip.auth_code(envelope.sign(challenge, server.signer))
    other = server.signed_challenge(paired.id, phone.id, sub=challenge.sub)
    assert await refusal(paired, other) is ErrorCode.CHALLENGE_REFUSED


async def test_an_expired_challenge_is_refused_by_a_clock_that_knows(
    paired: Jack, phone: Phone, server: Server
) -> None:
    compact = server.signed_challenge(paired.id, phone.id)
    synchronise(paired, server, (NOW_S + 60) * 1000)
    assert await refusal(paired, compact) is ErrorCode.STATEMENT_EXPIRED


async def test_without_trusted_time_expiry_is_left_to_the_server(
    paired: Jack, phone: Phone, server: Server
) -> None:
    compact = server.signed_challenge(paired.id, phone.id, iat=1, exp=2)
    assert auth_code_of(await paired.chip.auth_code(compact), paired).counter == 1


async def test_whom_the_chip_does_not_answer(paired: Jack, phone: Phone, server: Server) -> None:
    stranger = Server()
    forged = server.challenge(paired.id, phone.id)
    rotated = server.challenge(paired.id, phone.id, iss=stranger.id)
    cases = {
        envelope.sign(forged, stranger.signer): ErrorCode.KEY_UNKNOWN,
        envelope.sign(rotated, server.signer): ErrorCode.ISSUER_WRONG,
        server.signed_challenge(stranger.id, phone.id): ErrorCode.AUDIENCE_WRONG,
        server.signed_challenge(paired.id, Phone().id): ErrorCode.EPOCH_OUTDATED,
        server.time(paired.id, "n" * 21 + "A"): ErrorCode.STATEMENT_TYPE_WRONG,
        _with_last_byte_changed(envelope.sign(forged, server.signer)): ErrorCode.SIGNATURE_INVALID,
        "": ErrorCode.MESSAGE_MALFORMED,
        "a.b.c": ErrorCode.MESSAGE_MALFORMED,
        "a" * 9000: ErrorCode.MESSAGE_TOO_LARGE,
    }
    assert {compact: await refusal(paired, compact) for compact in cases} == cases


def _with_last_byte_changed(compact: str) -> str:
    return compact[:-2] + ("A" if compact[-2] != "A" else "B") + compact[-1]


async def test_an_unpaired_jack_answers_nobody(
    unpaired: Jack, phone: Phone, server: Server
) -> None:
    compact = server.signed_challenge(unpaired.id, phone.id)
    assert await refusal(unpaired, compact) is ErrorCode.NOT_READY


async def test_an_answer_of_an_earlier_pairing_is_not_given_again(
    paired: Jack, phone: Phone, server: Server
) -> None:
    compact = server.signed_challenge(paired.id, phone.id)
    await paired.chip.auth_code(compact)
    paired.adopt(owner_of(phone, server, epoch=2))
    assert await refusal(paired, compact) is ErrorCode.EPOCH_OUTDATED


async def test_a_pairing_that_ends_during_the_wait_for_the_lane_ends_the_challenge(
    tmp_path: Path, phone: Phone, server: Server
) -> None:
    with a_jack(tmp_path / "jack") as jack:
        jack.adopt(owner_of(phone, server))

        async def hear(_digest: str) -> bytes | None:
            jack.adopt(owner_of(Phone(), server, epoch=2))
            return None

        jack.chip._hear = hear
        compact = server.signed_challenge(jack.id, phone.id)
        assert await refusal(jack, compact) is ErrorCode.EPOCH_OUTDATED


async def test_old_auth_codes_go_once_a_later_challenge_proves_them_expired(
    paired: Jack, phone: Phone, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chip_module, "KEPT_AUTH_CODES", 2)
    payments = []
    for minute in (0, 0, 0, 5):
        issued_s = NOW_S + minute * 60
        challenge = server.challenge(paired.id, phone.id, iat=issued_s, exp=issued_s + 60)
        payments.append(challenge.sub)
        await paired.chip.auth_code(envelope.sign(challenge, server.signer))
        kept = [p for p in payments if paired.memory.answered(p, phone.id)]
        if not minute:
            assert kept == payments, "none of these is known to have expired"
    assert kept == payments[2:]
    assert paired.memory.counter() == 4


def synchronise(jack: Jack, server: Server, time_ms: int) -> None:
    from cigarjack.clock_rules import read_time

    owner = jack.memory.pairing_state().owner
    assert owner is not None
    jack.clock.hand_out("n" * 21 + "A")
    jack.clock.accept(
        read_time(server.time(jack.id, "n" * 21 + "A", time_ms), jack.id, owner, None)
    )


class ChipMachine(RuleBasedStateMachine):
    """Any mix of new challenges, repeats, conflicts and restarts: counters strictly increase,
    each payment has one auth code for ever, and a repeat is word for word the first answer."""

    challenges = Bundle("challenges")
    server = Server()
    phone = Phone()
    key = FileSigner(new_key())

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp())
        self.boottime = Boottime()
        self.given: dict[str, tuple[str, str]] = {}
        self.counters: list[int] = []
        self._open()
        self.jack.adopt(owner_of(self.phone, self.server))

    def _open(self) -> None:
        self._opened = a_jack(self.path / "jack", boottime=self.boottime)
        self.jack = self._opened.__enter__()

    def _ask(self, compact: str) -> str:
        return asyncio.run(self.jack.chip.auth_code(compact))

    @rule(target=challenges)
    def challenge(self) -> tuple[str, str]:
        challenge = self.server.challenge(self.jack.id, self.phone.id)
        return challenge.sub, envelope.sign(challenge, self.server.signer)

    @rule(target=challenges, other=challenges)
    def second_challenge_for_a_payment(self, other: tuple[str, str]) -> tuple[str, str]:
        payment = other[0]
        return payment, self.server.signed_challenge(self.jack.id, self.phone.id, sub=payment)

    @rule(asked=challenges)
    def ask(self, asked: tuple[str, str]) -> None:
        payment, compact = asked
        answered, before = self.given.get(payment, (compact, ""))
        if answered != compact:
            with pytest.raises(CodedError) as refused:
                self._ask(compact)
            assert refused.value.code is ErrorCode.CHALLENGE_REFUSED
            return
        answer = self._ask(compact)
        assert before in ("", answer)
        if not before:
            self.counters.append(auth_code_of(answer, self.jack).counter)
        self.given[payment] = (compact, answer)

    @rule(days=st.integers(0, 30))
    def restart(self, days: int) -> None:
        self._opened.__exit__(None, None, None)
        self.boottime.now_ms += days * 86_400_000
        self._open()

    @invariant()
    def counters_strictly_increase(self) -> None:
        assert self.counters == sorted(set(self.counters))
        assert self.jack.memory.counter() == (self.counters or [0])[-1]

    def teardown(self) -> None:
        self._opened.__exit__(None, None, None)
        shutil.rmtree(self.path)


TestChipMachine = ChipMachine.TestCase
TestChipMachine.settings = settings(max_examples=15, stateful_step_count=12)

#: Mints without end and tells each auth code as soon as it has it, as a jack answers its phone.
MINT = """
import asyncio, sys
from pathlib import Path
from tests.cigarjack.parties import Phone, Server, a_jack, owner_of
async def mint():
    phone, server = Phone(), Server()
    with a_jack(Path(sys.argv[1])) as jack:
        jack.adopt(owner_of(phone, server))
        while True:
            print(await jack.chip.auth_code(server.signed_challenge(jack.id, phone.id)), flush=True)
asyncio.run(mint())
"""


def test_a_killed_process_never_gives_a_counter_twice(tmp_path: Path) -> None:
    counters: list[int] = []
    with a_jack(tmp_path / "jack") as jack:
        key = jack.identity.signer.key
    for told in (1, 7, 20):
        process = subprocess.Popen(
            [sys.executable, "-c", MINT, str(tmp_path / "jack")],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(told)]
        os.kill(process.pid, signal.SIGKILL)
        rest, _ = process.communicate()
        lines += [line + "\n" for line in rest.split("\n")[:-1]]
        for line in lines:
            counters.append(envelope.verify(line.strip(), AuthCode, key).counter)
        with a_jack(tmp_path / "jack") as jack:
            assert jack.memory.counter() >= counters[-1], "told before it was on disk"
    assert counters == sorted(set(counters))
