"""The jack's clock: no trust without a statement, and never backwards, whatever happens."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cigarjack.clock import JackClock, boottime_ms
from cigarjack.clock_rules import MAX_ROUND_TRIP_MS, MAX_STEP_BACK_MS, read_time
from cigarjack.config import JackSettings, StateFolder
from cigarjack.identity import initialise
from cigarjack.memory import Memory
from tests.cigarjack.parties import NOW_MS, Boottime, Jack, Phone, Server, new_id, owner_of
from twochannel.protocol import envelope
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.statements import Time

NONCE = "n" * 21 + "A"
OTHER_NONCE = "m" * 21 + "A"


def statement(time_ms: int, nonce: str = NONCE) -> Time:
    party = "p" * 42 + "A"
    return Time(iss=party, aud=party, jti=new_id(), nonce=nonce, time_ms=time_ms)


def code_of(clock: JackClock, told: Time) -> ErrorCode:
    before = clock.now_ms()
    with pytest.raises(CodedError) as refused:
        clock.accept(told)
    assert clock.now_ms() == before
    return refused.value.code


def test_a_new_clock_knows_nothing(unpaired: Jack) -> None:
    assert not unpaired.clock.trusted
    assert unpaired.clock.now_ms() is None
    assert unpaired.clock.now_s() is None
    with pytest.raises(ValueError, match="without trusted time"):
        unpaired.clock.until_s(1)


def test_the_time_is_that_of_arrival(unpaired: Jack) -> None:
    clock, boottime = unpaired.clock, unpaired.boottime
    clock.hand_out(NONCE)
    boottime.now_ms += 700
    assert clock.accept(statement(NOW_MS)) == 700
    assert clock.now_ms() == NOW_MS
    boottime.now_ms += 1_500
    assert clock.now_ms() == NOW_MS + 1_500
    assert clock.now_s() == NOW_MS // 1000 + 1
    assert clock.until_s(NOW_MS // 1000 + 4) == 2.5


def test_the_clock_is_late_by_the_journey_back_and_never_early(unpaired: Jack) -> None:
    """True time is the server's; it answers somewhere between hand-out and arrival."""
    for there_ms, back_ms in [(0, 0), (300, 0), (0, 300), (40, 900)]:
        true_offset_ms = NOW_MS - unpaired.boottime.now_ms
        unpaired.clock.hand_out(NONCE)
        unpaired.boottime.now_ms += there_ms
        told = statement(unpaired.boottime.now_ms + true_offset_ms)
        unpaired.boottime.now_ms += back_ms
        unpaired.clock.forget()
        unpaired.clock.hand_out(NONCE)
        unpaired.clock.accept(told)
        now_ms = unpaired.clock.now_ms()
        assert now_ms is not None
        assert unpaired.boottime.now_ms + true_offset_ms - now_ms == back_ms


def test_a_nonce_serves_once_and_only_the_last_one(unpaired: Jack) -> None:
    clock = unpaired.clock
    assert code_of(clock, statement(NOW_MS)) is ErrorCode.NONCE_UNKNOWN
    clock.hand_out(NONCE)
    clock.hand_out(OTHER_NONCE)
    assert code_of(clock, statement(NOW_MS)) is ErrorCode.NONCE_UNKNOWN
    clock.accept(statement(NOW_MS, OTHER_NONCE))
    assert code_of(clock, statement(NOW_MS + 1, OTHER_NONCE)) is ErrorCode.NONCE_UNKNOWN


@pytest.mark.parametrize(("after_ms", "accepted"), [(MAX_ROUND_TRIP_MS, True), (10_001, False)])
def test_a_nonce_lives_ten_seconds(unpaired: Jack, after_ms: int, accepted: bool) -> None:
    unpaired.clock.hand_out(NONCE)
    unpaired.boottime.now_ms += after_ms
    if accepted:
        unpaired.clock.accept(statement(NOW_MS))
    else:
        assert code_of(unpaired.clock, statement(NOW_MS)) is ErrorCode.NONCE_UNKNOWN
    assert unpaired.clock.trusted is accepted


def test_a_refused_time_uses_its_nonce_up(unpaired: Jack) -> None:
    unpaired.clock.hand_out(NONCE)
    unpaired.clock.accept(statement(NOW_MS))
    unpaired.clock.hand_out(NONCE)
    early = statement(NOW_MS - MAX_STEP_BACK_MS - 1)
    assert code_of(unpaired.clock, early) is ErrorCode.TIME_REFUSED
    assert code_of(unpaired.clock, statement(NOW_MS)) is ErrorCode.NONCE_UNKNOWN


