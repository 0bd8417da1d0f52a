"""The lane page as a browser without script meets it, and as a stranger on the machine does."""

from __future__ import annotations

import asyncio
import json
import re
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from payment_device.lane_page import MEMORY_NAME
from tests.page_client import a_browser, field_in, opened, token_in
from tests.payment_device.counter import NOTES, attendant_at, counter_at
from tests.payment_device.lane import CODE, Air, Bench, terminal_at, until
from tests.payment_device.scripted_server import LANE, ScriptedServer
from twochannel.keystore.file import FileSigner
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.payment import Status

#: At a lane that hears well again a jack is chosen within a second.
_TRIES = 10
OTHER = bytes.fromhex("fedcba9876543210")


@pytest.fixture
async def counter(lane: Bench, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with lane.air.standing((CODE, -55), seconds=0), attendant_at(lane, tmp_path) as browser:
        yield browser


async def charged(
    counter: httpx.AsyncClient, amount: str = "4.50", kind: str = "charge", **fields: str
) -> httpx.Response:
    """The form of the first page, filled in and sent; again while the jack has only just come.

    After a pause of the whole machine, one that has stood there for long has just come too.
    """
    for _ in range(_TRIES):
        page = (await counter.get("/")).text
        form = {
            "token": token_in(page),
            "reference": field_in(page, "reference"),
            "currency": "EUR",
        }
        filled_in = form | {"amount": amount, "kind": kind} | fields
        answer = await counter.post("/charge", data=filled_in)
        if "A jack has just come" not in answer.text:
            break
        await asyncio.sleep(0.2)
    return answer


async def after(counter: httpx.AsyncClient, answer: httpx.Response) -> str:
    assert answer.status_code == 303, answer.text
    return (await counter.get(answer.headers["location"])).text


async def test_the_attendant_notes_what_happens(counter: httpx.AsyncClient, tmp_path: Path) -> None:
    token = token_in((await counter.get("/terminal")).text)
    answer = await counter.post("/marks", data={"token": token, "text": "rain & wind begin"})
    assert "Noted." in await after(counter, answer)
    (line,) = (tmp_path / NOTES).read_text().splitlines()
    told = json.loads(line)
    assert (told["event"], told["text"]) == ("trial_marked", "rain & wind begin")
    refused = await counter.post("/marks", data={"token": token, "text": "x" * 300})
    assert (refused.status_code, "A note is one line of text." in refused.text) == (400, True)
    stranger = await counter.post("/marks", data={"token": "x", "text": "forged"})
    assert stranger.status_code == 403
    assert len((tmp_path / NOTES).read_text().splitlines()) == 1


async def test_the_attendant_notes_who_is_really_there(
    counter: httpx.AsyncClient, tmp_path: Path
) -> None:
    page = (await counter.get("/terminal")).text
    form = {"token": token_in(page), "text": "it stops", "lane": field_in(page, "lane")}
    for there, jack in (("jack", "red-kia"), ("nobody", "ignored")):
        answer = await counter.post("/marks", data=form | {"there": there, "jack": jack})
        assert "Noted." in await after(counter, answer)
    told = [json.loads(line)["truth"] for line in (tmp_path / NOTES).read_text().splitlines()]
    assert told == [
        {"kind": "at_lane", "lane": LANE, "jack": "red-kia", "present": True},
        {"kind": "at_lane", "lane": LANE, "jack": None, "present": False},
    ]
    for half in ({"there": "jack"}, {"there": "nobody", "lane": ""}, {"there": "both"}):
        assert (await counter.post("/marks", data=form | half)).status_code == 400, half


async def test_a_field_trial_is_started_and_stopped_at_the_lane(
    counter: httpx.AsyncClient, tmp_path: Path
) -> None:
    token = token_in((await counter.get("/terminal")).text)

    async def told(path: str, **form: str) -> httpx.Response:
        return await counter.post(path, data={"token": token, **form})

    refused = await told("/trial/start", name="Monday!")
    assert (refused.status_code, "small letters, digits" in refused.text) == (400, True)
    started = await told("/trial/start", name="monday-1")
    assert (started.status_code, started.headers["location"]) == (303, "/terminal?noted#note")
    assert "Stop trial monday-1" in (await counter.get("/terminal")).text
    again = await told("/trial/start", name="tuesday")
    assert (again.status_code, "another trial runs" in again.text) == (409, True)
    await told("/marks", text="rain begins")
    await told("/trial/stop")
    assert (await told("/trial/stop")).status_code == 409
    assert "Start a trial" in (await counter.get("/terminal")).text
    for path in ("/trial/start", "/trial/stop"):
        stranger = await counter.post(path, data={"token": "x", "name": "forged"})
        assert stranger.status_code == 403
    noted = [json.loads(line) for line in (tmp_path / NOTES).read_text().splitlines()]
    assert [(line["event"], line["trial"]) for line in noted] == [
        ("trial_started", "monday-1"),
        ("trial_marked", "monday-1"),
        ("trial_stopped", "monday-1"),
    ]


def verdict(page: str) -> str:
    found = re.search(r'class="outcome verdict (\w+)".*?<h1[^>]*>(.*?)</h1>', page, re.DOTALL)
    assert found
    return f"{found[1]}: {found[2]}"


async def test_a_charge_is_shown_with_its_match_code_and_then_paid(
    counter: httpx.AsyncClient, server: ScriptedServer
) -> None:
    server.outcome = None
    answer = await charged(counter)
    page = await after(counter, answer)
    assert verdict(page) == "waiting: Waiting for the driver"
    assert '<p class="code" role="group" aria-labelledby="code">42</p>' in page
    # The first page leads to what is the case now.
    home = await counter.get("/")
    assert (home.status_code, home.headers["location"]) == (303, answer.headers["location"])
    (payment,) = server.payments
    await server.decide(payment, Status.CAPTURED)
    async with counter.stream("GET", "/events") as stream:
        async for line in stream.aiter_lines():
            if line.startswith("event: changed"):
                break
    page = (await counter.get(answer.headers["location"])).text
    assert verdict(page) == "good: Paid"
    assert "€4.50" in page


async def test_a_form_that_is_sent_twice_is_one_payment(
    counter: httpx.AsyncClient, server: ScriptedServer
) -> None:
    page = (await counter.get("/")).text
    form = {
        "token": token_in(page),
        "reference": field_in(page, "reference"),
        "currency": "EUR",
        "amount": "4.50",
        "kind": "charge",
    }
    first = await counter.post("/charge", data=form)
    second = await counter.post("/charge", data=form)
    assert first.headers["location"] == second.headers["location"]
    assert len(server.payments) == 1
    other = await counter.post("/charge", data=form | {"amount": "5.00"})
    assert other.status_code == 409
    assert "This form was used for another payment." in other.text


async def test_a_hold_is_taken_in_part_and_given_back_in_part(
    counter: httpx.AsyncClient, server: ScriptedServer
) -> None:
    server.outcome = Status.AUTHORIZED
    answer = await charged(counter, "80", kind="hold")
    page = await after(counter, answer)
    assert verdict(page) == "good: Amount held"
    where = answer.headers["location"]
    form = {"token": token_in(page)}
    too_much = await counter.post(f"{where}/capture", data=form | {"amount": "4,2"})
    assert too_much.status_code == 400
    assert "That is not an amount in this currency." in too_much.text
    page = await after(
        counter, await counter.post(f"{where}/capture", data=form | {"amount": "42.17"})
    )
    assert verdict(page) == "good: Paid"
    assert "€37.83" in page
    refund = form | {"amount": "2.17", "reference": field_in(page, "reference")}
    for _ in range(2):
        page = await after(counter, await counter.post(f"{where}/refund", data=refund))
    assert "at most €40.00" in page
    (payment,) = server.payments.values()
    assert payment.refunded_minor == 217


async def test_a_hold_is_released(counter: httpx.AsyncClient, server: ScriptedServer) -> None:
    server.outcome = Status.AUTHORIZED
    answer = await charged(counter, "80", kind="hold")
    page = await after(counter, answer)
    where = answer.headers["location"]
    released = await counter.post(f"{where}/cancel", data={"token": token_in(page)})
    assert verdict(await after(counter, released)) == "calm: Released, nothing was paid"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (Status.DECLINED, "bad: Declined"),
        (Status.EXPIRED, "bad: Not paid, nobody answered"),
        (Status.REFUSED, "bad: The bank has refused"),
    ],
)
async def test_what_is_not_paid_does_not_look_like_it(
    counter: httpx.AsyncClient, server: ScriptedServer, status: Status, text: str
) -> None:
    server.outcome = status
    assert verdict(await after(counter, await charged(counter))) == text


