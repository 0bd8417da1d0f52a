"""Byte code of the packages is there before anything is measured."""

from __future__ import annotations

from importlib.util import cache_from_source
from pathlib import Path

import cigarjack.agent
from fieldkit.bench import bytecode


def test_every_package_of_the_project_is_named() -> None:
    root = Path(bytecode.__file__).parents[2]
    assert set(bytecode.PACKAGES) == {folder.parent.name for folder in root.glob("*/py.typed")}


def test_what_is_prepared_need_not_be_compiled_again() -> None:
    assert bytecode.prepare()
    assert Path(cache_from_source(cigarjack.agent.__file__)).exists()