def test_a_fast_clock_stands_still_until_true_time_has_caught_up(unpaired: Jack) -> None:
    clock, boottime = unpaired.clock, unpaired.boottime
    clock.hand_out(NONCE)
    clock.accept(statement(NOW_MS))
    clock.hand_out(NONCE)
    clock.accept(statement(NOW_MS - 20_000))
    assert clock.now_ms() == NOW_MS
    assert clock.until_s(NOW_MS // 1000 + 1) == 21.0
    boottime.now_ms += 20_000
    assert clock.now_ms() == NOW_MS
    boottime.now_ms += 5
    assert clock.now_ms() == NOW_MS + 5


def reopened(jack: Jack, boot: str) -> JackClock:
    return JackClock(jack.memory, boot, jack.boottime)


def test_a_restart_in_the_same_boot_restores_trust(unpaired: Jack) -> None:
    unpaired.clock.hand_out(NONCE)
    unpaired.clock.accept(statement(NOW_MS))
    unpaired.boottime.now_ms += 60_000
    assert reopened(unpaired, "boot").now_ms() == NOW_MS + 60_000


def test_a_restart_keeps_a_held_clock_held(unpaired: Jack) -> None:
    for time_ms in (NOW_MS, NOW_MS - 20_000):
        unpaired.clock.hand_out(NONCE)
        unpaired.clock.accept(statement(time_ms))
    clock = reopened(unpaired, "boot")
    unpaired.boottime.now_ms += 20_001
    assert clock.now_ms() == NOW_MS + 1


def test_another_boot_begins_without_trust_and_never_before_the_checkpoint(unpaired: Jack) -> None:
    unpaired.clock.hand_out(NONCE)
    unpaired.clock.accept(statement(NOW_MS))
    unpaired.boottime.now_ms += 60_000
    unpaired.clock.checkpoint()
    unpaired.boottime.now_ms = 3
    clock = reopened(unpaired, "next boot")
    assert not clock.trusted
    clock.hand_out(NONCE)
    assert code_of(clock, statement(NOW_MS + 59_999)) is ErrorCode.TIME_REFUSED
    clock.hand_out(NONCE)
    clock.accept(statement(NOW_MS + 60_000))
    assert clock.now_ms() == NOW_MS + 60_000


def test_a_checkpoint_without_trust_changes_nothing(unpaired: Jack) -> None:
    unpaired.clock.checkpoint()
    assert unpaired.memory.clock() is None


def test_only_the_pinned_server_tells_this_jack_the_time(phone: Phone, server: Server) -> None:
    owner = owner_of(phone, server)
    jack, stranger = Phone().id, Server()
    assert read_time(server.time(jack, NONCE), jack, owner, None).time_ms == NOW_MS
    renamed = statement(NOW_MS).model_copy(update={"iss": stranger.id, "aud": jack})
    cases = {
        stranger.time(jack, NONCE): ErrorCode.KEY_UNKNOWN,
        server.time(stranger.id, NONCE): ErrorCode.AUDIENCE_WRONG,
        envelope.sign(renamed, server.signer): ErrorCode.ISSUER_WRONG,
        server.signed_challenge(jack, phone.id): ErrorCode.STATEMENT_TYPE_WRONG,
    }
    for compact, code in cases.items():
        with pytest.raises(CodedError) as refused:
            read_time(compact, jack, owner, None)
        assert refused.value.code is code


def test_boottime_advances() -> None:
    assert 0 < boottime_ms() <= boottime_ms()


class ClockMachine(RuleBasedStateMachine):
    """Any mix of waiting, statements right and wrong, checkpoints, restarts and reboots: the
    clock never goes back, not even over a reboot past what was checkpointed, and is trusted only
    after a statement in this boot."""

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp())
        initialise(StateFolder(self.path), JackSettings())
        self.memory = Memory(StateFolder(self.path).memory)
        self.boottime = Boottime()
        self.boot = 0
        self.told_in_boot = -1
        self.latest_ms = 0
        self.durable_ms = 0
        self.clock = JackClock(self.memory, "0", self.boottime)

    @rule(wait_ms=st.integers(0, 400_000))
    def wait(self, wait_ms: int) -> None:
        self.boottime.now_ms += wait_ms

    @rule(shift_ms=st.integers(-200_000, 200_000), journey_ms=st.integers(0, 12_000))
    def synchronise(self, shift_ms: int, journey_ms: int) -> None:
        time_ms = max(0, (self.latest_ms or NOW_MS) + shift_ms)
        self.clock.hand_out(NONCE)
        self.boottime.now_ms += journey_ms
        refusal: ErrorCode | None = None
        try:
            self.clock.accept(statement(time_ms))
        except CodedError as error:
            refusal = error.code
        assert refusal in (None, ErrorCode.TIME_REFUSED, ErrorCode.NONCE_UNKNOWN)
        if refusal is not None:
            return
        self.told_in_boot = self.boot
        self.durable_ms = self.clock.now_ms() or 0

    @rule(nonce=st.sampled_from([NONCE, OTHER_NONCE]))
    def unasked_statement(self, nonce: str) -> None:
        code_of(self.clock, statement(NOW_MS + 10**9, nonce))

    @rule()
    def checkpoint(self) -> None:
        self.clock.checkpoint()
        self.durable_ms = self.clock.now_ms() or self.durable_ms

    @rule()
    def restart(self) -> None:
        self.clock = JackClock(self.memory, str(self.boot), self.boottime)

    @precondition(lambda self: self.boot < 5)
    @rule(start_ms=st.integers(0, 60_000))
    def reboot(self, start_ms: int) -> None:
        self.boot += 1
        self.boottime.now_ms = start_ms
        self.latest_ms = self.durable_ms
        self.clock = JackClock(self.memory, str(self.boot), self.boottime)

    @invariant()
    def never_backwards(self) -> None:
        now_ms = self.clock.now_ms()
        if now_ms is not None:
            assert now_ms >= self.latest_ms
            self.latest_ms = now_ms

    @invariant()
    def never_trusted_without_a_statement_in_this_boot(self) -> None:
        assert self.clock.trusted == (self.told_in_boot == self.boot)

    def teardown(self) -> None:
        self.memory.close()
        shutil.rmtree(self.path)


TestClockMachine = ClockMachine.TestCase
TestClockMachine.settings = settings(max_examples=40, stateful_step_count=25)
