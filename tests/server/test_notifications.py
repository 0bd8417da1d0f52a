"""Wake-ups: nothing that happens while somebody listens is missed."""

from __future__ import annotations

import asyncio

from server.notifications import Notifications


async def test_a_wake_up_before_the_wait_counts() -> None:
    notifications = Notifications()
    with notifications.listen("a") as listener:
        notifications.wake("a")
        async with asyncio.timeout(5):
            await listener.wait(60)


async def test_everyone_who_listens_to_a_topic_is_woken_and_nobody_else() -> None:
    notifications = Notifications()
    with (
        notifications.listen("a") as first,
        notifications.listen("a") as second,
        notifications.listen("b") as other,
    ):
        waiting = asyncio.create_task(other.wait(60))
        notifications.wake("a")
        async with asyncio.timeout(5):
            await asyncio.gather(first.wait(60), second.wait(60))
        assert not waiting.done()
        notifications.close()
        async with asyncio.timeout(5):
            await waiting
    assert notifications.closed


async def test_a_wait_ends_by_itself() -> None:
    with Notifications().listen("a") as listener:
        async with asyncio.timeout(5):
            await listener.wait(0.01)
