"""docs/threats.md: every attempt is answered by a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "threats.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in row.strip("|").split(" | ")]
    for row in re.findall(r"^\|.*\|$", TEXT, re.MULTILINE)
    if not row.startswith(("|---", "| attempt"))
]


def named(cell: str) -> list[tuple[str, str]]:
    """The files of a cell with the tests that follow each."""
    pairs = []
    file = ""
    for name in re.findall(r"`([^`]+)`", cell):
        if name.endswith(".py"):
            file = name
        else:
            pairs.append((file, name))
    return pairs


def test_every_attempt_names_its_tests() -> None:
    assert len(ROWS) >= 40
    for attempt, answer, tests in ROWS:
        assert answer, attempt
        assert named(tests), attempt


def test_every_test_that_is_named_exists() -> None:
    for attempt, _, tests in ROWS:
        for file, name in named(tests):
            source = (ROOT / file).read_text(encoding="utf-8")
            assert re.search(rf"def {name}\(", source), (attempt, file, name)
