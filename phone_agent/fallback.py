"""Wi-Fi first; GATT as well, once Wi-Fi shows no sign of life (docs/protocol.md).

The same challenge has the same auth code on both paths, so that the first answer is the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Final, TypeVar

from cigarjack.client import JackClientError
from twochannel.protocol.limits import WIFI_PATIENCE_S

T = TypeVar("T")

#: Wi-Fi that works has mostly answered by then: no payment pays for a second handshake.
PROBE_AFTER_S: Final = 0.25
#: Wi-Fi that has failed is tried again while GATT takes its time, which may be half a minute.
WIFI_AGAIN_S: Final = 1.0


class Path(StrEnum):
    """By which the jack was reached."""

    WIFI = "wifi"
    GATT = "gatt"


async def first_answer(
    wifi: Callable[[], Awaitable[T]],
    lives: Callable[[], Awaitable[bool]],
    gatt: Callable[[], Awaitable[T]],
) -> tuple[T, Path]:
    """The answer over Wi-Fi, or over GATT if Wi-Fi gives none; and which it was.

    ``lives``: whether the jack answers anything over Wi-Fi; while it does, an answer that takes its
    time is waited for. Raises JackClientError if neither answers, CodedError for a refusal.
    """
    over_wifi = asyncio.ensure_future(wifi())
    try:
        if await _shows_life(over_wifi, lives):
            await asyncio.wait({over_wifi})
        if _answered(over_wifi):
            return over_wifi.result(), Path.WIFI
        return await _first_of(over_wifi, wifi, gatt)
    finally:
        await _dismiss(over_wifi)


async def _shows_life(over_wifi: asyncio.Future[T], lives: Callable[[], Awaitable[bool]]) -> bool:
    """Whether Wi-Fi has answered, or the jack there is alive, before patience ends."""
    done, _ = await asyncio.wait({over_wifi}, timeout=PROBE_AFTER_S)
    if done:
        return True
    probe = asyncio.ensure_future(lives())
    try:
        both: set[asyncio.Future[Any]] = {over_wifi, probe}
        await asyncio.wait(
            both,
            timeout=WIFI_PATIENCE_S - PROBE_AFTER_S,
            return_when=asyncio.FIRST_COMPLETED,
        )
        return over_wifi.done() or (probe.done() and probe.result())
    finally:
        await _dismiss(probe)


async def _first_of(
    over_wifi: asyncio.Future[T],
    wifi: Callable[[], Awaitable[T]],
    gatt: Callable[[], Awaitable[T]],
) -> tuple[T, Path]:
    over_gatt = asyncio.ensure_future(gatt())
    again = asyncio.ensure_future(_persistently(over_wifi, wifi, over_gatt))
    try:
        await asyncio.wait({again, over_gatt}, return_when=asyncio.FIRST_COMPLETED)
        if not _answered(over_gatt):
            # GATT has failed, or Wi-Fi was quicker; what is under way there may still succeed.
            await asyncio.wait({again})
        if again.done() and _answered(again):
            return again.result(), Path.WIFI
        # If neither, what GATT says is the more telling, for it is the last resort.
        return over_gatt.result(), Path.GATT
    finally:
        await _dismiss(again, over_gatt)


async def _persistently(
    over_wifi: Awaitable[T], wifi: Callable[[], Awaitable[T]], over_gatt: asyncio.Future[T]
) -> T:
    """What comes over Wi-Fi, which is tried again as long as nothing has come over GATT."""
    while True:
        try:
            return await over_wifi
        except JackClientError:
            await asyncio.wait({over_gatt}, timeout=WIFI_AGAIN_S)
            if over_gatt.done():
                raise
        over_wifi = wifi()


def _answered(asked: asyncio.Future[T]) -> bool:
    """Whether the jack has answered; a refusal is an answer too."""
    return asked.done() and not isinstance(asked.exception(), JackClientError)


async def _dismiss(*asked: asyncio.Future[T] | None) -> None:
    futures = [future for future in asked if future is not None]
    for future in futures:
        future.cancel()
    await asyncio.gather(*futures, return_exceptions=True)
