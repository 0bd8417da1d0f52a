"""pyproject.toml, constraints.txt and the imports of the code must tell one story."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / "constraints.txt").read_text(encoding="utf-8")

#: Which extra each party installs on its machine. The bench runs them all.
EXTRA = {
    "twochannel": "radio",
    "cigarjack": "jack",
    "payment_device": "terminal",
    "phone_agent": "phone",
    "server": "server",
    "fieldkit": "all",
}
#: Extras whose libraries a package loads only when the settings ask for them.
ON_DEMAND = {
    "twochannel": ("bluez", "mdns", "metrics", "mqtt", "pages", "pkcs11"),
    "phone_agent": ("camera",),
    "server": ("dashboard", "postgresql", "stripe"),
}
#: Declared for another library that finds them by itself.
FOUND_BY_OTHERS = {"httptools", "python-multipart", "uvloop"}


@cache
def declared(extra: str) -> frozenset[str]:
    """The distributions that come with an extra, those of the base ("") with each."""
    lines = PROJECT["optional-dependencies"][extra] if extra else []
    found = set() if not extra else set(declared(""))
    for requirement in map(Requirement, lines if extra else PROJECT["dependencies"]):
        if requirement.name == PROJECT["name"]:
            found.update(*map(declared, requirement.extras))
        else:
            found.add(canonicalize_name(requirement.name))
    return frozenset(found)


def imported(package: str) -> set[str]:
    """The distributions of others that a package imports, anywhere in it."""
    modules: set[str] = set()
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                modules |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.partition(".")[0])
    foreign = modules - sys.stdlib_module_names - EXTRA.keys()
    homes = packages_distributions()
    return {canonicalize_name(homes[module][0]) for module in foreign}


@pytest.mark.parametrize("package", EXTRA)
def test_a_package_imports_only_what_its_extra_installs(package: str) -> None:
    extras = (EXTRA[package], *ON_DEMAND.get(package, ()))
    assert imported(package) <= frozenset().union(*map(declared, extras))


def test_what_is_declared_is_used() -> None:
    used = set().union(*map(imported, EXTRA)) | FOUND_BY_OTHERS
    assert declared("all") - used == set()


def test_the_lock_satisfies_the_project() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)", LOCK, flags=re.MULTILINE))
    groups = PROJECT["optional-dependencies"].values()
    for line in [*PROJECT["dependencies"], *(line for group in groups for line in group)]:
        requirement = Requirement(line)
        if requirement.name != PROJECT["name"]:
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), line


def test_the_lock_names_no_machine_and_no_index() -> None:
    lines = [line for line in LOCK.splitlines() if not line.startswith("    --hash=sha256:")]
    assert [line for line in lines if "://" in line or " /" in line or "--" in line] == []
