"""The documents are what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from fieldkit.docs import (
    DOCTOR,
    PROTOCOL,
    TRIAL_REPORT,
    checks_section,
    errors_section,
    known_bad_section,
    life_cycle_section,
    main,
    written,
)
from twochannel.doctor.catalogue import CHECKS
from twochannel.doctor.known_bad import KNOWN_BAD
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.payment import TRANSITIONS


@pytest.mark.parametrize("document", [PROTOCOL, DOCTOR, TRIAL_REPORT])
def test_the_generated_sections_are_up_to_date(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert written(text, document) == text
    outcome = CliRunner().invoke(main, ["--check"])
    assert outcome.exit_code == 0, outcome.output


def test_an_outdated_document_is_noticed() -> None:
    text = PROTOCOL.read_text(encoding="utf-8")
    assert written(text.replace("pending --> confirmed", "pending --> captured")) == text


def test_an_outdated_doctor_is_noticed() -> None:
    text = DOCTOR.read_text(encoding="utf-8")
    assert written(text.replace("6.18.34", "6.18.33"), DOCTOR) == text


def test_every_check_and_every_known_bad_pair_is_documented() -> None:
    names = re.findall(r"^### `(\S+)`: ", checks_section(), re.MULTILINE)
    assert names == [check.name for check in CHECKS]
    assert all(bad.source in known_bad_section() for bad in KNOWN_BAD)


def test_the_diagram_has_every_transition_and_no_other() -> None:
    arrows = re.findall(r"^    (\w+) --> (\w+): (\w+)$", life_cycle_section(), re.MULTILINE)
    assert {(state, event): to for state, to, event in arrows} == TRANSITIONS


def test_every_error_code_is_documented() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", errors_section(), re.MULTILINE)) == set(ErrorCode)
