"""The command line: as a person and as a program use it, with real processes around it."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from phone_agent.cli import main
from tests.cigarjack.parties import Jack, served
from tests.phone_agent.owner_commands import (
    change_methods,
    command,
    error_of,
    phone_agent,
    told,
)
from tests.phone_agent.owners_phone import OwnersPhone, hear_lane
from tests.phone_agent.processes import DEADLINE_S, running, started
from tests.phone_agent.scripted_server import ScriptedServer, payment_of
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.statements import DecidedBy, Decision

# --- without an agent


def every_command(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, member in group.commands.items():
        yield (*path, name)
        if isinstance(member, click.Group):
            yield from every_command(member, (*path, name))


@pytest.mark.parametrize("path", [(), *every_command(main)])
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()[2].split()) >= 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("run",), "not_enrolled"),
        (("pair", f"CJ1:{'A' * 43}:{'B' * 22}", "--address", "127.0.0.1:9"), "not_enrolled"),
        (("pair", "CJ1:nonsense", "--address", "127.0.0.1:9"), "label_unreadable"),
        (("pair", "CJ1:nonsense"), "label_unreadable"),
        (("methods", "add", "--test-card"), "not_enrolled"),
        (("status",), "agent_not_running"),
        (("approve", "x"), "agent_not_running"),
        (("enroll", "https://127.0.0.1:9", "CE1:nonsense"), "enrolment_code_refused"),
        (
            ("enroll", "https://127.0.0.1:9", f"CE1:{'A' * 43}:{'B' * 22}"),
            "server_unreachable",
        ),
        (("merchants", "forget", "cafe"), "not_found"),
        (("merchants", "allow", "cafe", "--limit", "20 XXX"), "currency_unknown"),
        (("merchants", "allow", "cafe", "--limit", "0.001 EUR"), "claim_invalid"),
        (("merchants", "allow", "cafe", "--limit", "lots"), "currency_unknown"),
    ],
)
def test_a_failure_is_a_sentence_and_for_programs_json(
    tmp_path: Path, arguments: tuple[str, ...], code: str
) -> None:
    plain = phone_agent(tmp_path, *arguments)
    assert plain.exit_code == 1
    assert len(plain.stderr.split()) > 3
    assert "Traceback" not in plain.stderr
    if arguments[0] != "run":
        error = error_of(phone_agent(tmp_path, *arguments, "--json"))
        assert error["code"] == code
        assert error["detail"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("merchants", "allow", "cafe"),
        ("pair", "CJ1:x", "--address", "nowhere"),
        ("pair", "CJ1:x", "--address", "host:70000"),
        ("methods", "add", "--test-card", "tok_nope"),
        ("melt",),
    ],
)
def test_wrong_usage_is_exit_code_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert phone_agent(tmp_path, *arguments).exit_code == 2


def test_settings_that_cannot_be_used_are_told_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("prompt_s = -1\nmelting = true\n")
    result = phone_agent(tmp_path, "run")
    assert result.exit_code == 1
    assert "prompt_s" in result.stderr
    assert "melting" in result.stderr


def test_merchants_are_allowed_listed_and_forgotten(tmp_path: Path) -> None:
    allowed = told(
        phone_agent(tmp_path, "merchants", "allow", "cafe", "--limit", "20 eur", "--json")
    )
    assert allowed == {"merchant": "cafe", "limit": {"value": 2000, "currency": "EUR"}}
    listed = told(phone_agent(tmp_path, "merchants", "list", "--json"))["items"]
    assert listed == [allowed | {"name": None}]
    table = phone_agent(tmp_path, "merchants", "list").stdout.splitlines()
    assert table[1].split() == ["cafe", "(not", "met", "yet)", "20.00", "EUR"]
    told(phone_agent(tmp_path, "merchants", "forget", "cafe", "--json"))
    assert phone_agent(tmp_path, "merchants", "list").stdout == (
        "You are asked about every payment.\n"
    )


def test_empty_lists_say_what_to_do(tmp_path: Path) -> None:
    assert "phone-agent methods add" in phone_agent(tmp_path, "methods", "list").stdout
    assert phone_agent(tmp_path, "payments").stdout == "No payment so far.\n"
    assert told(phone_agent(tmp_path, "payments", "--json")) == {"items": []}


# --- with a running agent in this process


async def test_the_owner_answers_from_the_command_line(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    async with served(jack), phone.running():
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        await phone.until_traced("prompt_shown")
        shown = (await command(phone, "payments")).stdout
        assert "waits for you" in shown
        assert f"phone-agent approve|decline {challenge.sub}" in shown
        await phone.until_traced("time_synchronised")
        status = (await command(phone, "status")).stdout
        assert f"Waits for you: {challenge.sub}" in status
        assert "clock trusted" in status
        assert "last by Wi-Fi" in status
        approved = await command(phone, "approve", challenge.sub)
        assert approved.stdout == "Approved. The payment is captured.\n"
        refused = await command(phone, "decline", challenge.sub, "--json")
        assert error_of(refused)["code"] == "payment_state"
        listed = told(await command(phone, "payments", "--json"))["items"]
    assert [(i["decision"], i["decided_by"], i["status"]) for i in listed] == [
        ("approve", "owner", "captured")
    ]
    # Without the agent the wallet is read.
    assert told(phone_agent(phone.state, "payments", "--json"))["items"] == listed


async def test_an_answer_that_the_server_refuses_is_a_failure(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    server.refusals.append(ErrorCode.PAYMENT_STATE)
    async with served(jack), phone.running():
        challenge = server.challenge(jack.id, phone.id)
        server.ask(challenge)
        await phone.until_traced("prompt_shown")
        result = await command(phone, "approve", challenge.sub)
    assert result.exit_code == 1
    assert "the server did not take it: The payment is in another state" in result.stderr


# --- as a process of its own


async def test_the_process_approves_says_ready_once_and_ends_on_sigterm(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    async with served(jack), running(phone.state):
        server.ask(server.challenge(jack.id, phone.id))
        assert (await server.confirmation()).decision is Decision.APPROVE


async def test_a_killed_process_sends_its_answer_after_the_restart(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    hear_lane(jack)
    server.refusals.extend([None] * 1000)
    async with served(jack):
        async with started(phone.state):
            challenge = server.challenge(jack.id, phone.id)
            server.ask(challenge)
            first = await server.confirmed_compact()
        server.refusals.clear()
        async with running(phone.state):
            await phone.until_traced("confirmation_answered", challenge.sub)
            await phone.until_traced("intent_swept", challenge.sub)
    assert server.accepted[challenge.sub] == first


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """A pty: the owner's end and the agent's."""
    ends = pty.openpty()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


def read_until(descriptor: int, text: str) -> str:
    shown = ""
    while text not in shown:
        shown += os.read(descriptor, 4096).decode()
    return shown


async def test_the_owner_answers_on_the_terminal(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    phone.pair(jack, server)
    with terminal() as (keyboard, descriptor):
        async with served(jack), running(phone.state, stdin=descriptor):
            first = server.challenge(jack.id, phone.id)
            server.ask(first)
            shown = await asyncio.to_thread(read_until, keyboard, "Approve? [y/n] ")
            assert "Café asks for 4.50 EUR at Lane 1." in shown
            assert "Match code: 42" in shown
            assert "Your jack does NOT hear this lane." in shown
            os.write(keyboard, b"y\n")
            confirmation = await server.confirmation()
            second = server.challenge(jack.id, phone.id)
            server.ask(second)
            await asyncio.to_thread(read_until, keyboard, "Approve? [y/n] ")
            server.push("payment", {"payment": payment_of(second, "canceled")})
            await asyncio.to_thread(read_until, keyboard, "This question is closed.")
    assert (confirmation.sub, confirmation.decided_by) == (first.sub, DecidedBy.OWNER)
    assert confirmation.decision is Decision.APPROVE


async def test_the_question_comes_after_its_log_line(
    server: ScriptedServer, jack: Jack, phone: OwnersPhone
) -> None:
    """Log and question share the owner's terminal, who types behind the question."""
    phone.pair(jack, server)
    with terminal() as (keyboard, descriptor):
        async with served(jack), started(phone.state, descriptor, stderr=descriptor):
            server.ask(server.challenge(jack.id, phone.id))
            shown = await asyncio.to_thread(read_until, keyboard, "Approve? [y/n] ")
    assert "owner_asked" in shown.partition("Approve?")[0]


