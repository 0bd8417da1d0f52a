"""Runs an agent's doctor as a process of its own, and reads what it says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from fieldkit.docs import DOCTOR
from twochannel.doctor.catalogue import CHECKS
from twochannel.doctor.findings import State

DEADLINE_S = 60.0
NAMES = [check.name for check in CHECKS]


def documented_members() -> list[str]:
    """Of a row, by docs/doctor.md."""
    _, _, after = DOCTOR.read_text(encoding="utf-8").partition("| member | |\n")
    return re.findall(r"^\| `(\w+)` \|", after.partition("\n\n")[0], re.MULTILINE)


def documented_checks(agent: str) -> list[str]:
    """Of an agent's doctor, by the table of docs/doctor.md."""
    _, _, after = DOCTOR.read_text(encoding="utf-8").partition("## Who looks at what\n\n")
    head, _, *lines = after.partition("\n\n")[0].splitlines()
    column = head.split("|").index(f" `{agent}` ")
    patterns = [line.split("`")[1] for line in lines if line.split("|")[column].strip() == "yes"]
    return [name for name in NAMES if any(fnmatch(name, pattern) for pattern in patterns)]


@dataclass(frozen=True)
class Ended:
    """A doctor that has ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def report(self) -> dict[str, Any]:
        """The report of ``--json``, whose shape is checked."""
        document: dict[str, Any] = json.loads(self.stdout)
        assert document.keys() == {"agent", "agent_running", "ok", "rows"}
        names = [row["check"] for row in document["rows"]]
        assert names == documented_checks(document["agent"])
        for row in document["rows"]:
            assert list(row) == documented_members()
            assert bool(row["do"]) is (row["state"] in (State.WARNING, State.FAILING)), row
        failing = [row for row in document["rows"] if row["state"] == State.FAILING]
        assert document["ok"] is not bool(failing)
        assert self.exit_code == (1 if failing else 0)
        return document

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["check"]: row for row in self.report["rows"]}

    def failing(self) -> set[str]:
        return {name for name, row in self.rows.items() if row["state"] == State.FAILING}


async def doctor(
    package: str,
    state: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
    **process_options: Any,
) -> Ended:
    """``<agent> doctor``; ``package``: the agent's, like ``cigarjack``.

    ``before``: a program that runs it. ``process_options``: of the process, like its user.
    """
    process = await asyncio.create_subprocess_exec(
        *(*before, sys.executable, "-m", package, "--state", str(state), "doctor", *arguments),
        env=os.environ | dict(environment or {}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        **process_options,
    )
    async with asyncio.timeout(DEADLINE_S):
        stdout, stderr = await process.communicate()
    return Ended(process.returncode or 0, stdout.decode(), stderr.decode())
