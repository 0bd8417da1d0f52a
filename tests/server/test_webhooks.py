"""Webhooks: sent to a real server that verifies, fails, hangs and goes; sent again, and once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from server.kinds import EndpointState
from server.payments import get_payment
from server.processors.port import Approved, Refused
from server.refunds import settle_refund
from server.registry import RegistryError
from server.schema.tables import metadata
from server.store import Store
from server.webhook_deliveries import send_again, take, tries_of
from server.webhook_endpoints import (
    check_endpoint_url,
    enable_endpoint,
    end_endpoint,
    rotate_secret,
)
from server.webhook_policy import MAX_AGE_MS, Verdict, allowed_address, judge
from tests.server.post import OTHER, SECRET, Post
from tests.server.receiver import certificate, receiving
from tests.server.world import World
from twochannel.protocol.payment import CaptureMode, Event
from twochannel.protocol.statements import Decision
from twochannel.trace import wall_ms


@pytest.fixture
def world(tmp_path: Path) -> World:
    store = Store(f"sqlite:///{tmp_path / 'server.sqlite3'}")
    store.write_now(metadata.create_all)
    return World(store, now_ms=wall_ms())


@pytest.fixture
async def post(world: World) -> AsyncIterator[Post]:
    with receiving() as receiver:
        yield Post(world, receiver)
    await world.store.close()


async def test_a_capture_is_told_signed_with_its_receipt(post: Post) -> None:
    async with post.running():
        payment = post.buy()
        message = await post.next()
        await post.until(state="delivered", attempts=1, status=200)
    content = message.verified(SECRET)
    assert (message.path, content["type"]) == ("/hooks", "payment.captured")
    assert content["data"]["payment"]["id"] == payment
    assert content["data"]["payment"]["receipt"] == post.world.payment(payment)["receipt"]
    with pytest.raises(WebhookVerificationError):
        message.verified(OTHER)


def settle(post: Post, payment: str, refund: str, outcome: Approved | Refused) -> None:
    world = post.world
    world.store.write_now(
        lambda c: settle_refund(
            c, get_payment(c, payment), refund, outcome, world.now_ms, world.issuer
        )
    )


def live(post: Post) -> None:
    """A payment of every end, and a refund of each."""
    world = post.world
    coffee = post.buy()
    settle(post, coffee, world.refund(coffee, 100), Approved("r1", 100))
    settle(post, coffee, world.refund(coffee, 50), Refused("no"))
    declined = world.request()
    world.confirm(declined, Decision.DECLINE, heard=False)
    world.cancel(world.request())
    expired = world.request()
    world.settle(expired, Event.EXPIRE, reason="nobody_answered")
    refused = world.request()
    world.confirm(refused)
    world.settle(refused, Event.REFUSE, reason="no")
    for end in (Event.CAPTURE, Event.VOID):
        held = world.request(8000, CaptureMode.MANUAL)
        world.confirm(held)
        world.settle(held, Event.AUTHORIZE)
        if end is Event.CAPTURE:
            world.capture(held, 4217)
            world.settle(held, end, amount_minor=4217)
        else:
            world.cancel(held)
            world.settle(held, end, reason="canceled_by_terminal")


async def test_every_end_of_the_life_cycle_is_told_once(post: Post) -> None:
    live(post)
    count = len(post.deliveries())
    async with post.running():
        kinds = [(await post.next()).verified(SECRET)["type"] for _ in range(count)]
    assert sorted(kinds) == sorted(
        [
            *["payment.captured"] * 2,
            *["payment.authorized"] * 2,
            "payment.canceled",
            "payment.declined",
            "payment.expired",
            "payment.refused",
            "payment.voided",
            "refund.refused",
            "refund.succeeded",
        ]
    )
    assert post.receiver.messages.empty()


async def test_a_merchant_without_endpoints_is_told_nothing(post: Post) -> None:
    post.world.store.write_now(lambda c: end_endpoint(c, post.endpoint, EndpointState.REMOVED))
    post.buy()
    assert post.deliveries() == []
    assert post.world.rows("SELECT id FROM webhook_events") == []


async def test_what_fails_is_tried_again_later_with_the_same_id_and_body(post: Post) -> None:
    post.receiver.will(500, 429)
    async with post.running():
        post.buy()
        first = await post.next()
        failed = await post.until(state="queued", attempts=1, status=500)
        assert 1_000 < failed["next_at_ms"] - post.now_ms() <= 5_000
        post.ahead_ms += 5_000
        second = await post.next()
        failed = await post.until(attempts=2, status=429)
        assert 6_000 < failed["next_at_ms"] - post.now_ms() <= 10_000
        post.ahead_ms += 10_000
        third = await post.next()
        done = await post.until(state="delivered", attempts=3)
    assert first.id == second.id == third.id == done["event"]
    assert first.body == second.body == third.body
    tries = post.world.store.read_now(lambda c: tries_of(c, done["delivery"]))
    assert [(t["number"], t["status"]) for t in tries] == [(1, 500), (2, 429), (3, 200)]


async def test_what_hangs_is_given_up_and_does_not_hold_up_others(post: Post) -> None:
    post.timeout_s = 1.0
    with receiving() as other:
        post.add(other.url)
        post.receiver.will(*[post.receiver.hang] * 6)
        for _ in range(6):
            post.buy()
        async with post.running():
            for _ in range(6):
                await asyncio.to_thread(other.next)
            for _ in range(6):
                await post.next()
            hung = await post.until_all(lambda rows: len(in_vain(post, rows)) == 6)
    assert {d["error"] for d in in_vain(post, hung)} == {"no answer within 1 s"}


def in_vain(post: Post, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["endpoint"] == post.endpoint and row["error"]]


async def test_who_is_gone_is_disabled_and_what_was_queued_dropped(post: Post) -> None:
    post.receiver.will(410)
    post.buy()
    async with post.running():
        await post.next()
        gone = await post.until(state="dropped", status=410)
    (row,) = post.world.rows("SELECT state FROM webhook_endpoints")
    assert row["state"] == "disabled"
    post.buy()
    assert len(post.deliveries()) == 1
    store = post.world.store
    with pytest.raises(RegistryError, match="disabled"):
        store.write_now(lambda c: send_again(c, gone["delivery"], post.now_ms()))
    store.write_now(lambda c: enable_endpoint(c, post.endpoint))
    store.write_now(lambda c: send_again(c, gone["delivery"], post.now_ms()))
    async with post.running():
        assert (await post.next()).id == gone["event"]
        await post.until(state="delivered", attempts=2)


async def test_it_is_tried_for_three_days_and_then_by_hand(post: Post) -> None:
    post.receiver.will(503, 503)
    async with post.running():
        post.buy()
        await post.next()
        await post.until(attempts=1, status=503)
        post.ahead_ms += MAX_AGE_MS
        await post.next()
        failed = await post.until(state="failed", attempts=2)
        again = failed["delivery"]
        post.world.store.write_now(lambda c: send_again(c, again, post.now_ms()))
        assert (await post.next()).id == failed["event"]
        await post.until(state="delivered", attempts=3)
    with pytest.raises(RegistryError, match="no delivery"):
        post.world.store.write_now(lambda c: send_again(c, 999, post.now_ms()))


async def test_two_secrets_sign_until_the_overlap_ends(post: Post) -> None:
    until_ms = post.now_ms() + 3_600_000
    post.world.store.write_now(lambda c: rotate_secret(c, post.endpoint, OTHER, until_ms))
    async with post.running():
        post.buy()
        message = await post.next()
        assert message.verified(SECRET) == message.verified(OTHER)
        await post.until(state="delivered")
    # The library refuses times that are over five minutes off, so the overlap is ended instead.
    ended = post.now_ms() - 1
    post.world.store.write_now(
        lambda c: c.exec_driver_sql(f"UPDATE webhook_endpoints SET former_until_ms = {ended}")
    )
    async with post.running():
        post.buy()
        message = await post.next()
        message.verified(OTHER)
        with pytest.raises(WebhookVerificationError):
            message.verified(SECRET)


async def test_a_redirect_is_not_followed(post: Post) -> None:
    post.receiver.will(302)
    async with post.running():
        post.buy()
        assert (await post.next()).path == "/hooks"
        await post.until(attempts=1, status=302, state="queued")
    assert post.receiver.messages.empty()


async def test_an_answer_without_end_is_not_read(post: Post) -> None:
    def flood(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not post.receiver.released.is_set():
            handler.wfile.write(bytes(65_536))

    post.receiver.will(flood)
    async with post.running():
        post.buy()
        await post.until(state="delivered", status=200)


async def test_nobody_there_is_an_error_that_is_told(post: Post) -> None:
    post.world.store.write_now(lambda c: end_endpoint(c, post.endpoint, EndpointState.REMOVED))
    post.add("http://127.0.0.1:9/")
    async with post.running():
        post.buy()
        trouble = await post.trouble()
    assert "ConnectError" in trouble


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1"]
)
async def test_the_operators_own_network_is_not_told(post: Post, host: str) -> None:
    post.world.store.write_now(lambda c: end_endpoint(c, post.endpoint, EndpointState.REMOVED))
    port = post.receiver.url.rpartition(":")[2]
    post.add(f"http://{host}:{port}/")
    post.loopback = False
    async with post.running():
        post.buy()
        trouble = await post.trouble()
    assert "not public" in trouble
    assert post.receiver.messages.empty()


async def test_it_is_sent_over_tls_to_a_certificate_that_fits(world: World, tmp_path: Path) -> None:
    trusted, context = certificate(tmp_path)
    with receiving(context) as receiver:
        post = Post(world, receiver, trusted)
        async with post.running():
            post.buy()
            (await post.next()).verified(SECRET)
            await post.until(state="delivered")
        post.trusted = None
        async with post.running():
            post.buy()
            trouble = await post.trouble()
    assert "certificate" in trouble.lower()
    await world.store.close()


async def test_a_certificate_of_another_name_is_refused(world: World, tmp_path: Path) -> None:
    trusted, context = certificate(tmp_path, "shop.example")
    with receiving(context) as receiver:
        post = Post(world, receiver, trusted)
        async with post.running():
            post.buy()
            trouble = await post.trouble()
        assert receiver.messages.empty()
    assert "hostname mismatch" in trouble.lower()
    await world.store.close()


async def test_what_its_sender_died_with_is_due_again(post: Post) -> None:
    post.buy()
    now_ms = post.now_ms()
    (lost,) = post.world.store.write_now(lambda c: take(c, now_ms, now_ms + 20_000, (), 10))
    assert post.world.store.write_now(lambda c: take(c, now_ms, now_ms + 20_000, (), 10)) == []
    post.ahead_ms += 20_000
    async with post.running():
        assert (await post.next()).id == lost.event_id
        await post.until(state="delivered", attempts=2)


def test_what_an_answer_means() -> None:
    assert judge(200, 0, 0) is judge(204, 0, MAX_AGE_MS * 9) is Verdict.DELIVERED
    assert judge(410, 0, 0) is Verdict.GONE
    for status in (None, 100, 199, 301, 404, 500):
        assert judge(status, 0, MAX_AGE_MS - 1) is Verdict.AGAIN
        assert judge(status, 0, MAX_AGE_MS) is Verdict.FAILED


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not allowed_address(address, loopback=True)
    assert not allowed_address(address, loopback=False)


def test_addresses_that_are() -> None:
    for address in ("93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::808:808"):
        assert allowed_address(address, loopback=False)
    for address in ("127.0.0.1", "::1", "::ffff:127.9.9.9"):
        assert allowed_address(address, loopback=True)
        assert not allowed_address(address, loopback=False)


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/",
        "http://localhost/",
        "ftp://shop.example/",
        "https:///path",
        "https://user:pw@shop.example/",
        "https://shop.example/#part",
        "https://shop.example:99999/",
        "https://shop.example/a b",
        "https://[shop/",
        "https://shop.example/" + "x" * 2000,
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(RegistryError):
        check_endpoint_url(url, loopback=False)


def test_urls_that_are_taken() -> None:
    check_endpoint_url("https://shop.example:8443/hooks?shop=1", loopback=False)
    check_endpoint_url("http://localhost:8000/", loopback=True)
    with pytest.raises(RegistryError):
        check_endpoint_url("http://shop.example/", loopback=True)


def test_the_body_is_as_standard_webhooks_has_it(world: World) -> None:
    with receiving() as receiver:
        Post(world, receiver).buy()
    (row,) = world.rows("SELECT body FROM webhook_events")
    assert list(json.loads(str(row["body"]))) == ["type", "timestamp", "data"]
    world.store.close_now()
