"""Whole payments of a running server whose processor is Stripe."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.state import StateFolder
from tests.server.bench import Bench, check_problem, copied, running
from tests.server.devices import Devices
from tests.server.stripe_peer import KEY, Wire, charged_at_stripe, instead, lost
from twochannel.protocol.errors import ErrorCode
from twochannel.settings import SettingsError


@pytest.fixture
async def bench(
    prepared: tuple[StateFolder, Devices], tmp_path: Path, wire: Wire
) -> AsyncIterator[Bench]:
    """A server that charges by Stripe, and a phone with a card that Stripe knows."""
    folder, devices = copied(prepared, tmp_path / "server")
    async with running(
        folder, devices, processor="stripe", stripe_key=KEY, stripe_url=wire.url
    ) as bench:
        bench.devices.method_id = await bench.add_method("pm_card_visa")
        yield bench


async def paid(bench: Bench) -> dict[str, Any]:
    payment, _, challenge = await bench.pending()
    answer = await bench.confirm(payment, bench.devices.confirmation(payment, challenge))
    document: dict[str, Any] = answer.json()
    return document


async def test_a_coffee_is_charged_once_and_given_back(bench: Bench, stripe: str) -> None:
    payment = await paid(bench)
    assert (payment["status"], payment["captured_minor"]) == ("captured", 450)
    (intent,) = await charged_at_stripe(stripe, payment["id"])
    assert (intent["amount"], intent["currency"], intent["status"]) == (450, "eur", "succeeded")
    request = bench.statement(payment["id"], "payment-request+jwt")
    refund = bench.devices.refund(request, 100)
    answer = await bench.post(f"/v1/payments/{payment['id']}/refunds", refund, prefer="wait=20")
    assert answer.json()["status"] == "succeeded", answer.text


async def test_refuelling_takes_what_was_filled_in(bench: Bench, stripe: str) -> None:
    payment, request = await bench.held()
    answer = await bench.post(
        f"/v1/payments/{payment}/captures", bench.devices.capture(request, 4217), prefer="wait=20"
    )
    assert (answer.json()["status"], answer.json()["captured_minor"]) == ("captured", 4217)
    assert len(await charged_at_stripe(stripe, payment)) == 1


@pytest.mark.parametrize("fault", [lost, instead(b"{}"), instead(b"{}", "503 Unavailable")])
async def test_an_answer_that_is_lost_is_found_and_charged_once(
    bench: Bench, wire: Wire, stripe: str, fault: Any
) -> None:
    wire.faults.append(fault)
    payment = await paid(bench)
    assert payment["status"] == "captured"
    history = bench.rows("SELECT to_status FROM payment_events WHERE payment_id = ?", payment["id"])
    assert ("unknown",) in [tuple(row) for row in history]
    assert len(await charged_at_stripe(stripe, payment["id"])) == 1


async def test_a_declined_card_refuses_the_payment(bench: Bench) -> None:
    bench.devices.method_id = await bench.add_method("pm_card_chargeCustomerFail")
    payment = await paid(bench)
    assert (payment["status"], payment["reason"]) == ("refused", "card_declined")


async def test_a_method_that_stripe_does_not_take_is_not_registered(bench: Bench) -> None:
    before = bench.row_counts()
    for token in ("pm_nobodys", "pm_card_visa_chargeDeclined"):
        answer = await bench.post("/v1/payment-methods", bench.devices.method(token))
        check_problem(answer, ErrorCode.PAYMENT_METHOD_REFUSED)
    assert bench.row_counts() == before


async def test_a_method_is_registered_when_stripe_answers_again(bench: Bench, wire: Wire) -> None:
    method = bench.devices.method("pm_card_visa")
    for fault in (lost, instead(b"[]")):
        wire.faults.append(fault)
        answer = await bench.post("/v1/payment-methods", method)
        check_problem(answer, ErrorCode.PROCESSOR_UNREACHABLE)
    answer = await bench.post("/v1/payment-methods", method)
    assert answer.status_code == 201, answer.text
    wire.requests.clear()
    assert (await bench.post("/v1/payment-methods", method)).json() == answer.json()
    assert wire.requests == []


async def audited(bench: Bench, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the command finds, in a process of its own."""
    monkeypatch.setenv("CIGARJACK_SERVER_PROCESSOR", "stripe")
    monkeypatch.setenv("CIGARJACK_SERVER_STRIPE_KEY", KEY)
    monkeypatch.setenv("CIGARJACK_SERVER_STRIPE_URL", wire.url)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "server", "--state", bench.folder.path, "audit", "--json", stdout=PIPE
    )
    output, _ = await process.communicate()
    return json.loads(output)


async def test_the_auditor_compares_with_what_stripe_has(
    bench: Bench, wire: Wire, stripe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = await paid(bench)
    held, request = await bench.held()
    capture = bench.devices.capture(request, 4217)
    await bench.post(f"/v1/payments/{held}/captures", capture, prefer="wait=20")
    refund = bench.devices.refund(bench.statement(payment["id"], "payment-request+jwt"), 100)
    await bench.post(f"/v1/payments/{payment['id']}/refunds", refund, prefer="wait=20")
    document = await audited(bench, wire, monkeypatch)
    # localstripe has the payments of other tests too, which are not this server's.
    findings = [f for check in document["checks"] for f in check["findings"]]
    assert [f for f in findings if payment["id"] in f or held in f] == []
    intent = (await charged_at_stripe(stripe, payment["id"]))[0]["id"]
    async with httpx.AsyncClient(base_url=stripe, auth=(KEY, ""), trust_env=False) as http:
        form = {"payment_intent": intent, "amount": 7, "metadata[key]": "x"}
        form |= {"metadata[payment]": payment["id"]}
        assert (await http.post("/v1/refunds", data=form)).status_code == 200
    document = await audited(bench, wire, monkeypatch)
    found = next(check for check in document["checks"] if check["number"] == 15)["findings"]
    assert [finding for finding in found if payment["id"] in finding]


async def test_the_key_comes_from_a_file_and_is_in_no_output(
    prepared: tuple[StateFolder, Devices], tmp_path: Path, wire: Wire, capsys: Any
) -> None:
    folder, devices = copied(prepared, tmp_path / "server")
    key = tmp_path / "key"
    key.write_text(f"{KEY}\n")
    async with running(
        folder, devices, processor="stripe", stripe_key_file=key, stripe_url=wire.url
    ) as bench:
        devices.method_id = await bench.add_method("pm_card_visa")
        assert (await paid(bench))["status"] == "captured"
    trace = (folder.path / "trace.jsonl").read_text()
    assert trace
    assert KEY not in trace + "".join(capsys.readouterr())


async def test_without_its_key_the_server_says_what_is_missing(
    prepared: tuple[StateFolder, Devices], tmp_path: Path
) -> None:
    folder, devices = copied(prepared, tmp_path / "server")
    with pytest.raises(SettingsError, match="stripe_key_file"):
        async with running(folder, devices, processor="stripe"):
            pass
