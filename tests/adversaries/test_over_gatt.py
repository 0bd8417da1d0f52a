"""On the second link: recorded calls, spoofed jacks, men in the middle, guests who do not leave."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from cigarjack import link_service
from cigarjack.client import JackClient, JackClientError, JackPin, gatt_channel
from cigarjack.link_channel import LinkChannel
from fieldkit.air import Air
from phone_agent.fallback import Path as Way
from tests.cigarjack.on_air import OnAir
from tests.cigarjack.parties import Jack, a_jack, new_key
from tests.cigarjack.parties import link_service as link_service_of
from tests.cigarjack.test_beaconing import tell_time
from tests.link_pair import NotingLink, link_pair
from tests.phone_agent.owners_phone import OwnersPhone, eventually, hear_lane
from tests.phone_agent.scripted_server import ScriptedServer
from tests.phone_agent.street import jack_on, pair_over, radio_of, street
from twochannel.protocol import envelope
from twochannel.protocol.invitation import (
    CALL_UUID,
    INVITATION_UUID,
    Call,
    Invitation,
    call_key,
    invitation_key,
)
from twochannel.protocol.limits import MAX_RECORD_BYTES
from twochannel.protocol.link import HELLO_BYTES, JackHello, Mode, PhoneHello, verifying_key
from twochannel.protocol.statements import Decision
from twochannel.radio.backends import open_radio
from twochannel.radio.port import Broadcast, Link, LinkError, Radio, Sighting
from twochannel.radio.records import Records

DEADLINE_S = 20.0


@pytest.fixture
async def air() -> AsyncIterator[Air]:
    async with street() as opened:
        yield opened


@pytest.fixture
async def stranger(air: Air) -> AsyncIterator[Radio]:
    async with open_radio(radio_of(air, "stranger")) as radio:
        yield radio


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    scripted = ScriptedServer()
    async with scripted.served():
        yield scripted


@pytest.fixture
def jack(tmp_path: Path) -> Iterator[Jack]:
    with a_jack(tmp_path / "jack") as jack:
        yield jack


@pytest.fixture
def phone(tmp_path: Path, server: ScriptedServer) -> OwnersPhone:
    phone = OwnersPhone(tmp_path / "phone")
    phone.prepare(server)
    return phone


def hello(mode: Mode = Mode.PAIRED) -> bytes:
    return PhoneHello(mode, verifying_key(new_key().public_key())).encode()


async def heard(radio: Radio, uuid: int) -> Sighting:
    async with asyncio.timeout(DEADLINE_S):
        async for sighting in radio.scanner.sightings():
            if sighting.service_uuid == uuid:
                return sighting
    raise AssertionError("the radio has closed")


async def pays(server: ScriptedServer, jack: Jack, phone: OwnersPhone) -> Way:
    """The owner's phone, running, gets its auth code; by which path."""
    hear_lane(jack)
    challenge = server.challenge(jack.id, phone.id)
    server.ask(challenge)
    assert (await server.confirmation()).decision is Decision.APPROVE
    return Way((await phone.until_traced("auth_code_received", challenge.sub))["path"])


async def is_hung_up_on(link: Link) -> None:
    async def hear_all() -> None:
        while True:
            await link.receive()

    with pytest.raises(LinkError):
        await asyncio.wait_for(hear_all(), DEADLINE_S)


# --- calls


async def test_a_recorded_call_calls_nobody(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone, air: Air, stranger: Radio
) -> None:
    tell_time(jack, server.now_ms())
    phone.pair(jack, server)
    async with jack_on(air, jack) as shown:
        recording = asyncio.create_task(heard(stranger, CALL_UUID))
        async with phone.running(radio=radio_of(air, "phone")):
            assert await pays(server, jack, phone) is Way.GATT
        recorded = await recording
        await eventually(lambda: shown.beaconing.broadcasting, "the beacon is back")
        await sent_and_heard(stranger, jack, recorded.service_data)
        assert shown.inviting.shown is None
        assert shown.beaconing.broadcasting


async def test_a_forged_call_calls_nobody(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone, air: Air, stranger: Radio
) -> None:
    tell_time(jack, server.now_ms())
    phone.pair(jack, server)
    async with jack_on(air, jack) as shown:
        now_s = server.now_ms() // 1000
        forged = Call.made(call_key(secrets.token_bytes(32)), now_s, b"sa").encode()
        await sent_and_heard(stranger, jack, forged)
        await sent_and_heard(stranger, jack, now_s.to_bytes(4) + bytes(9))
        assert shown.inviting.shown is None
        assert shown.beaconing.broadcasting


