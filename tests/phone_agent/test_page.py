"""The pages of a running phone, as a browser and as a stranger on the same machine meet them."""

from __future__ import annotations

import re
import socket
from contextlib import closing, suppress

import httpx
import pytest

from phone_agent.consent import Rules
from phone_agent.database import FILE_NAME, Database
from phone_agent.ledger import Ledger
from tests.cigarjack.parties import Jack, served
from tests.page_client import a_browser, opened, token_in
from tests.phone_agent.owners_phone import OwnersPhone, eventually, hear_lane
from tests.phone_agent.scripted_server import ScriptedServer
from twochannel.protocol.envelope import verify
from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.instructions import Instruction, MethodDefault, MethodRemoval
from twochannel.protocol.money import Amount
from twochannel.protocol.statements import DecidedBy, Decision, Merchant

#: Not on the owner's list.
STRANGER = Merchant(id="stranger", name='<b onclick="pay()">Blue & Bottle</b>')


async def link(phone: OwnersPhone) -> str:
    return str((await phone.command("POST", "/v1/page"))["url"])


async def asked(browser: httpx.AsyncClient) -> str:
    """The page once the owner is asked, by the stream that tells a browser."""
    async with browser.stream("GET", "/events") as stream:
        async for line in stream.aiter_lines():
            if line == "event: asked":
                break
    return (await browser.get("/")).text


