"""``cigarjack-server evidence``: exported from a real state folder, verified without one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from server.cli import main
from server.state import StateFolder
from tests.server.devices import new_id, new_signer
from tests.server.world import World
from twochannel.protocol.payment import Event
from twochannel.trace import wall_ms


def run(state: Path, *arguments: object) -> Result:
    command = ["--state", str(state), *(str(argument) for argument in arguments)]
    return CliRunner().invoke(main, command)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("evidence") / "state"
    assert run(state, "init").exit_code == 0
    return state


@pytest.fixture(scope="module")
def payment(original: Path) -> str:
    """The id of a captured payment."""
    folder = StateFolder(original)
    store = folder.open_store()
    world = World(store, now_ms=wall_ms(), server=folder.keys.signer("signing"))
    payment = world.request()
    world.confirm(payment)
    world.settle(payment, Event.CAPTURE)
    store.close_now()
    return payment


@pytest.fixture
def state(original: Path, payment: str, tmp_path: Path) -> Path:
    """The folder of the server that took the payment, for a test of its own."""
    return Path(shutil.copytree(original, tmp_path / "state"))


@pytest.fixture
def file(state: Path, payment: str, tmp_path: Path) -> Path:
    path = tmp_path / "evidence.json"
    result = run(state, "evidence", "export", payment, "--out", path)
    assert (result.exit_code, str(path) in result.output) == (0, True)
    return path


def test_evidence_goes_to_standard_output_or_to_a_file(
    state: Path, payment: str, file: Path
) -> None:
    result = run(state, "evidence", "export", payment)
    assert result.exit_code == 0
    assert result.stdout_bytes == file.read_bytes()


def test_a_payment_that_is_not_there_has_no_evidence(state: Path) -> None:
    result = run(state, "evidence", "export", new_id())
    assert (result.exit_code, result.stdout) == (1, "")
    assert "No such payment" in result.stderr


def test_evidence_that_does_not_hold_is_not_exported(state: Path, payment: str) -> None:
    store = StateFolder(state).open_store()
    store.write_now(
        lambda c: c.exec_driver_sql("UPDATE statements SET position = 9 WHERE position = 1")
    )
    store.close_now()
    result = run(state, "evidence", "export", payment)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cigarjack-server audit" in result.stderr


def test_each_step_is_explained_and_a_verdict_ends_it(file: Path, tmp_path: Path) -> None:
    result = run(tmp_path / "no-state", "evidence", "verify", file)
    assert result.exit_code == 0
    assert "✓ payment request Terminal" in result.output
    assert "! server" in result.output
    assert "is captured, 4.50 EUR taken." in result.output


def test_only_the_given_server_is_trusted(state: Path, file: Path) -> None:
    thumbprint = StateFolder(state).keys.signer("signing").key.kid
    result = run(state, "evidence", "verify", file, "--server", thumbprint, "--json")
    verdict = json.loads(result.output)
    assert (verdict["ok"], verdict["status"], verdict["captured_minor"]) == (True, "captured", 450)
    assert [step["warning"] for step in verdict["steps"]] == [False] * 8
    refused = run(state, "evidence", "verify", file, "--server", new_signer().key.kid)
    assert refused.exit_code == 1
    assert "does NOT hold. server: " in refused.stderr


def test_what_is_wrong_with_a_file_is_said(state: Path, file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"  ", b" ", 1))
    result = run(state, "evidence", "verify", file, "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    error = json.loads(result.stderr)["error"]
    assert error["code"] == "evidence_invalid"
    assert error["detail"].startswith("The evidence does NOT hold. file: ")


def test_a_period_is_exported_verified_and_held_against_a_checkpoint(
    state: Path, payment: str, tmp_path: Path
) -> None:
    kept, file = tmp_path / "kept.jwt", tmp_path / "period.json"
    assert run(state, "evidence", "checkpoint", "--out", kept).exit_code == 0
    result = run(state, "evidence", "export", "--from", "2020-01-01", "--out", file)
    assert result.exit_code == 0, result.output
    verified = run(state, "evidence", "verify", file, "--checkpoint", kept)
    assert verified.exit_code == 0, verified.output
    for words in ("Entries 1 to 5", "from its very beginning", "that you kept", payment):
        assert words in verified.stdout
    told = json.loads(run(state, "evidence", "verify", file, "--json").stdout)
    assert (told["ok"], told["last"], told["payments"][0]["status"]) == (True, 5, "captured")


def test_a_payment_with_its_place_in_the_journal(state: Path, payment: str, tmp_path: Path) -> None:
    file = tmp_path / "one.json"
    result = run(state, "evidence", "export", payment, "--journal", "--out", file)
    assert result.exit_code == 0, result.output
    verified = run(state, "evidence", "verify", file)
    assert (verified.exit_code, "Entries 1 to 5" in verified.stdout) == (0, True)
    assert "Mind the lines" in verified.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Give either"),
        (["ID", "--from", "2020-01-01"], "Give either"),
        (["--from", "2020-01-01", "--until", "2020-01-02"], "no entries in that period"),
    ],
)
def test_what_cannot_be_exported(state: Path, arguments: list[str], words: str) -> None:
    result = run(state, "evidence", "export", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert words in result.stderr


def test_a_checkpoint_of_an_empty_journal(original: Path, tmp_path: Path) -> None:
    state = tmp_path / "empty"
    assert run(state, "init").exit_code == 0
    result = run(state, "evidence", "checkpoint")
    assert (result.exit_code, "the journal is empty" in result.stderr) == (1, True)


def test_a_checkpoint_says_nothing_of_one_payments_evidence(file: Path, state: Path) -> None:
    result = run(state, "evidence", "verify", file, "--checkpoint", file)
    assert (result.exit_code, "tells nothing of it" in result.stderr) == (1, True)
