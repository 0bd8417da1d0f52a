"""Another user of the machine on which an agent runs: files, sockets, arguments, settings."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from fieldkit.stage import SERVER, Stage
from tests.server import process

pytestmark = pytest.mark.asyncio(loop_scope="session")


def agents(stage: Stage) -> list[str]:
    return list(stage.traces)


async def test_what_agents_keep_is_for_their_owner_alone(stage: Stage) -> None:
    """Even if somebody opens the folder: each file with a secret in it is shut by itself."""
    for agent in agents(stage):
        folder = stage.state(agent)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for path in folder.rglob("*"):
            if path.name != "lock":  # which is empty
                assert stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0, path


def shown_by_ps(pid: int) -> list[bytes]:
    """Arguments, and the environment, which the same user's other programs see."""
    return [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ")]


async def test_no_secret_is_in_the_arguments_or_settings_of_a_running_agent(stage: Stage) -> None:
    """Anybody may read the arguments of a process: ``ps`` shows them."""
    secret = stage.jack_label.rpartition(":")[2]
    for agent in agents(stage):
        for words in shown_by_ps(stage.processes[agent].pid):
            assert secret.encode() not in words
            assert b"PRIVATE KEY" not in words


async def test_secrets_are_in_no_log_and_no_trace(stage: Stage) -> None:
    secrets = [stage.jack_label.rpartition(":")[2]]
    for agent in agents(stage):
        for pem in (stage.state(agent) / "keys").glob("*.pem"):
            secrets.append(pem.read_text().splitlines()[1])
    texts = [stage.state(agent) / "trace.jsonl" for agent in agents(stage)]
    texts += list((stage.folder / "logs").glob("*.log"))
    for path in texts:
        text = path.read_text()
        assert [s for s in secrets if s in text] == [], path
        # Neither is a whole statement: whoever reads it could send it.
        assert "eyJhbGci" not in text, path


async def test_words_of_a_command_are_no_sql(stage: Stage) -> None:
    """What an operator pastes from a stranger's letter is a name and nothing else."""
    evil = "x'; DELETE FROM payments; --"
    shown = process.command(stage.state(SERVER), "payments", "show", evil, "--json")
    assert shown.returncode == 1
    assert json.loads(shown.stderr)["error"]["code"] == "payment_unknown"
    added = process.command(stage.state(SERVER), "merchants", "add", evil, "--json")
    assert added.returncode == 0
    assert json.loads(added.stdout)["name"] == evil
