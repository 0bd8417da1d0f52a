"""The published client against a real jack over real TLS."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from cigarjack.client import (
    JackClient,
    JackClientError,
    JackPin,
    LabelError,
    parse_label,
    wifi_channel,
)
from tests.cigarjack.parties import LANE_NONCE, NOW_S, Jack, Phone, Server, new_key, served
from twochannel import tls
from twochannel.protocol import envelope
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.keys import VerifyingKey
from twochannel.protocol.statements import AuthCode, Pairing


async def test_pairing_gives_the_pin_and_a_statement_for_the_server(
    unpaired: Jack, phone: Phone, server: Server
) -> None:
    async with served(unpaired) as (services, _):
        label = await services.open_pairing()
        assert services.pairing_port is not None
        paired = await phone.pair(services.pairing_port, str(label), server)
        assert paired.port == services.port
    pin = paired.pin
    assert pin.jack == unpaired.id
    assert pin.certificate == unpaired.identity.certificate
    assert pin.epoch == 1
    key = VerifyingKey.from_jwk(pin.key)
    statement = envelope.verify(paired.pairing, Pairing, key, audience=server.id)
    assert statement.sub == phone.id
    owner = unpaired.memory.pairing_state().owner
    assert owner is not None
    assert owner.link_key == pin.link_key


async def test_a_paired_phone_gets_status_time_and_auth_codes(
    unpaired: Jack, phone: Phone, server: Server
) -> None:
    async with served(unpaired) as (services, _):
        label = await services.open_pairing()
        assert services.pairing_port is not None
        paired = await phone.pair(services.pairing_port, str(label), server)
        async with phone.client(paired.port, paired.pin) as jack:
            status = await jack.status()
            await jack.put_time(server.time(unpaired.id, str(status["time_nonce"])))
            challenge = server.signed_challenge(unpaired.id, phone.id)
            compact = await jack.auth_code(challenge)
            assert await jack.auth_code(challenge) == compact
    assert unpaired.clock.now_s() == NOW_S
    auth_code = AuthCode.from_claims(envelope.unverified_claims(compact))
    assert (auth_code.counter, auth_code.epoch, auth_code.lane_nonce) == (1, 1, None)


async def test_the_claim_secret_never_reaches_another_jack(
    unpaired: Jack, phone: Phone, server: Server
) -> None:
    async with served(unpaired) as (services, desk):
        label = await services.open_pairing()
        other = f"CJ1:{phone.id}:{label.claim_secret}"
        assert services.pairing_port is not None
        with pytest.raises(JackClientError, match="another one"):
            await phone.pair(services.pairing_port, other, server)
        assert unpaired.memory.pairing_state().owner is None
        assert desk.window.is_open


async def test_a_man_in_the_middle_is_found_by_his_certificate(
    unpaired: Jack, phone: Phone, server: Server
) -> None:
    """He passes the jack's true identity on, over TLS of his own."""
    desk = unpaired.desk()
    key = new_key()
    certificate = tls.make_certificate(key, "cigarjack", 1)
    seen: list[bytes] = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        body = desk.identity.encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    context = tls.server_context(certificate, key)
    async with await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context) as middle:
        port = middle.sockets[0].getsockname()[1]
        with pytest.raises(JackClientError, match="between phone and jack"):
            await phone.pair(port, str(desk.open_window()), server)
    assert len(seen) == 1
    assert b"claim" not in seen[0]


async def test_a_text_that_is_no_label_is_refused_before_any_connection(
    phone: Phone, server: Server
) -> None:
    with pytest.raises(LabelError):
        await phone.pair(1, "CJ1:too:short", server)


async def test_nobody_at_the_address(phone: Phone, unpaired: Jack) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        async with phone.client(port, _pin(unpaired)) as client:
            with pytest.raises(JackClientError, match="cannot be reached"):
                await client.status()


async def test_another_service_fails_the_pin(paired: Jack, phone: Phone) -> None:
    key = new_key()
    other = JackPin(
        paired.id, paired.identity.signer.key.jwk, tls.make_certificate(key, "x", 1), bytes(32), 1
    )
    async with served(paired) as (services, _):
        assert services.port is not None
        async with phone.client(services.port, other) as client:
            with pytest.raises(JackClientError, match="cannot be reached"):
                await client.status()


