"""Byte code of the project's own packages, so that no start that is measured compiles them.

``pip install`` compiles what it installs, and Python keeps what it compiled; but a source tree
that nobody has started yet, or ``PYTHONDONTWRITEBYTECODE``, would have every start compile all
of it again: that takes time and memory, which are not the agents'.
"""

from __future__ import annotations

import compileall
from importlib.util import find_spec
from typing import Final

PACKAGES: Final = (
    "twochannel",
    "cigarjack",
    "payment_device",
    "phone_agent",
    "server",
    "fieldkit",
)


def prepare() -> bool:
    """Compile what has changed since the last time; False if a folder cannot be written."""
    folders = [folder for name in PACKAGES for folder in _folders(name)]
    compiled = [bool(compileall.compile_dir(folder, quiet=2)) for folder in folders]
    return all(compiled)


def _folders(package: str) -> list[str]:
    spec = find_spec(package)
    return list(spec.submodule_search_locations or ()) if spec else []
