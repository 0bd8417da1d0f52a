"""Both ends of a link, the real jack behind it: what goes over Wi-Fi goes over GATT too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from starlette.types import Receive, Scope, Send

from cigarjack import link_service as module
from cigarjack.client import JackClient, JackClientError, JackPin, gatt_channel
from cigarjack.in_process import ask
from cigarjack.link_channel import pairing_channel
from tests.cigarjack.parties import (
    NOW_S,
    Jack,
    Phone,
    Server,
    link_service,
    new_key,
    owner_of,
    served,
)
from tests.link_pair import link_pair
from twochannel import tls
from twochannel.protocol import envelope
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.link import HELLO_BYTES, Answer, Mode, PhoneHello, Request, verifying_key
from twochannel.protocol.statements import AuthCode


def pin_of(jack: Jack, link_key: bytes = bytes(32)) -> JackPin:
    identity = jack.identity
    return JackPin(jack.id, identity.signer.key.jwk, identity.certificate, link_key, 1)


class Host:
    """A jack that serves one link. ``proven``: what ``serve`` returned."""

    def __init__(self, jack: Jack, packet_limit_bytes: int = 20) -> None:
        self.desk = jack.desk()
        self.service = link_service(jack, self.desk)
        self.phone, self.jack = link_pair(packet_limit_bytes)
        self._task: asyncio.Task[bool] | None = None

    async def __aenter__(self) -> Host:
        self._task = asyncio.create_task(self.service.serve(self.jack))
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.phone.close()
        await self.proven()

    async def proven(self) -> bool:
        assert self._task is not None
        async with asyncio.timeout(10):
            return await self._task


async def test_a_paired_phone_gets_status_time_and_auth_codes(
    paired: Jack, phone: Phone, server: Server
) -> None:
    async with Host(paired) as host:
        pin = pin_of(paired)
        async with JackClient(gatt_channel(host.phone, pin), pin) as jack:
            status = await jack.status()
            await jack.put_time(server.time(paired.id, str(status["time_nonce"])))
            challenge = server.signed_challenge(paired.id, phone.id)
            compact = await jack.auth_code(challenge)
            assert await jack.auth_code(challenge) == compact
        await host.phone.close()
        assert await host.proven()
    assert paired.clock.now_s() == NOW_S
    assert AuthCode.from_claims(envelope.unverified_claims(compact)).counter == 1


async def test_the_same_challenge_has_the_same_auth_code_on_both_paths(
    paired: Jack, phone: Phone, server: Server
) -> None:
    challenge = server.signed_challenge(paired.id, phone.id)
    pin = pin_of(paired)
    async with Host(paired, packet_limit_bytes=244) as host, served(paired) as (services, _):
        assert services.port is not None
        async with JackClient(gatt_channel(host.phone, pin), pin) as jack:
            over_gatt = await jack.auth_code(challenge)
        async with phone.client(services.port, pin) as jack:
            assert await jack.auth_code(challenge) == over_gatt


async def test_refusals_are_those_of_wifi(paired: Jack, server: Server) -> None:
    pin = pin_of(paired)
    async with Host(paired) as host, JackClient(gatt_channel(host.phone, pin), pin) as jack:
        with pytest.raises(CodedError) as refused:
            await jack.put_time(server.time(paired.id, "n" * 22))
        assert refused.value.code is ErrorCode.NONCE_UNKNOWN
        with pytest.raises(CodedError) as refused:
            await jack.auth_code(Server().signed_challenge(paired.id, "p" * 43))
        assert refused.value.code is ErrorCode.KEY_UNKNOWN


async def test_nothing_that_is_sealed_can_be_read_on_the_air(
    paired: Jack, phone: Phone, server: Server
) -> None:
    challenge = server.signed_challenge(paired.id, phone.id)
    pin = pin_of(paired)
    async with Host(paired) as host:
        async with JackClient(gatt_channel(host.phone, pin), pin) as jack:
            await jack.auth_code(challenge)
        said, answered = b"".join(host.phone.sent), b"".join(host.jack.sent)
    # Long enough to stand in no ciphertext by chance.
    for clear in (b"POST /v1/", b"eyJhbGciOi", challenge[40:60].encode()):
        assert clear not in said
        assert clear not in answered


async def test_pairing_gives_what_it_gives_over_wifi(
    unpaired: Jack, phone: Phone, server: Server
) -> None:
    async with served(unpaired) as (services, desk):
        label = await services.open_pairing()
        link, end = link_pair()
        serving = asyncio.create_task(link_service(unpaired, desk).serve(end))
        paired = await phone.pair_over_gatt(link, str(label), server)
        await link.close()
        assert await serving
        assert paired.port == services.port
        assert paired.pin.certificate == unpaired.identity.certificate
        assert label.claim_secret.encode() not in b"".join(link.sent)
        # And Wi-Fi knows the phone at once.
        async with phone.client(paired.port, paired.pin) as jack:
            assert (await jack.status())["epoch"] == 1
    owner = unpaired.memory.pairing_state().owner
    assert owner is not None
    assert owner.link_key == paired.pin.link_key


async def test_wrong_claim_secrets_count_as_over_wifi(
    unpaired: Jack, phone: Phone, server: Server
) -> None:
    wrong = f"CJ1:{unpaired.id}:{'w' * 21}A"
    for tries in range(1, 6):
        async with Host(unpaired) as host:
            host.desk.window.open()
            with pytest.raises(CodedError) as refused:
                await phone.pair_over_gatt(host.phone, wrong, server)
        assert refused.value.code is ErrorCode.CLAIM_REFUSED
        assert unpaired.memory.pairing_state().wrong_tries == tries
    assert unpaired.memory.pairing_state().locked


async def test_with_the_window_closed_nobody_pairs(
    unpaired: Jack, phone: Phone, server: Server
) -> None:
    label = f"CJ1:{unpaired.id}:{'w' * 21}A"
    async with Host(unpaired) as host:
        with pytest.raises(JackClientError, match="cannot be reached"):
            await phone.pair_over_gatt(host.phone, label, server)
        assert not await host.proven()
    assert host.jack.sent == []
    assert unpaired.memory.pairing_state().wrong_tries == 0


async def test_a_window_that_closes_ends_the_conversation(
    unpaired: Jack, phone: Phone, server: Server
) -> None:
    async with Host(unpaired) as host:
        host.desk.window.open()
        channel = pairing_channel(host.phone, lambda _compact: unpaired.identity.agreement.key)
        async with channel:
            assert await channel.exchange("GET", "/v1/identity", timeout_s=5)
            host.desk.window.close()
            with pytest.raises(JackClientError, match="lost"):
                await channel.exchange("GET", "/v1/identity", timeout_s=5)


async def test_a_phone_that_was_replaced_is_heard_no_more(
    paired: Jack, phone: Phone, server: Server
) -> None:
    pin = pin_of(paired)
    async with Host(paired) as host, JackClient(gatt_channel(host.phone, pin), pin) as jack:
        await jack.status()
        paired.adopt(replace(owner_of(Phone(), server, epoch=2), link_key=b"2" * 32))
        with pytest.raises(JackClientError, match="lost"):
            await jack.status()


async def test_nobody_is_served_by_a_jack_without_owner(unpaired: Jack) -> None:
    pin = pin_of(unpaired)
    async with Host(unpaired) as host:
        with pytest.raises(JackClientError):
            async with JackClient(gatt_channel(host.phone, pin), pin):
                pass
        assert not await host.proven()


@asynccontextmanager
async def hurried(monkeypatch: pytest.MonkeyPatch, **limits: float) -> AsyncIterator[None]:
    for name, value in limits.items():
        monkeypatch.setattr(module, name, value)
    yield


async def test_who_says_nothing_is_dropped(paired: Jack, monkeypatch: pytest.MonkeyPatch) -> None:
    async with hurried(monkeypatch, LINK_HANDSHAKE_S=0.05), Host(paired) as host:
        assert not await host.proven()
        assert host.jack.closed


async def test_who_says_hello_and_no_more_is_dropped(
    paired: Jack, monkeypatch: pytest.MonkeyPatch
) -> None:
    hello = PhoneHello(Mode.PAIRED, verifying_key(new_key().public_key())).encode()
    async with hurried(monkeypatch, LINK_HANDSHAKE_S=0.2), Host(paired) as host:
        for packet in (b"\x00\x42" + hello[:18], hello[18:38], hello[38:58], hello[58:]):
            await host.phone.send(packet)
        assert not await host.proven()
        assert len(b"".join(host.jack.sent)) == 2 + HELLO_BYTES


async def test_an_idle_phone_makes_room(paired: Jack, monkeypatch: pytest.MonkeyPatch) -> None:
    pin = pin_of(paired)
    async with (
        hurried(monkeypatch, LINK_IDLE_S=0.05),
        Host(paired) as host,
        JackClient(gatt_channel(host.phone, pin), pin) as jack,
    ):
        await jack.status()
        assert await host.proven()
        with pytest.raises(JackClientError, match="lost"):
            await jack.status()


async def ask_for_ever(jack: JackClient) -> None:
    while True:
        await jack.status()


async def test_no_session_lasts_for_ever(paired: Jack, monkeypatch: pytest.MonkeyPatch) -> None:
    pin = pin_of(paired)
    async with (
        hurried(monkeypatch, LINK_SESSION_S=0.3),
        Host(paired) as host,
        JackClient(gatt_channel(host.phone, pin), pin) as jack,
    ):
        with pytest.raises(JackClientError, match="lost"):
            await ask_for_ever(jack)
        assert await host.proven()


async def test_a_failing_application_is_answered_for(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    assert await ask(fails, Request("GET", "/v1/status")) == Answer(500)
    assert "request_failed" in caplog.text


async def test_a_certificate_that_is_another_is_not_pinned(
    unpaired: Jack, phone: Phone, server: Server
) -> None:
    """The jack on the label, gone wrong: it names a certificate that it did not vouch for."""
    foreign = tls.make_certificate(new_key(), "cigarjack", 1)
    async with Host(unpaired) as host:
        host.desk._certificate = foreign
        label = host.desk.open_window()
        with pytest.raises(CodedError) as refused:
            await phone.pair_over_gatt(host.phone, str(label), server)
    assert refused.value.code is ErrorCode.KEY_UNKNOWN