async def sent_and_heard(radio: Radio, jack: Jack, call: bytes) -> None:
    """The jack has taken in a dozen of these."""
    before = jack.ear.adverts_heard
    await radio.advertiser.broadcast(Broadcast(CALL_UUID, call, 20))
    await eventually(lambda: jack.ear.adverts_heard > before + 12, "the jack hears the call")
    await radio.advertiser.silence()


# --- who pretends to be the jack


@asynccontextmanager
async def spoofing(
    radio: Radio, invitation: bytes, meet: Callable[[Link], Awaitable[None]]
) -> AsyncIterator[list[Link]]:
    """Send a recorded invitation as one's own, and ``meet`` whoever falls for it; the victims."""
    victims: list[Link] = []

    async def receive() -> None:
        broadcast = Broadcast(INVITATION_UUID, invitation, 20)
        async with radio.peripheral.inviting(broadcast) as links:
            async for link in links:
                victims.append(link)
                with suppress(LinkError):
                    await meet(link)
                await link.close()

    receiving = asyncio.create_task(receive())
    try:
        yield victims
    finally:
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)


async def test_a_spoofed_jack_gets_nothing_and_the_phone_goes_on(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone, air: Air, stranger: Radio
) -> None:
    """He has recorded an invitation, and says hello as a jack would."""
    tell_time(jack, server.now_ms())
    pin = phone.pair(jack, server)
    recorded = Invitation.made(invitation_key(pin.link_key), b"salt").encode()
    said: list[bytes] = []

    async def meet(link: Link) -> None:
        records = Records(link)
        said.append(await records.receive())
        await records.send(JackHello(verifying_key(new_key().public_key())).encode())
        said.append(await records.receive())
        await records.send(secrets.token_bytes(100))

    async with (
        spoofing(stranger, recorded, meet) as victims,
        phone.running(radio=radio_of(air, "phone")),
    ):
        hear_lane(jack)
        challenge = server.challenge(jack.id, phone.id)
        compact = server.ask(challenge)
        await eventually(lambda: bool(victims), "the phone falls for it")
        async with jack_on(air, jack):
            assert (await server.confirmation()).decision is Decision.APPROVE
            received = await phone.until_traced("auth_code_received", challenge.sub)
    assert received["path"] == Way.GATT
    assert compact.encode()[:40] not in b"".join(said)


@pytest.mark.parametrize("shows_the_true_identity", [True, False])
async def test_the_claim_secret_never_reaches_another_jack(
    server: ScriptedServer,
    jack: Jack,
    phone: OwnersPhone,
    air: Air,
    stranger: Radio,
    tmp_path: Path,
    shows_the_true_identity: bool,
) -> None:
    """He sends a recorded invitation, and an identity: the jack's, which is public, or his own."""
    said = bytearray()
    with a_jack(tmp_path / "his") as his:
        identity = (jack if shows_the_true_identity else his).desk().identity

        async def meet(link: Link) -> None:
            records = Records(link)
            await records.receive()
            own = verifying_key(new_key().public_key())
            await records.send(JackHello(own, identity).encode())
            said.extend(await records.receive())

        async with jack_on(air, jack) as shown:
            label = shown.desk.open_window()
            recorded = (await heard(stranger, INVITATION_UUID)).service_data
        async with spoofing(stranger, recorded, meet) as victims:
            pairing = asyncio.create_task(pair_over(air, phone, server, str(label), search_s=45))
            await eventually(lambda: bool(victims), "the phone falls for it")
            async with jack_on(air, jack) as shown:
                shown.desk.open_window()
                paired, _ = await pairing
    assert paired.pin.jack == jack.id
    assert bool(said) is shows_the_true_identity  # sealed for the jack, or never sent
    assert label.claim_secret.encode() not in said


# --- between the two


