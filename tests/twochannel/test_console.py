"""How commands answer and fail, for people and for programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from twochannel.console import (
    AgentCommands,
    CommandError,
    Failures,
    TakesDevice,
    json_option,
    listed,
    say,
    state_option,
    table,
)
from twochannel.control import ControlError
from twochannel.keystore.port import KeyStoreError
from twochannel.protocol.errors import ErrorCode, PaymentError
from twochannel.radio.port import RadioError


class LampError(Exception):
    """An agent's own error."""


class BurntOutError(LampError):
    """A kind of it."""


class DefectError(Exception):
    """What nobody expects."""


FAILED = {
    "command": CommandError("broken", "the lamp is broken", "Buy another."),
    "coded": PaymentError(ErrorCode.PAYMENT_UNKNOWN, "there is no such payment"),
    "own": LampError("the lamp is dark; change it"),
    "kind": BurntOutError("the lamp is burnt out; change it"),
    "control": ControlError("no agent runs; start it"),
    "keys": KeyStoreError("no key; initialise first"),
    "radio": RadioError("the adapter is gone; plug it in"),
    "system": PermissionError(13, "Permission denied"),
    "defect": DefectError("what nobody expects"),
}


def failures() -> Failures:
    return {BurntOutError: "burnt_out", LampError: "dark"}


@click.group(cls=AgentCommands, failures=failures)
@state_option("lamp-agent")
@click.pass_context
def lamp(context: click.Context, state: Path) -> None:
    """A lamp."""
    context.obj = state


@lamp.command()
@click.argument("how")
@json_option
def fail(how: str, as_json: bool) -> None:
    """Fail somehow."""
    raise FAILED[how]


@lamp.command()
@json_option
@click.pass_obj
def where(state: Path, as_json: bool) -> None:
    """Tell the folder."""
    say({"state": str(state)}, f"It is {state}.", as_json=as_json)


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(lamp, arguments, env=environment)


@pytest.mark.parametrize(
    ("how", "code", "lines"),
    [
        ("command", "broken", ["the lamp is broken", "Buy another."]),
        ("coded", "payment_unknown", ["there is no such payment", "Check the payment id."]),
        ("own", "dark", ["the lamp is dark; change it"]),
        ("kind", "burnt_out", ["the lamp is burnt out; change it"]),
        ("control", "agent_not_running", ["no agent runs; start it"]),
        ("keys", "keys_unusable", ["no key; initialise first"]),
        ("radio", "radio_unusable", ["the adapter is gone; plug it in"]),
        ("system", "system_error", ["[Errno 13] Permission denied"]),
    ],
)
def test_a_failure_is_a_sentence_or_json(how: str, code: str, lines: list[str]) -> None:
    told = run("fail", how)
    assert (told.exit_code, told.stdout, told.stderr.splitlines()) == (1, "", lines)
    for_programs = run("fail", how, "--json")
    assert (for_programs.exit_code, for_programs.stdout) == (1, "")
    error = json.loads(for_programs.stderr)["error"]
    assert (error["code"], error["detail"]) == (code, lines[0])
    assert error["next_step"] == "".join(lines[1:])


def test_a_defect_passes_through() -> None:
    assert isinstance(run("fail", "defect").exception, DefectError)


def test_wrong_usage_is_exit_code_2() -> None:
    assert run("fail").exit_code == 2
    assert run("shine").exit_code == 2


def test_the_state_folder_comes_from_flag_environment_or_the_users_own(tmp_path: Path) -> None:
    assert run("--state", "/a", "where", LAMP_AGENT_STATE="/b").stdout == "It is /a.\n"
    assert json.loads(run("where", "--json", LAMP_AGENT_STATE="/b").stdout) == {"state": "/b"}
    assert "lamp-agent" in run("where", XDG_STATE_HOME=str(tmp_path)).stdout
    assert "environment: LAMP_AGENT_STATE" in " ".join(run("--help").stdout.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["end", "{id}"],
        ["end", "{id}", "--json"],
        ["end", "--json", "{id}"],
        ["end", "--", "{id}"],
    ],
)
def test_a_device_may_be_named_with_a_hyphen(arguments: list[str]) -> None:
    device = "-Nh" + 40 * "j"

    @click.command(cls=TakesDevice)
    @click.argument("what")
    @click.argument("device")
    @click.option("--json", "as_json", is_flag=True)
    @click.help_option("-h")
    def end(what: str, device: str, *, as_json: bool) -> None:
        click.echo(f"{what} {device} {as_json}")

    result = CliRunner().invoke(end, [a.format(id=device) for a in arguments])
    assert f"{device} {'--json' in arguments}\n" in result.stdout


def test_columns_are_aligned() -> None:
    assert table(("id", "name"), [("1", "Ann"), ("123", "")], "nobody").splitlines() == [
        "ID   NAME",
        "1    Ann",
        "123",
    ]
    assert table(("id",), [], "nobody") == "nobody"


def test_a_status_is_one_member_a_line() -> None:
    members = {"on": True, "off": False, "owner": None, "merchant": {"name": "Cafe"}, "jacks": 2}
    assert listed(members).splitlines() == [
        "on        yes",
        "off       no",
        "owner     -",
        "merchant  Cafe",
        "jacks     2",
    ]
    assert listed({}) == ""


def test_it_loads_nothing_but_click() -> None:
    program = "import sys, twochannel.console; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout.split()
    heavy = {"pydantic", "cryptography", "httpx", "http.client", "ssl", "asyncio"}
    assert heavy.isdisjoint(loaded)
