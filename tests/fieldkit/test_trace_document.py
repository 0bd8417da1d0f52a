"""docs/trace.md names exactly the events that the agents write, and the fields they add."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
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
    section = DOCUMENT.partition(f"## Events of the {party}\n")[2].partition("\n##")[0]
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|", section, re.MULTILINE)
    return {event: set(re.findall(r"`(\w+)`", fields)) for event, fields in rows}


def written(party: str) -> Iterator[tuple[str, set[str]]]:
    """As ``written_by``, of a party."""
    return written_by((ROOT / PARTIES[party]).rglob("*.py"))


def written_by(files: Iterable[Path]) -> Iterator[tuple[str, set[str]]]:
    """Each call of ``….event("name", …)``: a name that it may write, and the fields it adds."""
    for file in files:
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from written_in(function)


def written_in(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, set[str]]]:
    keys: dict[str, set[object]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(node.value, ast.Dict) and isinstance(target, ast.Name):
                constants = {key.value for key in node.value.keys if isinstance(key, ast.Constant)}
                keys.setdefault(target.id, set()).update(constants)
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
    found = list(written_by([ROOT / "twochannel" / "trial_notes.py"]))
    fields = documented("notes of a trial")
    assert set(fields) == {event for event, _ in found}
    assert [line for line in found if not line[1] <= fields[line[0]]] == []


def test_the_condition_of_an_agent_is_that_of_the_code() -> None:
    found = list(written_by((ROOT / "twochannel" / "condition").glob("*.py")))
    fields = documented("condition of an agent")
    assert set(fields) == {event for event, _ in found}
    for event, names in found:
        assert names == (HEALTH if event == "health" else fields[event]), event


HEALTH = {
    name
    for names in re.findall(
        r"^\| (`[^|]+) \|",
        DOCUMENT.partition("### Health\n")[2].partition("\n## ")[0],
        re.MULTILINE,
    )
    for name in re.findall(r"`(\w+)`", names)
}


def test_what_the_bench_looks_for_is_documented() -> None:
    wanted = {legs.START, *(end for ends in legs.ENDS.values() for end in ends)}
    wanted |= {event for message in MESSAGES for event in message}
    wanted |= {(party, event) for party, *events, _ in SPANS for event in events}
    unconfirmed = {("server", "declined"), ("server", "expired"), ("server", "canceled")}
    known = {(party, event) for party in PARTIES for event in documented(party)}
    assert wanted - unconfirmed <= known