async def test_the_owner_is_asked_and_answers(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    amount = Amount(value=1250, currency="KWD")
    challenge = server.challenge(jack.id, phone.id, merchant=STRANGER, amount=amount)
    async with served(jack), phone.running(), a_browser(await link(phone)) as browser:
        await opened(browser, await link(phone))
        server.ask(challenge)
        page = await asked(browser)
        assert "KWD\N{NO-BREAK SPACE}1.250" in page
        assert challenge.match_code in page
        # A name is text, whatever the registry has let through.
        assert "&lt;b onclick=" in page
        assert "<b onclick" not in page
        path = f"/payments/{challenge.sub}"
        answer = await browser.post(f"{path}/approve", data={"token": token_in(page)})
        assert (answer.status_code, answer.headers["location"]) == (303, path)
        confirmation = await server.confirmation()
        assert confirmation.decision is Decision.APPROVE
        assert confirmation.decided_by is DecidedBy.OWNER
        again = await browser.post(f"{path}/decline", data={"token": token_in(page)})
        assert again.status_code == 409
        assert "has its answer already" in again.text


async def test_nothing_is_approved_before_the_jack_has_answered(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    challenge = server.challenge(jack.id, phone.id, merchant=STRANGER)
    async with phone.running(), a_browser(await link(phone)) as browser:
        await opened(browser, await link(phone))
        server.ask(challenge)
        await phone.until_traced("auth_code_asked", challenge.sub)
        page = (await browser.get("/")).text
        assert "Asking your jack" in page
        form = {"token": token_in(page)}
        answer = await browser.post(f"/payments/{challenge.sub}/approve", data=form)
        assert answer.status_code == 409
        assert "Your jack has not answered yet" in answer.text
        # Declining needs no jack.
        await browser.post(f"/payments/{challenge.sub}/decline", data=form)
        assert (await server.confirmation()).decision is Decision.DECLINE


async def test_a_flood_is_declined_at_once_and_the_question_stays(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    first, *flood = (server.challenge(jack.id, phone.id, merchant=STRANGER) for _ in range(5))
    async with served(jack), phone.running(), a_browser(await link(phone)) as browser:
        await opened(browser, await link(phone))
        for challenge in (first, *flood):
            server.ask(challenge)
            await phone.until_traced("prompt_shown", challenge.sub)
        page = (await browser.get("/")).text
        assert "4 more requests wait" in page
        assert page.count('class="question"') == 1
        listed = re.search(r'name="payments" value="([^"]+)"', page)
        assert listed
        form = {"token": token_in(page), "payments": listed[1]}
        await browser.post("/payments/decline-behind", data=form)
        refused = {(await server.confirmation()).sub for _ in flood}
        assert refused == {challenge.sub for challenge in flood}
        assert first.sub in (await browser.get("/")).text


async def test_a_browser_stays_let_in_over_a_restart(
    server: ScriptedServer, phone: OwnersPhone
) -> None:
    async with phone.running():
        url = await link(phone)
        async with a_browser(url) as browser:
            await opened(browser, url)
            cookie = browser.headers["cookie"]
    async with phone.running(), a_browser(url) as browser:
        assert (await browser.get("/")).status_code == 401
        browser.headers["cookie"] = cookie
        assert (await browser.get("/")).status_code == 200
    assert cookie.partition("=")[2].encode() not in (phone.state / "wallet.sqlite3").read_bytes()


async def test_a_port_that_is_taken_meanwhile_is_exchanged_unless_it_was_asked_for(
    server: ScriptedServer, phone: OwnersPhone
) -> None:
    async with phone.running():
        port = int((await link(phone)).rpartition(":")[2].partition("/")[0])
    with closing(socket.socket()) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        async with phone.running():
            assert f":{port}/" not in await link(phone)
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with phone.running(page_port=port):
                pytest.fail("started")


async def test_a_stranger_on_the_machine_is_shown_nothing(
    server: ScriptedServer, phone: OwnersPhone
) -> None:
    """The port is for all to see; the name is not, and a name without a session is no use."""
    async with phone.running(), a_browser(await link(phone)) as browser:
        for path in ("/", "/payments", "/events", "/open/guess"):
            assert (await browser.get(path)).status_code == 401
        by_address = {"host": f"127.0.0.1:{browser.base_url.port}"}
        assert (await browser.get("/", headers=by_address)).status_code == 421


async def test_limits_are_set_on_a_page(server: ScriptedServer, phone: OwnersPhone) -> None:
    async with phone.running(), a_browser(await link(phone)) as browser:
        await opened(browser, await link(phone))
        page = await browser.get("/limits?currency=KRW")
        form = {"token": token_in(page.text), "currency": "KRW", "payment": "5000", "day": "9000"}
        assert (await browser.post("/limits/rules", data=form)).status_code == 303
        assert rules_of(phone) == Rules(False, {"KRW": 5000}, {"KRW": 9000})
        form |= {"automatic": "on", "payment": ""}
        assert (await browser.post("/limits/rules", data=form)).status_code == 303
        assert rules_of(phone) == Rules(True, {}, {"KRW": 9000})
        for wrong in ("5.5", "-1", "1e9", "¾"):
            answer = await browser.post("/limits/rules", data=form | {"day": wrong})
            assert answer.status_code == 400
            assert "That is not an amount" in answer.text
        assert rules_of(phone) == Rules(True, {}, {"KRW": 9000})
        await browser.post("/limits/merchants/forget", data=form | {"merchant": "cafe"})
        assert "You are asked about every payment." in (await browser.get("/limits")).text


async def test_a_card_is_added_on_a_page(server: ScriptedServer, phone: OwnersPhone) -> None:
    async with phone.running(), a_browser(await link(phone)) as browser:
        await opened(browser, await link(phone))
        token = token_in((await browser.get("/methods")).text)
        form = {"token": token, "card": "tok_success", "label": "Second card"}
        assert (await browser.post("/methods/add", data=form)).status_code == 303
        assert "Second card" in (await browser.get("/methods")).text
        answer = await browser.post("/methods/add", data=form | {"card": "tok_of_another"})
        assert "did not take" in answer.text
        answer = await browser.post("/methods/add", data=form | {"label": "4242 4242 4242 4242"})
        assert (answer.status_code, "Never write a card number" in answer.text) == (400, True)
        assert "4242 4242" not in (await browser.get("/methods")).text


async def test_another_card_pays_and_one_is_revoked_on_a_page(
    server: ScriptedServer, phone: OwnersPhone
) -> None:
    async with phone.running(), a_browser(await link(phone)) as browser:
        await opened(browser, await link(phone))
        token = token_in((await browser.get("/methods")).text)
        form = {"token": token, "card": "tok_success", "label": "Second card"}
        await browser.post("/methods/add", data=form)
        first, second = methods_of(phone)
        order = {"token": token, "method": second}
        assert (await browser.post("/methods/default", data=order)).status_code == 303
        assert methods_of(phone) == [second, first]
        await eventually(lambda: told(server, phone, MethodDefault, second), "the server knows")
        assert (await browser.post("/methods/remove", data=order)).status_code == 303
        assert methods_of(phone) == [first]
        await eventually(lambda: told(server, phone, MethodRemoval, second), "the server knows")
        for action in ("default", "remove"):
            gone = await browser.post(f"/methods/{action}", data=order)
            assert (gone.status_code, "That did not work" in gone.text) == (404, True)


async def test_a_card_is_not_coupled_while_the_server_is_away(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    """With a server that couples: tests/journeys/test_phone_page.py."""
    phone.pair(jack, server)
    async with phone.running(), a_browser(await link(phone)) as browser:
        await opened(browser, await link(phone))
        (method,) = methods_of(phone)
        page = (await browser.get("/methods")).text
        assert f"Couple to jack {jack.id[:8]}" in page
        order = {"token": token_in(page), "method": method, "jack": jack.id}
        answer = await browser.post("/methods/couple", data=order)
        assert (answer.status_code, "cannot be reached now" in answer.text) == (400, True)
        assert (await browser.post("/methods/uncouple", data=order)).status_code == 422


async def test_a_jack_is_paired_and_revoked_on_a_page(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    pin = phone.pair(jack, server)
    async with served(jack), phone.running(), a_browser(await link(phone)) as browser:
        await opened(browser, await link(phone))
        page = (await browser.get("/jack")).text
        assert pin.jack in page
        form = {"token": token_in(page), "label": "no label"}
        assert "That is not a label" in (await browser.post("/jack/pair", data=form)).text
        await browser.post("/jack/forget", data=form | {"jack": pin.jack})
        assert pin.jack not in (await browser.get("/jack")).text
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        await eventually(lambda: last_event(phone) == "1", "the challenge is dropped")
        assert (await browser.get(f"/payments/{challenge.sub}")).status_code == 404


def last_event(phone: OwnersPhone) -> str | None:
    with Database.open(phone.state / FILE_NAME) as database:
        return Ledger(database).last_event_id()


def methods_of(phone: OwnersPhone) -> list[str]:
    found: list[str] = []
    phone.wallet(lambda wallet: found.extend(method.id for method in wallet.methods()))
    return found


def told(server: ScriptedServer, phone: OwnersPhone, model: type[Instruction], method: str) -> bool:
    """Whether the server has such an order of the phone about ``method``."""
    found = []
    for compact in server.registered:
        with suppress(StatementError):
            found.append(verify(compact, model, phone.identity.signer.key).sub)
    return method in found


def rules_of(phone: OwnersPhone) -> Rules:
    found: list[Rules] = []
    phone.wallet(lambda wallet: found.append(wallet.rules()))
    return found[0]


async def test_every_form_wants_the_token(server: ScriptedServer, phone: OwnersPhone) -> None:
    async with phone.running(), a_browser(await link(phone)) as browser:
        await opened(browser, await link(phone))
        forms: set[str] = set()
        for path in ("/limits", "/methods", "/jack"):
            page = (await browser.get(path)).text
            forms |= set(re.findall(r'method="post" action="([^"]+)"', page))
        assert len(forms) >= 5
        for action in sorted(forms):
            assert (await browser.post(action, data={"token": "guess"})).status_code == 403


async def test_what_is_not_there(server: ScriptedServer, phone: OwnersPhone) -> None:
    async with phone.running(), a_browser(await link(phone)) as browser:
        await opened(browser, await link(phone))
        for path in ("/nowhere", "/payments/nobody"):
            answer = await browser.get(path)
            assert answer.status_code == 404
            assert "That did not work" in answer.text
        assert ErrorCode.PAYMENT_UNKNOWN in (await browser.get("/payments/nobody")).text


async def test_the_language_is_the_reader_s(server: ScriptedServer, phone: OwnersPhone) -> None:
    async with phone.running(), a_browser(await link(phone)) as browser:
        await opened(browser, await link(phone))
        korean = await browser.get("/", headers={"accept-language": "ko-KR,ko;q=0.9"})
        assert '<html lang="ko">' in korean.text
        assert "승인할 결제가 없습니다" in korean.text


async def test_a_note_goes_into_the_recording_and_nobody_elses_does(phone: OwnersPhone) -> None:
    async with phone.running(), a_browser(await link(phone)) as browser:
        await opened(browser, await link(phone))
        token = token_in((await browser.get("/jack")).text)
        form = {
            "token": token,
            "text": "rain & wind",
            "there": "jack",
            "jack": "kia",
            "lane": "l-1",
        }
        answer = await browser.post("/marks", data=form)
        assert "Noted." in (await browser.get(answer.headers["location"])).text
        for unfit in ({"text": ""}, {"lane": ""}, {"jack": ""}, {"there": "both"}):
            refused = await browser.post("/marks", data=form | unfit)
            assert (refused.status_code, "A note is one line" in refused.text) == (400, True)
        assert (await browser.post("/marks", data=form | {"token": "x"})).status_code == 403
        elsewhere = {"origin": "https://elsewhere.example"}
        assert (await browser.post("/marks", data=form, headers=elsewhere)).status_code == 403
    (line,) = phone.traced("trial_marked")
    assert line["text"] == "rain & wind"
    assert line["truth"] == {"kind": "at_lane", "lane": "l-1", "jack": "kia", "present": True}


async def test_a_field_trial_is_started_and_stopped_on_the_page(phone: OwnersPhone) -> None:
    async with phone.running(), a_browser(await link(phone)) as browser:
        await opened(browser, await link(phone))
        token = token_in((await browser.get("/jack")).text)

        async def told(path: str, **form: str) -> httpx.Response:
            return await browser.post(path, data={"token": token, **form})

        refused = await told("/trial/start", name="Monday!")
        assert (refused.status_code, "small letters, digits" in refused.text) == (400, True)
        started = await told("/trial/start", name="monday-1")
        assert (started.status_code, started.headers["location"]) == (303, "/jack?noted#note")
        assert "Stop trial monday-1" in (await browser.get("/jack?noted")).text
        again = await told("/trial/start", name="tuesday")
        assert (again.status_code, "another trial runs" in again.text) == (409, True)
        await told("/marks", text="we reach the <lane>")
        await told("/trial/stop")
        assert (await told("/trial/stop")).status_code == 409
        assert "Start a trial" in (await browser.get("/jack")).text
        stranger = await browser.post("/trial/start", data={"token": "x", "name": "forged"})
        assert stranger.status_code == 403
    (mark,) = phone.traced("trial_marked")
    assert (mark["trial"], mark["text"]) == ("monday-1", "we reach the <lane>")
    assert [len(phone.traced(f"trial_{what}")) for what in ("started", "stopped")] == [1, 1]
