"""A phone and its jack on virtual air: auth codes, time and pairing without Wi-Fi."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from cigarjack.beaconing import Silence
from cigarjack.invitation_rules import Occasion
from fieldkit.air import Air
from phone_agent import onboarding
from phone_agent.config import PhoneSettings
from phone_agent.database import FILE_NAME, Database
from phone_agent.fallback import Path
from phone_agent.pairing import JackNotFoundError
from phone_agent.wallet import Wallet
from tests.cigarjack.parties import LOOPBACK, Jack, served
from tests.cigarjack.test_beaconing import tell_time
from tests.phone_agent.owners_phone import OwnersPhone, eventually, hear_lane
from tests.phone_agent.scripted_server import ScriptedServer
from tests.phone_agent.street import jack_on, pair_over, radio_of, street
from twochannel import advert_recording
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.invitation import INVITATION_UUID
from twochannel.protocol.statements import Decision
from twochannel.radio.btsnoop import decode
from twochannel.ring import pieces


@pytest.fixture
async def air() -> AsyncIterator[Air]:
    async with street() as opened:
        yield opened


async def test_without_wifi_the_auth_code_comes_over_gatt_and_the_beacon_is_back(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone, air: Air
) -> None:
    tell_time(jack, server.now_ms())
    phone.pair(jack, server)
    hear_lane(jack)
    async with jack_on(air, jack) as shown, phone.running(radio=radio_of(air, "phone")):
        assert shown.beaconing.broadcasting
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        assert (await server.confirmation()).decision is Decision.APPROVE
        received = await phone.until_traced("auth_code_received", challenge.sub)
        assert (received["path"], received["presence"]) == (Path.GATT, True)
        asked = await phone.until_traced("auth_code_asked", challenge.sub)
        tried = await phone.until_traced("gatt_tried", challenge.sub)
        assert tried["mono_ns"] - asked["mono_ns"] < 2_000_000_000
        await eventually(lambda: shown.beaconing.broadcasting, "the beacon is back")
        assert shown.inviting.shown is None
        (status,) = (await phone.command("GET", "/v1/status"))["jacks"]
        assert status["path"] == "gatt"
    (begun,) = phone.traced("recording_begun")
    first = (phone.state / "trace.jsonl").read_text().splitlines()[0]
    assert json.loads(first)["event"] == "agent_started"
    ((piece, file),) = pieces(phone.state / advert_recording.FILE_NAME)
    heard = list(decode(file.read_bytes()))
    assert (piece, {one.service_uuid for one in heard}) == (begun["piece"], {INVITATION_UUID})
    heard_us = [one.unix_us - begun["epoch_us"] for one in heard]
    assert (
        tried["mono_ns"] // 1000 < heard_us[0] <= heard_us[-1] < received["mono_ns"] // 1000 + 10**7
    )


async def test_without_a_radio_nothing_is_recorded(phone: OwnersPhone) -> None:
    async with phone.running():
        await phone.until_traced("agent_started")
    assert phone.traced("recording_begun") == []
    assert not (phone.state / advert_recording.FILE_NAME).exists()


async def test_a_jack_without_time_gets_it_over_gatt(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone, air: Air
) -> None:
    phone.pair(jack, server)
    async with jack_on(air, jack) as shown:
        assert shown.beaconing.shown is Silence.CLOCK_UNSYNCHRONISED
        async with phone.running(radio=radio_of(air, "phone")):
            await phone.until_traced("time_synchronised")
            await eventually(lambda: shown.beaconing.broadcasting, "the beacon is on the air")
    assert jack.synchronised == 1


async def test_with_wifi_nothing_goes_over_gatt(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone, air: Air
) -> None:
    tell_time(jack, server.now_ms())
    phone.pair(jack, server)
    hear_lane(jack)
    async with (
        served(jack),
        jack_on(air, jack),
        phone.running(radio=radio_of(air, "phone")),
    ):
        await phone.until_traced("jack_found")
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        assert (await server.confirmation()).decision is Decision.APPROVE
        received = await phone.until_traced("auth_code_received", challenge.sub)
    assert received["path"] == Path.WIFI
    assert phone.traced("gatt_tried") == []


async def test_a_jack_that_waits_for_its_lane_on_live_wifi_is_not_asked_over_gatt(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone, air: Air
) -> None:
    """No lane is heard: the jack answers without presence after its 2 s, and the owner is asked."""
    tell_time(jack, server.now_ms())
    jack.chip._hear = jack.ear.hear
    phone.pair(jack, server)
    async with (
        served(jack),
        jack_on(air, jack),
        phone.running(radio=radio_of(air, "phone")),
    ):
        await phone.until_traced("jack_found")
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        received = await phone.until_traced("auth_code_received", challenge.sub)
        asked = await phone.until_traced("auth_code_asked", challenge.sub)
        assert received["mono_ns"] - asked["mono_ns"] > 1_900_000_000
    assert (received["path"], received["presence"]) == (Path.WIFI, False)
    assert phone.traced("gatt_tried") == []


async def test_pairing_works_over_gatt_alone(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone, air: Air
) -> None:
    async with jack_on(air, jack) as shown:
        label = shown.desk.open_window()
        await eventually(lambda: shown.inviting.shown is Occasion.PAIRING, "it invites")
        paired, host = await pair_over(air, phone, server, str(label))
    assert host == ""
    owner = jack.memory.pairing_state().owner
    assert owner is not None
    assert owner.phone == phone.id
    assert paired.pin.link_key == owner.link_key


async def test_a_wrong_claim_secret_is_refused_and_counted(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone, air: Air
) -> None:
    async with jack_on(air, jack) as shown:
        label = shown.desk.open_window()
        wrong = f"CJ1:{label.thumbprint}:{'A' * 22}"
        with pytest.raises(CodedError) as refused:
            await pair_over(air, phone, server, wrong)
    assert refused.value.code is ErrorCode.CLAIM_REFUSED
    assert jack.memory.pairing_state().wrong_tries == 1


async def test_a_jack_whose_window_is_closed_is_not_found(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone, air: Air
) -> None:
    async with jack_on(air, jack):
        with pytest.raises(JackNotFoundError, match="--radio"):
            await pair_over(air, phone, server, f"CJ1:{jack.id}:{'A' * 22}", search_s=1.0)


async def test_paired_over_gatt_a_phone_pays_and_never_sees_wifi(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone, air: Air
) -> None:
    settings = PhoneSettings(interfaces=(LOOPBACK,), radio=radio_of(air, "phone"))
    hear_lane(jack)
    async with jack_on(air, jack) as shown:
        label = shown.desk.open_window()
        with Database.open(phone.state / FILE_NAME) as database:
            wallet = Wallet(database)
            made = await onboarding.pair(
                phone.state, wallet, str(label), None, settings, lambda _text: None
            )
            (kept,) = wallet.jacks()
        assert (made["jack"], made["registered"], kept.host) == (jack.id, True, "")
        assert kept.pin.certificate == jack.identity.certificate
        async with phone.running(radio=settings.radio):
            await phone.until_traced("time_synchronised")
            challenge = server.challenge(jack.id, phone.id)
            server.ask(challenge)
            assert (await server.confirmation()).decision is Decision.APPROVE
            received = await phone.until_traced("auth_code_received", challenge.sub)
            assert received["path"] == Path.GATT
    assert phone.traced("jack_found") == []


async def test_a_phone_without_its_adapter_says_so_and_does_with_wifi(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    tell_time(jack, server.now_ms())
    phone.pair(jack, server)
    hear_lane(jack)
    nowhere = f"bumble:tcp-client:{LOOPBACK}:9"
    async with served(jack), phone.running(radio=nowhere):
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        assert (await server.confirmation()).decision is Decision.APPROVE
        received = await phone.until_traced("auth_code_received", challenge.sub)
        status = await phone.command("GET", "/v1/status")
    assert received["path"] == Path.WIFI
    assert "Cannot open the radio" in status["radio_problem"]