# --- with the real server and a real jack


@asynccontextmanager
async def real(package: str, state: Path, *options: str) -> AsyncIterator[dict[str, Any]]:
    """`run` of another agent, as a process; its ready line."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", package, "--state", str(state), "run", *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_S):
            line = await process.stdout.readline()
        yield json.loads(line)
    finally:
        process.terminate()
        await process.communicate()


def operator(package: str, state: Path, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", package, "--state", str(state), *arguments, "--json"],
        stdout=subprocess.PIPE,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


async def test_a_phone_is_set_up_with_a_real_server_and_a_real_jack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PHONE_AGENT_INTERFACES", "127.0.0.1")
    shop, car, phone = tmp_path / "server", tmp_path / "car", OwnersPhone(tmp_path / "phone")
    await asyncio.to_thread(operator, "server", shop, "init", "--port", "0")
    label = (await asyncio.to_thread(operator, "cigarjack", car, "init"))["label"]
    radio = ("--radio", "bumble:tcp-client:127.0.0.1:9")  # nobody there: no radio is needed
    async with (
        real("server", shop) as server,
        real("cigarjack", car, "--interface", "127.0.0.1", *radio) as jack,
    ):
        invitation = await asyncio.to_thread(operator, "server", shop, "phones", "add", "Phone")
        code = invitation["enrolment_code"]
        enrolled = told(await command(phone, "enroll", server["url"], code, "--json"))
        assert enrolled == {"phone": phone.id, "server": server["server"], "url": server["url"]}
        again = await command(phone, "enroll", server["url"], code, "--json")
        assert error_of(again)["code"] == "already_enrolled"
        async with running(phone.state):
            paired = await command(phone, "pair", label, "--json")
            assert json.loads(paired.stdout) == {
                "jack": jack["jack"],
                "epoch": 1,
                "registered": True,
            }
            method = told(
                await command(phone, "methods", "add", "--test-card", "--label", "Visa", "--json")
            )
            (listed,) = told(await command(phone, "methods", "list", "--json"))["items"]
            assert listed == method | {"registered": True, "default": True, "jacks": []}
            assert "Visa" in (await command(phone, "methods", "list")).stdout
            await phone.until_traced("time_synchronised")
            await change_methods(phone, method["id"], jack["jack"])
            status = told(await command(phone, "status", "--json"))
            assert status["server"]["connected"] is True
            assert [(j["jack"], j["clock"]) for j in status["jacks"]] == [(jack["jack"], "trusted")]
        used = await command(phone, "pair", label, "--json", "--address", "127.0.0.1:9")
        assert error_of(used)["code"] == "jack_unreachable"
        (kept,) = told(await command(phone, "jacks", "list", "--json"))["items"]
        assert kept == {"jack": jack["jack"], "epoch": 1, "registered": True}
        released = told(await command(phone, "jacks", "release", jack["jack"], "--json"))
        assert released == {"jack": jack["jack"], "told": True}
        assert "No jack yet" in (await command(phone, "jacks", "list")).stdout
    unheard = await command(phone, "methods", "add", "--test-card", "--label", "Second")
    assert unheard.exit_code == 1
    assert unheard.stderr.endswith("'Second' is kept, and phone-agent run registers it\n")
    assert unheard.stderr.count("no answer from the server") == 1
