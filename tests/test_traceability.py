"""seeds/README.md: every step of the method leads to modules and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLES = (ROOT / "seeds" / "README.md").read_text(encoding="utf-8").partition("## From the")[2]
ROWS = [
    [cell.strip() for cell in row.strip("|").split("|")]
    for row in re.findall(r"^\|.*\|$", TABLES, re.MULTILINE)
    if not row.startswith(("|---", "| step"))
]


def paths(cell: str) -> list[str]:
    return re.findall(r"`([\w/]+\.py)`", cell)


def test_every_row_leads_somewhere() -> None:
    assert len(ROWS) >= 20
    for step, modules, tests in ROWS:
        assert step
        assert "*later issue*" in tests or (paths(modules) and paths(tests)), step


def test_every_module_and_test_that_is_named_exists() -> None:
    named = [path for _, modules, tests in ROWS for path in paths(modules) + paths(tests)]
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_tests_are_tests_and_modules_are_modules() -> None:
    for step, modules, tests in ROWS:
        assert not [path for path in paths(modules) if path.startswith("tests/")], step
        assert all(Path(path).name.startswith("test_") for path in paths(tests)), step


def test_every_step_of_the_method_is_there() -> None:
    steps = " ".join(step for step, _, _ in ROWS)
    for number in ("1. Registration", "2. Channel one", "3. Channel two", "4. The server"):
        assert number in steps
    for part in ("### Two-channel payment", "### Refuelling", "### Coupling"):
        assert part in TABLES