async def test_nobody_is_charged_while_it_is_ambiguous_until_the_attendant_picks(
    lane: Bench, server: ScriptedServer, tmp_path: Path
) -> None:
    async with (
        lane.air.standing((CODE, -55), (OTHER, -58)),
        attendant_at(lane, tmp_path) as counter,
    ):
        await until(lambda: len(lane.radio.nearby()) == 2)
        page = (await counter.get("/")).text
        assert "Which jack is it?" in page
        assert "Several jacks are equally near" in page
        refused = await charged(counter, "4.50")
        assert refused.status_code == 409
        assert "Pick the one that is at this lane." in refused.text
        # What was typed is still there.
        assert 'name="amount" value="4.50"' in refused.text
        assert server.payments == {}
        assert verdict(await after(counter, await charged(counter, jack="fedc"))) == "good: Paid"
        (payment,) = server.payments.values()
        assert payment.request.code == OTHER.hex()


async def test_what_the_server_refuses_is_told_in_words(
    counter: httpx.AsyncClient, server: ScriptedServer
) -> None:
    server.faults.append(ErrorCode.CODE_UNKNOWN)
    answer = await charged(counter)
    assert answer.status_code == 404
    assert "This jack cannot be charged. Take another way to pay." in answer.text


@pytest.mark.parametrize(
    "fields",
    [
        {"amount": "1,5"},
        {"amount": "4.505"},
        {"currency": "KRW"},
        {"currency": "EUX"},
        {"reference": "<b>"},
        {"jack": "'; DROP"},
    ],
)
async def test_a_form_that_means_nothing_charges_nobody(
    counter: httpx.AsyncClient, server: ScriptedServer, fields: dict[str, str]
) -> None:
    answer = await charged(counter, **fields)
    assert answer.status_code == 400
    assert server.payments == {}


