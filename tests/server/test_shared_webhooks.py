"""Webhooks of servers that share a database: each message is sent by one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from server.schema.tables import metadata
from server.store import Store
from tests.postgresql import Postgresql
from tests.server.post import SECRET, Post
from tests.server.receiver import receiving
from tests.server.world import World
from twochannel.trace import wall_ms

pytestmark = pytest.mark.postgresql


@pytest.fixture
def url(postgresql: Postgresql) -> str:
    return postgresql.new_database()


@pytest.fixture
async def post(url: str) -> AsyncIterator[Post]:
    store = Store(url)
    store.write_now(metadata.create_all)
    with receiving() as receiver:
        yield Post(World(store, now_ms=wall_ms()), receiver)
    await store.close()


async def test_two_servers_send_each_once(post: Post, url: str) -> None:
    other = Store(url)
    for _ in range(10):
        post.buy()
    async with post.running(), post.running(other):
        messages = [await post.next() for _ in range(10)]
        await post.until_all(lambda rows: all(d["state"] == "delivered" for d in rows))
    await other.close()
    assert len({message.id for message in messages}) == 10
    assert post.receiver.messages.empty()
    assert {d["attempts"] for d in post.deliveries()} == {1}


async def test_what_fails_here_is_tried_again_there(post: Post, url: str) -> None:
    post.receiver.will(500)
    async with post.running():
        post.buy()
        first = await post.next()
        await post.until(status=500)
    other = Store(url)
    post.ahead_ms += 5_000
    async with post.running(other):
        again = await post.next()
        await post.until(state="delivered", attempts=2)
    await other.close()
    assert again.id == first.id
    again.verified(SECRET)
