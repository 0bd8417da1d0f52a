"""Which path is taken when: Wi-Fi, GATT, or both at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from cigarjack.client import JackClientError
from phone_agent.fallback import PROBE_AFTER_S, Path, first_answer
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.limits import WIFI_PATIENCE_S

Ask = Callable[[], Awaitable[str]]


def answers(text: str, after_s: float = 0) -> Ask:
    async def ask() -> str:
        await asyncio.sleep(after_s)
        return text

    return ask


def fails(after_s: float = 0) -> Ask:
    async def ask() -> str:
        await asyncio.sleep(after_s)
        raise JackClientError("nobody there")

    return ask


async def refuses() -> str:
    raise CodedError(ErrorCode.CHALLENGE_REFUSED)


async def silent() -> str:
    await asyncio.Event().wait()
    raise AssertionError


async def never() -> str:
    raise AssertionError("GATT was not to be used")


async def alive() -> bool:
    return True


async def dead() -> bool:
    await asyncio.Event().wait()
    return False


async def gone() -> bool:
    return False


async def test_wifi_that_answers_is_all_there_is() -> None:
    async def unasked() -> bool:
        raise AssertionError("no probe was to be made")

    assert await first_answer(answers("auth"), unasked, never) == ("auth", Path.WIFI)


async def test_a_refusal_is_an_answer() -> None:
    with pytest.raises(CodedError):
        await first_answer(refuses, dead, never)
    with pytest.raises(CodedError):
        await first_answer(silent, dead, refuses)


async def test_nobody_on_wifi_means_gatt_at_once() -> None:
    began_s = time.monotonic()
    assert await first_answer(fails(), dead, answers("auth")) == ("auth", Path.GATT)
    assert time.monotonic() - began_s < PROBE_AFTER_S


async def test_a_jack_that_waits_for_its_lane_is_waited_for() -> None:
    slow = answers("auth", WIFI_PATIENCE_S + 0.5)
    assert await first_answer(slow, alive, never) == ("auth", Path.WIFI)


async def test_silent_wifi_gets_company_within_two_seconds() -> None:
    began_s = time.monotonic()
    assert await first_answer(silent, dead, answers("auth")) == ("auth", Path.GATT)
    assert WIFI_PATIENCE_S - 0.1 < time.monotonic() - began_s < 2


async def test_wifi_whose_probe_fails_is_not_waited_for() -> None:
    began_s = time.monotonic()
    assert await first_answer(silent, gone, answers("auth")) == ("auth", Path.GATT)
    assert time.monotonic() - began_s < WIFI_PATIENCE_S


async def test_wifi_that_comes_back_may_still_win() -> None:
    late = answers("auth", PROBE_AFTER_S + 0.2)
    assert await first_answer(late, gone, silent) == ("auth", Path.WIFI)


async def test_wifi_that_has_failed_is_tried_again_while_gatt_takes_its_time() -> None:
    tries = iter([fails(), fails(PROBE_AFTER_S), answers("auth")])

    async def wifi() -> str:
        return await next(tries)()

    assert await first_answer(wifi, dead, silent) == ("auth", Path.WIFI)


async def test_wifi_is_tried_no_more_once_gatt_has_failed() -> None:
    tries = iter([fails(), answers("too late")])

    async def wifi() -> str:
        return await next(tries)()

    with pytest.raises(JackClientError, match="nobody there"):
        await first_answer(wifi, dead, fails(0.1))
    assert await next(tries)() == "too late"


async def test_wifi_is_waited_for_when_gatt_fails() -> None:
    late = answers("auth", PROBE_AFTER_S + 0.2)
    assert await first_answer(late, gone, fails()) == ("auth", Path.WIFI)


async def test_a_connection_that_breaks_while_it_lives_means_gatt() -> None:
    breaks = fails(PROBE_AFTER_S + 0.2)
    assert await first_answer(breaks, alive, answers("auth")) == ("auth", Path.GATT)


async def test_neither_path() -> None:
    with pytest.raises(JackClientError):
        await first_answer(fails(), dead, fails())
    with pytest.raises(JackClientError):
        await first_answer(fails(PROBE_AFTER_S + 0.2), gone, fails(0.4))


async def test_nothing_goes_on_once_there_is_an_answer() -> None:
    ended = asyncio.Event()

    async def hangs() -> str:
        try:
            return await silent()
        finally:
            ended.set()

    assert await first_answer(hangs, gone, answers("auth")) == ("auth", Path.GATT)
    assert ended.is_set()
