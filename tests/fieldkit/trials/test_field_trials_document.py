"""docs/field-trials.md tells of every step and every fault that there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from fieldkit.trials import steps

DOCUMENT = (Path(__file__).parents[3] / "docs" / "field-trials.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(?P<do>\w+)` \| (?P<members>[^|]*) \|", re.MULTILINE)


def test_every_step_is_told_with_its_members() -> None:
    union, _ = get_args(steps.Step)
    models = {get_args(kind.model_fields["do"].annotation)[0]: kind for kind in get_args(union)}
    told = {
        row["do"]: set(re.findall(r"`(\w+)`", row["members"])) for row in ROW.finditer(DOCUMENT)
    }
    for do, model in models.items():
        assert told[do] == set(model.model_fields) - {"do", "after_payments"}, do


def test_every_option_of_the_examples_is_one() -> None:
    from fieldkit.soak.command import soak
    from fieldkit.trials.play_command import play

    known = {name for command in (play, soak) for one in command.params for name in one.opts}
    lines = [
        line.partition("#")[0]
        for line in DOCUMENT.splitlines()
        if line.startswith(("fieldkit trial play", "fieldkit soak"))
    ]
    assert len(lines) >= 5
    assert {word for line in lines for word in line.split() if word.startswith("--")} <= known
