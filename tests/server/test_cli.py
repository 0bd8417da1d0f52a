"""The command line: what an operator types, sees and can rely on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from click.testing import CliRunner, Result

from server.cli import main
from server.state import StateFolder
from tests.server.bench import running
from twochannel.protocol.envelope import unverified_claims
from twochannel.protocol.errors import ErrorCode


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    assert run(path, "init", "--port", "0").exit_code == 0
    return path


def run(state: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--state", str(state), *arguments])


def said(state: Path, *arguments: str) -> Any:
    result = run(state, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_init_makes_a_server_once(tmp_path: Path) -> None:
    state = tmp_path / "new"
    first = run(state, "init", "--name", 'Say "hi"', "--port", "0")
    assert first.exit_code == 0
    assert "merchants add" in first.stdout
    folder = StateFolder(state)
    assert folder.settings().name == 'Say "hi"'
    assert folder.settings().port == 0
    identity = folder.identity()
    again = run(state, "init")
    assert (again.exit_code, "already" in again.stderr) == (1, True)
    assert folder.identity() == identity
    assert (state / "keys" / "signing.pem").stat().st_mode & 0o077 == 0


def test_init_says_what_stripe_needs_before_the_server_runs(tmp_path: Path) -> None:
    state, key = tmp_path / "new", tmp_path / "stripe.key"
    said = run(state, "init", "--port", "0", "--processor", "stripe")
    assert (said.exit_code, "stripe_key_file" in said.stderr) == (0, True)
    refused = run(state, "run")
    assert (refused.exit_code, refused.stderr.strip() in said.stderr) == (1, True)
    named = ("init", "--processor", "stripe", "--stripe-key-file", str(key))
    for path, text in (
        ("no file", None),
        ("nothing in it", ""),
        ("a key", f"sk_test_{token_hex()}"),
    ):
        if text is not None:
            key.write_text(text)
        said = run(tmp_path / path, *named)
        told = "Before cigarjack-server run" in said.stderr
        assert (said.exit_code, told) == (0, path != "a key"), said.stderr


def test_init_says_how_long_codes_last(tmp_path: Path) -> None:
    said(tmp_path / "usual", "init")
    said(tmp_path / "swift", "init", "--rotation-exponent", "4")
    claims = [
        unverified_claims(StateFolder(tmp_path / one).identity()) for one in ("usual", "swift")
    ]
    assert [one["rotation_exponent"] for one in claims] == [8, 4]
    assert run(tmp_path / "new", "init", "--rotation-exponent", "16").exit_code == 2


def test_init_that_was_cut_off_is_completed(tmp_path: Path) -> None:
    state = tmp_path / "new"
    run(state, "init")
    signing = (state / "keys" / "signing.pem").read_bytes()
    (state / "identity.jwt").unlink()
    assert run(state, "init").exit_code == 0
    assert (state / "keys" / "signing.pem").read_bytes() == signing


@pytest.mark.parametrize(
    "arguments",
    [["run"], ["merchants", "list"], ["payments", "list"], ["phones", "add", "me"], ["migrate"]],
)
def test_nothing_works_before_init(tmp_path: Path, arguments: list[str]) -> None:
    result = run(tmp_path / "none", *arguments)
    assert result.exit_code == 1
    assert "cigarjack-server init" in result.stderr
    assert not (tmp_path / "none").exists()


def test_merchants_and_codes(state: Path) -> None:
    assert run(state, "merchants", "list").exit_code == 0
    made = said(state, "merchants", "add", "Blue Bottle", "--presence", "require")
    assert made == {"id": "blue-bottle", "name": "Blue Bottle", "presence": "require"}
    (listed,) = said(state, "merchants", "list")["items"]
    assert (listed["id"], listed["presence"]) == ("blue-bottle", "require")
    server = json.loads(run(state, "phones", "add", "mine", "--json").stdout)
    assert re.fullmatch(r"CE1:[A-Za-z0-9_-]{43}:[A-Za-z0-9_-]{22}", server["enrolment_code"])
    for name in ("Blue Bottle", "blue-bottle"):
        lane = said(state, "terminals", "add", "Lane 1", "--merchant", name)
        assert lane["role"] == "terminal"
    code = run(state, "phones", "add", "mine").stdout.strip()
    assert code.startswith("CE1:")
    for file in state.rglob("*"):
        if file.is_file():
            assert code.rpartition(":")[2].encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["merchants", "add", "Blue Bottle"], "already"),
        (["merchants", "add", ""], "printable"),
        (["merchants", "add", "x" * 65], "printable"),
        (["merchants", "add", "a\u202eb"], "printable"),
        (["merchants", "add", "日本"], "--id"),
        (["merchants", "add", "Other", "--id", "a b"], "--id"),
        (["terminals", "add", "Lane 1", "--merchant", "Nobody"], "merchants list"),
        (["revoke", "jack", "nobody"], "there is no jack"),
        (["payments", "show", "nothing"], "No such payment"),
    ],
)
def test_what_cannot_be_done_is_told(state: Path, arguments: list[str], told: str) -> None:
    said(state, "merchants", "add", "Blue Bottle")
    plain = run(state, *arguments)
    assert plain.exit_code == 1
    assert told in plain.stderr
    as_json = run(state, *arguments, "--json")
    error = json.loads(as_json.stderr)["error"]
    assert as_json.exit_code == 1
    assert set(error) == {"code", "detail", "next_step"}


def test_people_get_sentences_tables_and_a_command_to_copy(state: Path) -> None:
    said(state, "merchants", "add", "Blue Bottle")
    missing = run(state, "payments", "show", "nothing")
    assert missing.stderr == "No such payment\nCheck the payment id.\n"
    listed = run(state, "merchants", "list").stdout.splitlines()
    assert [line.split() for line in listed] == [
        ["ID", "PRESENCE", "NAME"],
        ["blue-bottle", "prefer", "Blue", "Bottle"],
    ]
    config = state / "config.toml"
    for host, url in {"127.0.0.1": "127.0.0.1", "0.0.0.0": "HOST", "::1": "[::1]"}.items():
        settings = config.read_text().replace("port = 0", "port = 8443")
        config.write_text(re.sub('host = ".*"', f'host = "{host}"', settings))
        added = run(state, "phones", "add", "Mina")
        code = added.stdout.strip()
        assert added.stderr.endswith(f"phone-agent enroll https://{url}:8443 '{code}'\n")


def test_unknown_settings_are_told(state: Path) -> None:
    config = state / "config.toml"
    config.write_text(config.read_text().replace("port = 0", 'colour = "blue"\nport = 70000'))
    result = run(state, "run")
    assert result.exit_code == 1
    assert "colour" in result.stderr
    assert "port" in result.stderr


def test_every_command_explains_itself(tmp_path: Path) -> None:
    result = run(tmp_path, "--help")
    assert result.exit_code == 0
    for name in ("audit", "evidence", "init", "merchants", "payments", "phones", "revoke", "run"):
        assert name in result.stdout
        assert run(tmp_path, name, "--help").exit_code == 0


def test_a_usage_error_is_exit_code_2(tmp_path: Path) -> None:
    assert run(tmp_path, "nonsense").exit_code == 2
    assert run(tmp_path, "init", "--port", "x").exit_code == 2


async def test_payments_and_revocation_beside_a_running_server(state: Path) -> None:
    said(state, "merchants", "add", "Blue Bottle")
    async with running(StateFolder(state)) as bench:
        await bench.enrol()
        payment, _, challenge = await bench.pending()
        await bench.confirm(payment, bench.devices.confirmation(payment, challenge))
        assert "4.50 EUR" in run(state, "payments", "list").stdout
        (listed,) = said(state, "payments", "list")["items"]
        assert (listed["id"], listed["status"]) == (payment, "captured")
        shown = said(state, "payments", "show", payment)
        assert [step["to"] for step in shown["history"]] == ["confirmed", "captured"]
        assert [order["outcome"] for order in shown["outbox"]] == ["succeeded"]
        assert "confirmation+jwt" in run(state, "payments", "show", payment).stdout
        assert "4.50 EUR" in run(state, "payments", "list", "--reference", "order-17").stdout
        assert said(state, "payments", "list", "--reference", "other")["items"] == []
        assert said(state, "payments", "list", "--active")["items"] == []
        phone = bench.devices.phone.key.kid
        assert said(state, "phones", "list")["items"][0]["id"] == phone
        assert said(state, "terminals", "list")["items"][0]["lane"] == "Lane 1"
        assert said(state, "revoke", "phone", phone)["newly"] is True
        assert said(state, "revoke", "phone", phone)["newly"] is False
        answer = await bench.post("/v1/payments", bench.devices.request())
        assert answer.json()["code"] == ErrorCode.CODE_UNKNOWN.value


async def test_the_operator_refunds_and_cancels_beside_a_running_server(state: Path) -> None:
    said(state, "merchants", "add", "Blue Bottle")
    async with running(StateFolder(state)) as bench:
        await bench.enrol()
        payment, _, challenge = await bench.pending()
        await bench.confirm(payment, bench.devices.confirmation(payment, challenge))
        refund = ("payments", "refund", payment, "1.00", "EUR")
        ordered = said(state, *refund)
        assert (ordered["requested_by"], ordered["reference"]) == ("operator", "refund-100")
        path = f"/v1/payments/{payment}/refunds/{ordered['id']}"
        told = await bench.get(path, bench.devices.terminal, prefer="wait=20")
        assert told.json()["status"] == "succeeded"
        again = run(state, *refund)
        assert (again.exit_code, "refund refund-100 already" in again.stderr) == (1, True)
        text = run(state, *refund, "--reference", "milk", "--reason", "sour").stdout
        assert re.match(r"refund  [0-9a-f-]{36}  pending  1\.00 EUR  milk\n", text)
        too_much = run(state, "payments", "refund", payment, "4", "EUR")
        assert (too_much.exit_code, "at most" in too_much.stderr) == (1, True)
        assert "refund  " in run(state, "payments", "show", payment).stdout

        pending, _, _ = await bench.pending()
        assert said(state, "payments", "list", "--active")["items"][0]["id"] == pending
        assert "canceled by operator" in run(state, "payments", "cancel", pending).stdout
        assert run(state, "payments", "cancel", pending, "--json").exit_code == 1
        held, _ = await bench.held()
        assert said(state, "payments", "cancel", held)["operation"] == "void"
        voided = await bench.get(f"/v1/payments/{held}", bench.devices.terminal, prefer="wait=20")
        assert (voided.json()["status"], voided.json()["reason"]) == (
            "voided",
            "canceled_by_operator",
        )
    assert run(state, "audit").exit_code == 0
