"""Prints the part of the lock that some extras need, for pip's ``--require-hashes --no-deps``.

    python3 deploy/requirements.py jack bluez > requirements.txt

What each package is there for stands below it in constraints.txt ("# via …"). Reads nothing but
constraints.txt and pyproject.toml, with nothing but Python's own library, for it runs before
anything is installed.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_NAME = re.compile(r"([\w.-]+)(?:\[([\w, -]+)\])?")


def main(extras: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    known = project["project"]["optional-dependencies"]
    if unknown := sorted(set(extras) - set(known)):
        sys.exit(f"No such extra: {', '.join(unknown)}. There are: {', '.join(known)}.")
    lock = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    sys.stdout.writelines(part_of_lock(lock, wanted(project, extras)))


def wanted(project: Mapping[str, Any], extras: Iterable[str]) -> set[str]:
    """Names that the project asks for: to be built, to run, and for ``extras``."""
    asked = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    for extra in extras:
        asked += project["project"]["optional-dependencies"][extra]
    names = set()
    for requirement in asked:
        name, its_extras = _NAME.match(requirement).groups()  # type: ignore[union-attr]
        if name == project["project"]["name"]:
            names |= wanted(project, re.split(r"[, ]+", its_extras))
        else:
            names.add(_canonical(name))
    return names


def part_of_lock(lock: str, names: Iterable[str]) -> Iterator[str]:
    """The entries of ``names``, and of all that these need, as they stand in the lock."""
    entries = list(_entries(lock))
    needed, found = set(names), 0
    while len(needed) > found:
        found = len(needed)
        needed |= {name for name, _, users in entries if users & needed}
    return (text for name, text, _ in entries if name in needed)


def _entries(lock: str) -> Iterator[tuple[str, str, set[str]]]:
    """Each package: its name, its lines, and the names of those who need it."""
    for text in re.findall(r"^[\w.-]+==.*\n(?:[ ]+.*\n)*", lock, flags=re.MULTILINE):
        users = re.findall(r"^ +#(?: via)? +([\w.-]+)", text, flags=re.MULTILINE)
        yield _canonical(text.partition("==")[0]), text, set(map(_canonical, users))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main(sys.argv[1:])
