"""``jacks``, ``refunds`` and ``show``: what the operator sees of who takes part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from server.cli import main
from server.payments import get_payment
from server.processors.port import Approved
from server.refunds import settle_refund
from server.state import StateFolder
from tests.server.world import World
from twochannel.protocol.payment import Event
from twochannel.trace import wall_ms


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server with a payment that was partly given back."""
    path = tmp_path_factory.mktemp("parties") / "state"
    assert run(path, "init").exit_code == 0
    for empty, words in (("jacks", "None yet"), ("refunds", "No refunds")):
        assert words in run(path, empty, "list").stderr
    folder = StateFolder(path)
    store = folder.open_store()
    world = World(store, now_ms=wall_ms(), server=folder.keys.signer("signing"))
    payment = world.request()
    world.confirm(payment)
    world.settle(payment, Event.CAPTURE)
    refund = world.refund(payment, 100, "milk")
    store.write_now(
        lambda c: settle_refund(
            c, get_payment(c, payment), refund, Approved("r", 100), world.now_ms, world.issuer
        )
    )
    store.close_now()
    return path


def run(state: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--state", str(state), *arguments])


def said(state: Path, *arguments: str) -> Any:
    result = run(state, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_every_device_is_listed_and_shown(state: Path) -> None:
    for kind, pairings in (("jacks", 1), ("phones", 1), ("terminals", 0)):
        (row,) = said(state, kind, "list")["items"]
        shown = said(state, kind, "show", row["id"])
        assert shown["payments"] == {"captured": 1}
        assert len(shown.get("pairings", [])) == pairings
        assert not {"key", "beacon_key"} & shown.keys()
        text = run(state, kind, "show", row["id"]).stdout
        assert "payments: 1 captured" in text
        assert row["id"] in run(state, kind, "list").stdout
        wrong = run(state, kind, "show", "nobody")
        assert (wrong.exit_code, "there is no" in wrong.stderr) == (1, True)


def test_a_merchant_is_shown_with_its_terminals_and_webhooks(state: Path) -> None:
    said(state, "webhook", "add", "coffee", "https://shop.example/")
    shown = said(state, "merchants", "show", "Blue Bottle")
    assert (shown["id"], shown["payments"]) == ("coffee", {"captured": 1})
    assert [terminal["lane"] for terminal in shown["terminals"]] == ["Lane 1"]
    assert [endpoint["url"] for endpoint in shown["webhooks"]] == ["https://shop.example/"]
    assert "terminal: id " in run(state, "merchants", "show", "coffee").stdout


def test_refunds_are_listed_and_shown(state: Path) -> None:
    (row,) = said(state, "refunds", "list", "--status", "succeeded")["items"]
    assert (row["amount_minor"], row["reference"]) == (100, "milk")
    assert said(state, "refunds", "list", "--status", "refused")["items"] == []
    assert "1.00 EUR" in run(state, "refunds", "list").stdout
    assert said(state, "refunds", "show", row["id"])["receipt"]
    assert "reference: milk" in run(state, "refunds", "show", row["id"]).stdout
    assert run(state, "refunds", "show", "none").exit_code == 1