async def test_every_form_wants_the_token_and_the_origin(
    counter: httpx.AsyncClient, server: ScriptedServer
) -> None:
    token = token_in((await counter.get("/")).text)
    for path in ("/charge", "/payments/x/capture", "/payments/x/cancel", "/payments/x/refund"):
        assert (await counter.post(path, data={"token": "0"})).status_code == 403
        foreign = {"origin": "http://127.0.0.1:1"}
        answer = await counter.post(path, data={"token": token}, headers=foreign)
        assert answer.status_code == 403
    assert server.payments == {}


async def test_a_stranger_on_the_machine_is_shown_nothing(lane: Bench, tmp_path: Path) -> None:
    async with counter_at(lane, tmp_path) as doorway, a_browser(doorway.link()) as stranger:
        for path in ("/", "/payments", "/terminal", "/events"):
            answer = await stranger.get(path)
            assert answer.status_code == 401
            assert "payment-device page" in answer.text
        by_address = await stranger.get(
            "/", headers={"host": str(stranger.base_url.netloc, "ascii")}
        )
        assert by_address.status_code == 421


async def test_a_browser_stays_let_in_over_a_restart(
    server: ScriptedServer, signer: FileSigner, air: Air, tmp_path: Path
) -> None:
    async with (
        terminal_at(tmp_path, server.pin(), signer, air) as lane,
        counter_at(lane, tmp_path) as doorway,
    ):
        link, origin = doorway.link(), doorway.origin
        async with a_browser(link) as browser:
            await opened(browser, link)
            cookie = browser.headers["cookie"]
    kept = tmp_path / MEMORY_NAME
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert cookie.partition("=")[2] not in kept.read_text()
    async with (
        terminal_at(tmp_path, server.pin(), signer, air) as lane,
        counter_at(lane, tmp_path) as doorway,
        a_browser(link) as browser,
    ):
        assert doorway.origin == origin
        browser.headers["cookie"] = cookie
        assert (await browser.get("/")).status_code == 200


async def test_a_payment_of_a_till_is_shown_and_its_outcome_leads_on(
    lane: Bench, counter: httpx.AsyncClient, server: ScriptedServer
) -> None:
    server.outcome = None
    asked = await lane.charge("order-1", wait_s=0)
    async with counter.stream("GET", "/events") as stream:
        lines = stream.aiter_lines()
        while await anext(lines) != "event: asked":
            pass
    page = (await counter.get("/", follow_redirects=True)).text
    assert "order-1" in page
    assert "data-follow" not in page
    await server.decide(asked["id"], Status.DECLINED)
    await until(lambda: lane.terminal.at_the_lane() is None)
    page = (await counter.get(f"/payments/{asked['id']}")).text
    assert "data-follow" in page
    assert "Next customer" in page


async def test_an_unknown_payment_is_no_page(counter: httpx.AsyncClient) -> None:
    answer = await counter.get("/payments/none")
    assert answer.status_code == 404
    assert "payment_unknown" in answer.text
