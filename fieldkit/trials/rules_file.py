"""Rules of a lane as TOML: the lines of a terminal's config.toml that are about them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from fieldkit.trials.lane_recording import RULE_NAMES
from fieldkit.trials.rules_grid import COARSE
from payment_device.config import TerminalSettings
from payment_device.sightings import LaneRules

#: What a config.toml may hold besides.
_OTHER_SETTINGS: Final = frozenset(TerminalSettings.model_fields)


class RulesError(Exception):
    """The rules cannot be used. The text says why."""


def read(file: Path) -> dict[str, float]:
    """The rules that are in the file, by name; a whole config.toml is fine. Raises RulesError."""
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RulesError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise RulesError(f"{file} is not TOML in UTF-8: {error}") from None
    if unknown := sorted(set(values) - _OTHER_SETTINGS - set(RULE_NAMES)):
        raise RulesError(
            f"{file}: there is no rule {unknown[0]!r}; there are: {', '.join(RULE_NAMES)}"
        )
    return {name: value for name, value in values.items() if name in RULE_NAMES}


def changed(rules: LaneRules, values: Mapping[str, Any]) -> LaneRules:
    """``rules`` with some of them replaced. Raises RulesError."""
    wrong = [name for name, value in values.items() if not isinstance(value, int | float)]
    if wrong:
        raise RulesError(f"{wrong[0]} has to be a number")
    try:
        return replace(rules, **values)
    except ValueError as error:
        raise RulesError(str(error)) from None


def text(rules: LaneRules, about: str) -> str:
    """The lines for a config.toml. ``about``: where they come from, as a comment."""
    lines = [f"# {line}" for line in about.splitlines()]
    lines += [f"{name} = {getattr(rules, name):g}" for name in COARSE]
    return "\n".join(lines) + "\n"
