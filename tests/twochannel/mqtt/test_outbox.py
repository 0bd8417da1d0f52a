"""What waits for a broker that is away."""

from __future__ import annotations

import asyncio
import threading

from twochannel.mqtt.outbox import Message, Outbox


def message(number: int) -> Message:
    return Message("t", str(number).encode())


def left(outbox: Outbox) -> list[int]:
    found = []
    while (taken := outbox.take_now()) is not None:
        found.append(int(taken.payload))
    return found


async def test_it_gives_back_what_it_got_in_order() -> None:
    outbox = Outbox()
    for number in range(3):
        outbox.put(message(number))
    assert await outbox.take() == message(0)
    assert left(outbox) == [1, 2]


async def test_the_oldest_go_when_too_many_wait_and_are_counted() -> None:
    outbox = Outbox(limit=3)
    for number in range(10):
        outbox.put(message(number))
    await asyncio.sleep(0)
    assert outbox.dropped == 7
    assert left(outbox) == [7, 8, 9]


async def test_what_could_not_be_sent_is_the_next_unless_there_is_no_room() -> None:
    outbox = Outbox(limit=2)
    outbox.put(message(1))
    await asyncio.sleep(0)
    outbox.put_back(message(0))
    outbox.put_back(message(-1))
    assert (left(outbox), outbox.dropped) == ([0, 1], 1)


async def test_any_thread_may_fill_it_while_somebody_waits() -> None:
    outbox = Outbox()
    waiting = asyncio.ensure_future(outbox.take())
    await asyncio.sleep(0)
    thread = threading.Thread(target=outbox.put, args=(message(5),))
    thread.start()
    async with asyncio.timeout(10):
        assert await waiting == message(5)
    thread.join()
