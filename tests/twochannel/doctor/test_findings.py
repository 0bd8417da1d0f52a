"""Rows and reports: what programs read, what people read, how the command ends."""

from __future__ import annotations

import pytest

from twochannel.doctor import findings
from twochannel.doctor.catalogue import CHECKS
from twochannel.doctor.findings import Absent, Check, Refused, Row, State, Unread, judged

CHECK = Check("lamp.bulb", "Bulb", "the bulb", "it is lit", "It is dark.", "change it", "W")


def test_a_row_for_programs() -> None:
    assert CHECK.failing("dark", 0).members() == {
        "check": "lamp.bulb",
        "title": "Bulb",
        "state": "failing",
        "looked_at": "the bulb",
        "found": "dark",
        "value": 0,
        "unit": "W",
        "expected": "it is lit",
        "do": "change it",
    }
    assert CHECK.ok("lit", 60).members()["do"] is None


@pytest.mark.parametrize(
    ("reading", "state", "found", "do"),
    [
        ("60 W", State.OK, "60 W", ""),
        (Unread("too high"), State.UNKNOWN, "too high", ""),
        (Absent("no lamp"), State.NOT_APPLICABLE, "no lamp", ""),
        (Refused("broken", "sweep up"), State.FAILING, "broken", "sweep up"),
        (Refused("broken"), State.FAILING, "broken", "change it"),
    ],
)
def test_a_reading_that_is_missing_says_itself_why(
    reading: str | Refused | Unread | Absent, state: State, found: str, do: str
) -> None:
    row = judged(CHECK, reading, CHECK.ok)
    assert (row.state, row.found, row.do) == (state, found, do)


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([], 0),
        ([CHECK.ok("lit"), CHECK.warning("dim"), CHECK.missing(Unread("?"))], 0),
        ([CHECK.ok("lit"), CHECK.failing("dark")], 1),
    ],
)
def test_only_a_failing_row_is_a_failure(rows: list[Row], code: int) -> None:
    assert findings.exit_code(rows) == code
    assert findings.members("lamp", True, rows)["ok"] is (code == 0)


def test_what_means_nothing_here_is_told_once_for_each_reason() -> None:
    rows = [CHECK.missing(Absent("no lamp")), CHECK.ok("lit"), CHECK.missing(Absent("no lamp"))]
    assert findings.applicable(rows) == [rows[1]]
    assert findings.left_out(rows) == ["n/a: Bulb, Bulb: no lamp"]
    assert findings.summary(rows) == (
        "Nothing fails; 0 with a warning, 1 ok, 0 unknown, 2 not applicable."
    )
    assert findings.summary([CHECK.failing("dark")]).startswith("1 failing; ")


def test_only_a_row_with_something_to_do_has_advice() -> None:
    assert findings.advice(CHECK.failing("dark")) == ["expected: it is lit", "do: change it"]
    assert findings.advice(CHECK.ok("lit")) == []


def test_every_check_has_a_name_of_its_own_and_says_what_to_do() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert len({check.title for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert all((check.looked_at, check.expected, check.means, check.do)), check