async def test_a_service_that_never_answers_is_given_up(phone: Phone, unpaired: Jack) -> None:
    held: list[asyncio.StreamWriter] = []

    async def hold(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    async with await asyncio.start_server(hold, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        async with phone.client(port, _pin(unpaired), timeout_s=0.2) as client:
            with pytest.raises(JackClientError, match="in time"):
                await client.status()
        for writer in held:
            writer.close()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"x" * 70_000, "too large"),
        (b"not a problem document", "not one of a jack"),
        (json.dumps({"code": "unheard_of"}).encode(), "not one of a jack"),
    ],
)
async def test_what_no_jack_would_say_is_no_jack(
    unpaired: Jack, answer: bytes, reason: str
) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 500 No\r\ncontent-length: {len(answer)}\r\n\r\n"
        writer.write(head.encode() + answer)
        writer.close()

    identity = unpaired.identity
    context = tls.server_context(identity.certificate, identity.tls_key)
    async with await asyncio.start_server(say, "127.0.0.1", 0, ssl=context) as strange:
        port = strange.sockets[0].getsockname()[1]
        key = new_key()
        certificate = tls.make_certificate(key, "phone", 1)
        pin = _pin(unpaired)
        channel = wifi_channel("127.0.0.1", port, pin, certificate, key)
        async with JackClient(channel, pin) as client:
            with pytest.raises(JackClientError, match=reason):
                await client.status()


async def test_an_auth_code_of_an_earlier_pairing_is_not_taken(
    paired: Jack, phone: Phone, server: Server
) -> None:
    pin = JackPin(
        paired.id, paired.identity.signer.key.jwk, paired.identity.certificate, bytes(32), epoch=2
    )
    async with served(paired) as (services, _):
        assert services.port is not None
        async with phone.client(services.port, pin) as client:
            with pytest.raises(CodedError) as refused:
                await client.auth_code(server.signed_challenge(paired.id, phone.id))
    assert refused.value.code is ErrorCode.EPOCH_OUTDATED


LIES: list[tuple[dict[str, object], ErrorCode]] = [
    ({"link_key": 7}, ErrorCode.MESSAGE_MALFORMED),
    ({"port": True}, ErrorCode.MESSAGE_MALFORMED),
    ({"link_key": "c2hvcnQ"}, ErrorCode.MESSAGE_MALFORMED),
    ({"pairing": "a.b.c"}, ErrorCode.MESSAGE_MALFORMED),
    ({"pairing": None}, ErrorCode.MESSAGE_MALFORMED),
    ({"certificate": 7}, ErrorCode.MESSAGE_MALFORMED),
    ({"certificate": "c2hvcnQ"}, ErrorCode.KEY_UNKNOWN),
]


@pytest.mark.parametrize(("lie", "code"), [*LIES, ({}, ErrorCode.CHAIN_BROKEN)])
async def test_an_answer_that_is_no_pairing_is_not_taken(
    unpaired: Jack, phone: Phone, server: Server, lie: dict[str, object], code: ErrorCode
) -> None:
    """The jack on the label, gone wrong: without a lie its pairing is for another phone."""
    desk = unpaired.desk()
    label = desk.open_window()
    other = Phone()
    request = other.request(unpaired.id, server.identity(), claim_secret=label.claim_secret)
    answer = json.dumps(await desk.pair(envelope.sign(request, other.signer)) | lie).encode()

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        body = desk.identity.encode() if asked.startswith(b"GET /v1/identity ") else answer
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    identity = unpaired.identity
    context = tls.server_context(identity.certificate, identity.tls_key)
    async with await asyncio.start_server(say, "127.0.0.1", 0, ssl=context) as liar:
        port = liar.sockets[0].getsockname()[1]
        with pytest.raises(CodedError) as refused:
            await phone.pair(port, str(label), server)
    assert refused.value.code is code


def test_the_client_passes_the_label_on() -> None:
    assert parse_label(f"CJ1:{'a' * 43}:{'b' * 22}").claim_secret == "b" * 22
    assert len(LANE_NONCE) == 12


def _pin(jack: Jack) -> JackPin:
    return JackPin(
        jack.id, jack.identity.signer.key.jwk, jack.identity.certificate, bytes(32), epoch=1
    )
