"""The commands: what they print, where, and how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cigarjack.cli import main
from cigarjack.client import parse_label
from cigarjack.config import JackSettings, StateFolder
from cigarjack.memory import Memory
from twochannel.settings import SettingsError, load


def invoke(state: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--state", str(state), *arguments])


def answer(result: Result) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(result.stdout)
    return parsed


def problem(result: Result) -> dict[str, str]:
    assert result.exit_code == 1
    assert result.stdout == ""
    parsed: dict[str, str] = json.loads(result.stderr)["error"]
    return parsed


def test_init_makes_a_jack_once(tmp_path: Path) -> None:
    made = answer(invoke(tmp_path / "jack", "init", "--json"))
    assert parse_label(made["label"]).thumbprint == made["jack"]
    assert (tmp_path / "jack").stat().st_mode & 0o777 == 0o700
    again = invoke(tmp_path / "jack", "init", "--json")
    assert "initialised already" in problem(again)["detail"]
    assert answer(invoke(tmp_path / "jack", "label", "--json")) == made


def test_init_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    state = tmp_path / "jack"
    jack = answer(invoke(state, "init", "--json"))["jack"]
    (state / "memory.sqlite3").unlink()
    assert answer(invoke(state, "init", "--json"))["jack"] == jack


def test_a_state_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused = problem(invoke(tmp_path / "file" / "jack", "init", "--json"))
    assert refused["code"] == "state_unusable"
    assert refused["detail"].endswith("choose another with --state")


def test_for_a_person_it_says_what_comes_next(tmp_path: Path) -> None:
    made = invoke(tmp_path / "jack", "init")
    assert made.stdout.startswith("CJ1:")
    assert "cigarjack run" in made.stdout
    failed = invoke(tmp_path / "jack", "status")
    assert failed.exit_code == 1
    assert "cigarjack run" in failed.stderr


@pytest.mark.parametrize("command", [["label"], ["pair", "reset"], ["run"]])
def test_before_init_every_command_says_so(tmp_path: Path, command: list[str]) -> None:
    result = invoke(tmp_path / "none", *command)
    assert result.exit_code == 1
    assert "cigarjack init" in result.stderr


@pytest.mark.parametrize("command", [["status"], ["pair", "open"]])
def test_commands_for_a_running_jack_say_that_none_runs(tmp_path: Path, command: list[str]) -> None:
    assert "not running" in problem(invoke(tmp_path, *command, "--json"))["detail"]


def test_reset_unlocks(tmp_path: Path) -> None:
    invoke(tmp_path / "jack", "init")
    with Memory(StateFolder(tmp_path / "jack").memory) as memory:
        memory._db.execute("UPDATE claim SET wrong_tries = 5")
        assert answer(invoke(tmp_path / "jack", "pair", "reset", "--json")) == {"locked": False}
        assert memory.pairing_state().wrong_tries == 0


def test_a_path_that_no_socket_fits_in_is_refused(tmp_path: Path) -> None:
    state = tmp_path / ("long" * 30)
    invoke(state, "init")
    result = invoke(state, "run", "--radio", "bumble:tcp-client:127.0.0.1:1")
    assert result.exit_code == 1
    assert "choose a shorter one" in result.stderr


def test_a_radio_of_no_backend_is_refused(tmp_path: Path) -> None:
    invoke(tmp_path / "jack", "init")
    result = invoke(tmp_path / "jack", "run", "--radio", "smoke:signals")
    assert result.exit_code == 1
    assert "No backend" in result.stderr


def test_wrong_settings_are_told_all_at_once(tmp_path: Path) -> None:
    invoke(tmp_path / "jack", "init")
    (tmp_path / "jack" / "config.toml").write_text('port = 70000\ncolour = "red"\n')
    result = invoke(tmp_path / "jack", "run")
    assert result.exit_code == 1
    assert "port" in result.stderr
    assert "colour" in result.stderr


def test_the_environment_lists_with_commas() -> None:
    environment = {"CIGARJACK_INTERFACES": "10.0.0.1, 127.0.0.1", "CIGARJACK_PORT": "8444"}
    settings = load(JackSettings, file=None, environment=environment, prefix="CIGARJACK", flags={})
    assert settings.interfaces == ("10.0.0.1", "127.0.0.1")
    assert settings.port == 8444


def test_a_wall_clock_needs_its_zone() -> None:
    with pytest.raises(SettingsError, match="wall_clock_start"):
        load(
            JackSettings,
            file=None,
            environment={},
            prefix="CIGARJACK",
            flags={"wall_clock_start": "1970-01-01T00:00:00"},
        )
