"""Codes to jacks: slots, rotation, jacks that come and change, codes that two share."""

from __future__ import annotations

import pytest

from server import code_index
from server.code_index import CodeIndex
from twochannel.protocol.beacon import MAX_COUNTER_S, code_at

EXPONENT = 8
SLOT_S = 256
NOW_S = 1_700_000_000 // SLOT_S * SLOT_S + 100
KEY_A, KEY_B = bytes(range(16)), bytes(range(1, 17))


@pytest.fixture
def index() -> CodeIndex:
    index = CodeIndex(EXPONENT)
    index.put("a", KEY_A)
    index.put("b", KEY_B)
    return index


@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_codes_of_the_slots_around_now_resolve(index: CodeIndex, offset: int) -> None:
    code = code_at(KEY_A, NOW_S + offset * SLOT_S, EXPONENT)
    assert index.resolve(code, NOW_S) == "a"
    assert index.resolve(code_at(KEY_B, NOW_S, EXPONENT), NOW_S) == "b"


@pytest.mark.parametrize("offset", [-2, 2])
def test_codes_of_other_slots_do_not(index: CodeIndex, offset: int) -> None:
    assert index.resolve(code_at(KEY_A, NOW_S + offset * SLOT_S, EXPONENT), NOW_S) is None
    assert index.resolve(bytes(8), NOW_S) is None


def test_it_follows_the_clock_either_way(index: CodeIndex) -> None:
    for now_s in (NOW_S, NOW_S + 3 * SLOT_S, NOW_S - 86_400):
        assert index.resolve(code_at(KEY_A, now_s, EXPONENT), now_s) == "a"


def test_a_jack_that_comes_later_is_found_at_once(index: CodeIndex) -> None:
    code = code_at(bytes(16), NOW_S, EXPONENT)
    assert index.resolve(code, NOW_S) is None
    index.put("c", bytes(16))
    assert index.resolve(code, NOW_S) == "c"
    assert len(index) == 3


def test_a_new_key_ends_the_old_one(index: CodeIndex) -> None:
    old = code_at(KEY_A, NOW_S, EXPONENT)
    assert index.resolve(old, NOW_S) == "a"
    index.put("a", bytes(16))
    assert index.resolve(old, NOW_S) is None
    assert index.resolve(code_at(bytes(16), NOW_S, EXPONENT), NOW_S) == "a"
    assert len(index) == 2


@pytest.mark.parametrize("apart", [0, 1])
def test_a_code_that_two_share_is_nobodys(
    monkeypatch: pytest.MonkeyPatch, index: CodeIndex, apart: int
) -> None:
    """No two keys with the same 8 bytes can be found by trying, so the derivation is replaced."""
    shared = bytes(8)

    def colliding(key: bytes, start_s: int, exponent: int) -> bytes:
        slots = {KEY_A: 0, KEY_B: apart * SLOT_S}
        this_slot = start_s == NOW_S - 100 + slots[key]
        return shared if this_slot else code_at(key, start_s, exponent)

    monkeypatch.setattr(code_index, "code_at", colliding)
    assert index.resolve(shared, NOW_S) is None
    later_s = NOW_S + 4 * SLOT_S
    assert index.resolve(code_at(KEY_A, later_s, EXPONENT), later_s) == "a"


def test_it_is_prepared_a_piece_at_a_time_and_ahead(
    monkeypatch: pytest.MonkeyPatch, index: CodeIndex
) -> None:
    rounds = 0
    while not index.prepare(NOW_S, 3):
        rounds += 1
    assert rounds == 2  # Two jacks in four slots are eight codes.

    def no_more(*_: object) -> bytes:
        raise AssertionError("this code should be there")

    code = code_at(KEY_A, NOW_S + SLOT_S, EXPONENT)
    monkeypatch.setattr(code_index, "code_at", no_more)
    assert index.resolve(code, NOW_S + SLOT_S) == "a"


@pytest.mark.parametrize("now_s", [0, MAX_COUNTER_S])
def test_the_ends_of_time_have_no_neighbours(index: CodeIndex, now_s: int) -> None:
    assert index.prepare(now_s, 100)
    assert index.resolve(code_at(KEY_A, now_s, EXPONENT), now_s) == "a"
