"""docs/api.md, command by command, against a real server: what it shows is what is answered."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.server.process import command, environment, started

DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"
#: Each block that is run, and what follows it as its answer.
BLOCK = re.compile(
    r"^```(bash|python)\n(.*?)^```\n(?:\n^```(json|)\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE
)
DEADLINE_S = 60
WHATEVER = "…"


@dataclass
class Block:
    language: str
    text: str
    answer: str | None

    @property
    def line(self) -> int:
        return DOCUMENT.read_text(encoding="utf-8").partition(self.text)[0].count("\n") + 1


def blocks() -> list[Block]:
    text = DOCUMENT.read_text(encoding="utf-8")
    return [Block(m[1], m[2], m[4]) for m in BLOCK.finditer(text)]


def same(shown: Any, answered: Any) -> bool:
    """Whether an answer is as it is shown: the same members, and values but where one is …."""
    if shown == WHATEVER:
        return answered is not None
    if isinstance(shown, dict) and isinstance(answered, dict):
        return shown.keys() == answered.keys() and all(same(shown[k], answered[k]) for k in shown)
    if isinstance(shown, list) and isinstance(answered, list):
        return len(shown) == len(answered) and all(map(same, shown, answered))
    return bool(shown == answered)


class Reader:
    """Somebody who types the document's commands, in one folder, with what was exported before."""

    def __init__(self, folder: Path, state: Path, port: str) -> None:
        self._folder = folder
        self._port = port
        programs = Path(sys.executable).parent
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        self._environment = environment() | {"PATH": path, "CIGARJACK_SERVER_STATE": str(state)}
        self._exported = ""

    def type(self, block: Block) -> str:
        text = block.text.replace(":8443", f":{self._port}")
        self._exported += "".join(re.findall(r"^export .*\n", text, re.MULTILINE))
        arguments = ["bash", "-euo", "pipefail", "-c", self._exported + text]
        if block.language == "python":
            arguments = [sys.executable, "-W", "error", "-c", text]
        done = subprocess.run(
            arguments,
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0, f"line {block.line}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    state, folder = tmp_path / "server", tmp_path / "desk"
    folder.mkdir()
    assert command(state, "init", "--port", "0").returncode == 0
    with started(state) as process:
        yield Reader(folder, state, process.ready["url"].rpartition(":")[2])


def test_every_command_does_what_it_says(reader: Reader) -> None:
    checked = 0
    for block in blocks():
        printed = reader.type(block)
        if block.answer is None:
            continue
        checked += 1
        if block.language == "python":
            assert printed == block.answer
            continue
        shown = json.loads(block.answer)
        assert same(shown, json.loads(printed)), f"line {block.line}: {printed}"
    assert checked >= 15
