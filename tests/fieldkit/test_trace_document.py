"""docs/trace.md names exactly the events that the agents write, and the fields they add."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieldkit import legs
from fieldkit.waterfall import MESSAGES, SPANS

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "trace.md").read_text(encoding="utf-8")
PARTIES = {
    "terminal": "payment_device",
    "server": "server",
    "phone": "phone_agent",
    "jack": "cigarjack",
}


def documented(party: str) -> dict[str, set[str]]:
    """Event -> names in its fields column."""
    section = DOCUMENT.partition(f"## Events of the {party}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|", section, re.MULTILINE)
    return {event: set(re.findall(r"`(\w+)`", fields)) for event, fields in rows}


def written(party: str) -> Iterator[tuple[str, set[str]]]:
    """Each call of ``….event("name", …)``: a name that it may write, and the fields it adds."""
    for file in (ROOT / PARTIES[party]).rglob("*.py"):
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from written_in(function)


def written_in(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, set[str]]]:
    keys = {
        target.id: {key.value for key in node.value.keys if isinstance(key, ast.Constant)}
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("race.event"):
            fields = {keyword.arg for keyword in node.keywords if keyword.arg}
            for keyword in node.keywords:
                if keyword.arg is None and isinstance(keyword.value, ast.Name):
                    fields |= {str(key) for key in keys.get(keyword.value.id, ())}
            for part in ast.walk(node.args[0]):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value, fields


@pytest.mark.parametrize("party", PARTIES)
def test_events_are_those_of_the_code(party: str) -> None:
    assert set(documented(party)) == {event for event, _ in written(party)}


@pytest.mark.parametrize("party", PARTIES)
def test_fields_are_those_of_the_code(party: str) -> None:
    fields = documented(party)
    undocumented = [(event, names - fields[event]) for event, names in written(party)]
    assert [line for line in undocumented if line[1]] == []


def test_notes_of_a_trial_are_those_of_the_code() -> None:
    tree = ast.parse((ROOT / "twochannel" / "trial_notes.py").read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    found = [line for function in functions for line in written_in(function)]
    fields = documented("notes of a trial")
    assert set(fields) == {event for event, _ in found}
    assert [line for line in found if not line[1] <= fields[line[0]]] == []


def test_what_the_bench_looks_for_is_documented() -> None:
    wanted = {legs.START, *(end for ends in legs.ENDS.values() for end in ends)}
    wanted |= {event for message in MESSAGES for event in message}
    wanted |= {(party, event) for party, *events, _ in SPANS for event in events}
    unconfirmed = {("server", "declined"), ("server", "expired"), ("server", "canceled")}
    known = {(party, event) for party in PARTIES for event in documented(party)}
    assert wanted - unconfirmed <= known