async def test_a_man_in_the_middle_hears_nothing_and_changes_nothing(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    """He stands between from the first byte, with a point of his own for either side."""
    pin = phone.pair(jack, server)
    (near, from_phone), (to_jack, far) = link_pair(), link_pair()
    heard_by_him: list[bytes] = []

    async def stand_between() -> None:
        above, below = Records(from_phone), Records(to_jack)
        await above.receive()
        await below.send(hello())
        await below.receive()
        await above.send(JackHello(verifying_key(new_key().public_key())).encode())
        heard_by_him.append(await above.receive())
        await below.send(heard_by_him[0])
        await below.receive()

    serving = asyncio.create_task(link_service_of(jack, jack.desk()).serve(far))
    between = asyncio.create_task(stand_between())
    async with JackClient(gatt_channel(near, pin), pin, timeout_s=2.0) as client:
        with pytest.raises(JackClientError):
            await client.auth_code(server.party.signed_challenge(jack.id, phone.id))
    assert not await serving
    with pytest.raises(LinkError):
        await between
    assert b"POST" not in heard_by_him[0]
    assert jack.memory.counter() == 0


# --- guests


@asynccontextmanager
async def called(
    air: Air, jack: Jack, pin: JackPin, server: ScriptedServer, stranger: Radio
) -> AsyncIterator[tuple[OnAir, Link]]:
    """The jack was called, and a stranger takes the connection."""
    async with jack_on(air, jack) as shown:
        call = Call.made(call_key(pin.link_key), server.now_ms() // 1000 - 5, b"sa")
        async with open_radio(radio_of(air, "phone")) as phone:
            await phone.advertiser.broadcast(Broadcast(CALL_UUID, call.encode(), 20))
            invitation = await heard(stranger, INVITATION_UUID)
        async with stranger.central.connected(invitation) as link:
            yield shown, link


async def silence(_link: Link) -> None:
    """He says nothing at all."""


async def rubbish(link: Link) -> None:
    await link.send(b"\xff" * 20)


async def half_a_hello(link: Link) -> None:
    await link.send(b"\x00\x42" + hello()[:10])


async def off_the_curve(link: Link) -> None:
    await Records(link).send(b"\x01\x04" + bytes(64))


async def an_oversized_record(link: Link) -> None:
    await Records(link).send(hello() + bytes(HELLO_BYTES))


async def a_long_record_after_his_hello(link: Link) -> None:
    records = Records(link)
    await records.send(hello())
    await records.receive()
    await link.send((MAX_RECORD_BYTES + 1).to_bytes(2))


async def a_phone_that_was_never_paired(link: Link) -> None:
    channel = LinkChannel(link, Mode.PAIRED, lambda _hello, _own: bytes(32))
    with pytest.raises(JackClientError):
        async with channel:
            await channel.exchange("GET", "/v1/status", timeout_s=DEADLINE_S)


async def pairing_uninvited(link: Link) -> None:
    await Records(link).send(hello(Mode.PAIRING))


@pytest.mark.parametrize(
    "visit",
    [
        silence,
        rubbish,
        half_a_hello,
        off_the_curve,
        an_oversized_record,
        a_long_record_after_his_hello,
        a_phone_that_was_never_paired,
        pairing_uninvited,
    ],
    ids=lambda visit: visit.__name__,
)
async def test_a_stranger_is_shown_out_and_the_owner_pays(
    server: ScriptedServer,
    jack: Jack,
    phone: OwnersPhone,
    air: Air,
    stranger: Radio,
    visit: Callable[[Link], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link_service, "LINK_HANDSHAKE_S", 1.0)
    tell_time(jack, server.now_ms())
    pin = phone.pair(jack, server)
    async with called(air, jack, pin, server, stranger) as (shown, link):
        await visit(link)
        await is_hung_up_on(link)
        async with phone.running(radio=radio_of(air, "phone")):
            assert await pays(server, jack, phone) is Way.GATT
        await eventually(lambda: shown.beaconing.broadcasting, "the beacon is back")
    assert jack.memory.pairing_state().wrong_tries == 0


async def test_a_recorded_session_is_worth_nothing_a_second_time(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone, air: Air, stranger: Radio
) -> None:
    """Every packet that the phone sent, sent again by somebody else."""
    tell_time(jack, server.now_ms())
    pin = phone.pair(jack, server)
    sent: list[bytes] = []
    async with called(air, jack, pin, server, stranger) as (_, link):
        noting = NotingLink(link, sent)
        async with JackClient(gatt_channel(noting, pin), pin) as client:
            challenge = server.challenge(jack.id, phone.id)
            await client.auth_code(envelope.sign(challenge, server.party.signer))
    assert jack.memory.counter() == 1
    async with called(air, jack, pin, server, stranger) as (_, link):
        with suppress(LinkError):
            for packet in sent:
                await link.send(packet)
        await is_hung_up_on(link)
    assert jack.memory.counter() == 1
