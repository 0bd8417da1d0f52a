"""``cigarjack-server admin``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from server.cli import main
from server.dashboard.admins import find_admin, password_holds
from server.state import StateFolder
from tests.server.bench import copied
from tests.server.devices import Devices

PASSWORD = "correct horse battery"


@pytest.fixture
def folder(prepared: tuple[StateFolder, Devices], tmp_path: Path) -> StateFolder:
    return copied(prepared, tmp_path / "server")[0]


def run(folder: StateFolder, *arguments: str, typed: str = PASSWORD + "\n") -> Result:
    command = ["--state", str(folder.path), "admin", *arguments]
    return CliRunner().invoke(main, command, input=typed)


def kept(folder: StateFolder, name: str) -> Any:
    store = folder.open_store()
    try:
        return store.read_now(lambda c: find_admin(c, name))
    finally:
        store.close_now()


def test_an_admin_is_added_listed_reset_and_removed(folder: StateFolder) -> None:
    added = run(folder, "add", "ada", "--password-stdin", "--json")
    assert added.exit_code == 0, added.output
    answer = json.loads(added.stdout)
    row = kept(folder, "ada")
    assert password_holds(row.password, PASSWORD)
    link = urlsplit(answer["totp"])
    assert (answer["name"], link.scheme) == ("ada", "otpauth")
    assert parse_qs(link.query)["secret"] == [row.totp_secret]
    (item,) = json.loads(run(folder, "list", "--json").stdout)["items"]
    assert (item["name"], item["seen_ms"]) == ("ada", None)
    assert "ada" in run(folder, "list").stdout
    assert run(folder, "reset", "ada", "--password-stdin").exit_code == 0
    assert kept(folder, "ada").totp_secret != row.totp_secret
    assert run(folder, "remove", "ada").exit_code == 0
    assert kept(folder, "ada") is None
    assert "Next: cigarjack-server admin add" in run(folder, "list").stderr


def test_it_asks_for_the_password_and_draws_the_code(folder: StateFolder) -> None:
    result = run(folder, "add", "ada", typed=f"{PASSWORD}\n{PASSWORD}\n")
    assert result.exit_code == 0, result.output
    assert "▀" in result.stdout
    assert kept(folder, "ada").totp_secret in result.stdout
    assert PASSWORD not in result.output


@pytest.mark.parametrize(
    ("arguments", "typed", "sentence"),
    [
        (("add", "Ada!", "--password-stdin"), PASSWORD, "a name has 1 to 32"),
        (("add", "ada", "--password-stdin"), "short", "12 to 256 characters"),
        (("reset", "bob", "--password-stdin"), PASSWORD, "there is no admin 'bob'"),
        (("remove", "bob"), "", "there is no admin 'bob'"),
    ],
)
def test_what_is_refused_says_why(
    folder: StateFolder, arguments: tuple[str, ...], typed: str, sentence: str
) -> None:
    result = run(folder, *arguments, typed=typed)
    assert result.exit_code == 1
    assert sentence in result.stderr


def test_a_name_is_taken_once(folder: StateFolder) -> None:
    assert run(folder, "add", "ada", "--password-stdin").exit_code == 0
    again = run(folder, "add", "ada", "--password-stdin")
    assert (again.exit_code, "there is an admin 'ada' already" in again.stderr) == (1, True)
