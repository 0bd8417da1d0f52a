"""The journeys of the demo, each on its own, in any order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fieldkit import processor_books, trace
from fieldkit.journeys import JOURNEYS, Account, Journey, arrive, charge, perform
from fieldkit.process import CommandFailedError
from fieldkit.processor_books import Charge
from fieldkit.stage import SERVER, Stage
from twochannel.protocol.envelope import unverified_claims

pytestmark = pytest.mark.asyncio(loop_scope="session")

#: Status, authorised, captured; and what the processor has booked: state, captured.
OUTCOMES = {
    "coffee": ("captured", 450, 450, [("captured", 450)]),
    "refuelling": ("captured", 8000, 4217, [("captured", 4217)]),
    "owner-declines": ("declined", 0, 0, []),
    "replayed-code": ("declined", 0, 0, []),
    "jack-restarted-1970": ("captured", 620, 620, [("captured", 620)]),
    "wifi-lost": ("captured", 340, 340, [("captured", 340)]),
}


@pytest.mark.parametrize("journey", JOURNEYS, ids=lambda journey: journey.name)
async def test_ends_as_it_must(stage: Stage, journey: Journey) -> None:
    result = await perform(stage, journey)
    assert result.ok, result.failure
    document = result.to_json()
    payment = document["payment"]
    booked = processor_books.charges(stage.state(SERVER), payment["id"])
    assert (
        payment["status"],
        payment["authorized_minor"],
        payment["captured_minor"],
        [(charge.state, charge.captured_minor) for charge in booked],
    ) == OUTCOMES[journey.name]
    assert payment["currency"] == "EUR"
    assert all(value is not None and value >= 0 for value in document["legs_ms"].values())
    assert len(result.statements) >= 4


async def test_post_pay_charges_the_known_amount_after_fuelling(stage: Stage) -> None:
    await arrive(stage, "pump-3")
    payment = await charge(stage, "pump-3", "42.17", "--description", "30.5 l E10")
    assert (payment["status"], payment["captured_minor"]) == ("captured", 4217)
    booked = processor_books.charges(stage.state(SERVER), payment["id"])
    assert booked == [Charge("captured", "EUR", 4217, 4217)]


async def test_more_than_was_held_cannot_be_taken(stage: Stage) -> None:
    await arrive(stage, "pump-3")
    held = await charge(stage, "pump-3", "50.00", "--manual")
    capture = ("capture", held["id"], "50.01", "EUR")
    with pytest.raises(CommandFailedError) as refused:
        await stage.cli("pump-3", *capture)
    assert "amount_exceeded" in "\n".join(refused.value.log)
    booked = processor_books.charges(stage.state(SERVER), held["id"])
    assert booked == [Charge("held", "EUR", 5000, 0)]
    _, ended = await stage.cli("pump-3", "cancel", held["id"])
    assert (ended["status"], ended["captured_minor"]) == ("voided", 0)


def section(document: str, title: str) -> str:
    return document.partition(f"## {title}\n")[2].partition("\n## ")[0]


async def test_traces_hold_what_is_documented(stage: Stage) -> None:
    assert (await perform(stage, JOURNEYS[0])).ok
    document = (Path(__file__).parents[2] / "docs" / "trace.md").read_text(encoding="utf-8")
    for event in stage.events():
        own = section(document, f"Events of the {event.party}")
        # The stage may have been that of tests of trials before.
        shared = section(document, "Events of the condition of an agent")
        shared += section(document, "Events of the notes of a trial")
        row = re.search(rf"^\| `{event.event}` \|.*$", own + shared, re.MULTILINE)
        assert row, event
        # Those of `health` have a table of their own below.
        told = shared if row[0] in shared else row[0]
        assert all(f"`{name}`" in told for name in event.fields), event


async def test_traces_and_logs_hold_no_secret(stage: Stage) -> None:
    result = await perform(stage, JOURNEYS[0])
    request = unverified_claims(result.statements[0])
    files = [stage.state(agent) / trace.FILE_NAME for agent in stage.traces]
    files += list((stage.folder / "logs").iterdir())
    written = "\n".join(file.read_text(encoding="utf-8") for file in files)
    assert stage.jack_label.rpartition(":")[2] not in written
    assert str(request["code"]) not in written
    assert str(request["code"])[:4] in written  # what is looked for could have been found
    assert "eyJ" not in written  # the beginning of every statement's header


async def test_a_journey_that_ends_otherwise_is_a_failure(stage: Stage) -> None:
    """The judge can say no: a coffee judged as if it had to be declined."""

    async def misjudged(at: Stage, account: Account) -> None:
        await JOURNEYS[0].play(at, account)
        assert account.payment
        account.demand(account.payment["status"] == "declined", "it was declined")

    result = await perform(stage, Journey("misjudged", "Misjudged", misjudged))
    assert not result.ok
    assert result.failure == "This does not hold: it was declined"
    assert result.payment
    assert result.payment["status"] == "captured"


async def test_a_journey_that_breaks_is_a_failure_and_no_end_of_the_demo(stage: Stage) -> None:
    async def broken(at: Stage, _account: Account) -> None:
        await at.ask("lane-1", "GET", "/v1/nonsense")

    result = await perform(stage, Journey("broken", "Broken", broken))
    assert not result.ok
    assert "CodedError" in result.failure
