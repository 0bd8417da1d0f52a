"""The protocol document is what the code says."""

from __future__ import annotations

import re

from click.testing import CliRunner

from fieldkit.docs import PROTOCOL, errors_section, life_cycle_section, main, written
from twochannel.protocol.errors import ErrorCode
from twochannel.protocol.payment import TRANSITIONS


def test_the_generated_sections_are_up_to_date() -> None:
    text = PROTOCOL.read_text(encoding="utf-8")
    assert written(text) == text
    outcome = CliRunner().invoke(main, ["--check"])
    assert outcome.exit_code == 0, outcome.output


def test_an_outdated_document_is_noticed() -> None:
    text = PROTOCOL.read_text(encoding="utf-8")
    assert written(text.replace("pending --> confirmed", "pending --> captured")) == text


def test_the_diagram_has_every_transition_and_no_other() -> None:
    arrows = re.findall(r"^    (\w+) --> (\w+): (\w+)$", life_cycle_section(), re.MULTILINE)
    assert {(state, event): to for state, to, event in arrows} == TRANSITIONS


def test_every_error_code_is_documented() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", errors_section(), re.MULTILINE)) == set(ErrorCode)
