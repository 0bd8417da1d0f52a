"""The rules of the house that no linter knows: shape of files, purity, weight of the clients.

The layers are contracts of import-linter (pyproject.toml); ``make check`` runs them.
"""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("twochannel", "cigarjack", "payment_device", "phone_agent", "server", "fieldkit")

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 70
MEDIAN_FUNCTION_LINES = 10  # Must stay under.

NAMELESS = {"base", "common", "helpers", "manager", "misc", "shared", "utils"}

#: Modules that decide and touch nothing: time, nonces and ids reach them as arguments.
PURE = (
    "twochannel/protocol/*.py",
    "twochannel/broker_address.py",
    "twochannel/condition/*_rules.py",
    "twochannel/condition/hearing.py",
    "twochannel/doctor/*_rules.py",
    "twochannel/metrics/catalogue.py",
    "twochannel/metrics/stopwatch.py",
    "twochannel/doctor/catalogue.py",
    "twochannel/doctor/findings.py",
    "twochannel/doctor/known_bad.py",
    "twochannel/doctor/readings.py",
    "twochannel/pages/access.py",
    "twochannel/pages/tones.py",
    "twochannel/radio/adverts.py",
    "twochannel/radio/bluez_adapters.py",
    "twochannel/radio/bluez_names.py",
    "cigarjack/*_rules.py",
    "cigarjack/lane_memory.py",
    "fieldkit/air_commands.py",
    "fieldkit/motion.py",
    "fieldkit/propagation.py",
    "fieldkit/shares.py",
    "fieldkit/trials/bounds.py",
    "fieldkit/world/baselines.py",
    "fieldkit/world/tally.py",
    "payment_device/orders.py",
    "payment_device/receipts.py",
    "payment_device/attendants_view.py",
    "payment_device/calibration.py",
    "payment_device/fuel.py",
    "payment_device/hearing_message.py",
    "payment_device/shared_hearing.py",
    "payment_device/sightings.py",
    "payment_device/tracks.py",
    "phone_agent/consent.py",
    "phone_agent/owners_view.py",
    "phone_agent/waiting_line.py",
    "server/backoff.py",
    "server/code_index.py",
    "server/evidence_chain.py",
    "server/evidence_file.py",
    "server/evidence_parties.py",
    "server/issuer.py",
    "server/journal_file.py",
    "server/journal_proof.py",
    "server/preference.py",
    "server/proofs.py",
    "server/settlement.py",
    "server/webhook_policy.py",
)
#: All that a pure module may import, besides other pure modules.
STRUCTURE = {"__future__", "abc", "collections", "dataclasses", "enum", "functools", "typing"}
# Of times that are arguments; the calls that ask a clock are below.
TIMES = {"datetime"}
NUMBERS = {"bisect", "decimal", "fractions", "heapq", "itertools", "math", "statistics"}
BYTES = {
    "base64",
    "binascii",
    "hashlib",
    "hmac",
    "ipaddress",
    "json",
    "re",
    "struct",
    "unicodedata",
}
LIBRARIES = {"cryptography", "jwt", "pydantic", "pydantic_core"}
PURE_IMPORTS = STRUCTURE | TIMES | NUMBERS | BYTES | LIBRARIES
#: What reaches out all the same: builtins, and calls on types that are otherwise welcome.
MACHINE = {"__import__", "breakpoint", "eval", "exec", "input", "open", "print"}
CLOCK = {"now", "today", "utcnow"}
RANDOMNESS = {"generate_key", "generate_private_key", "urandom", "uuid1", "uuid4", "uuid7"}
IMPURE_CALLS = MACHINE | CLOCK | RANDOMNESS

#: A published client must not load its party: a Pi that calls the server runs no server.
TOO_HEAVY = {
    "server.client": {"alembic", "fastapi", "sqlalchemy", "sse_starlette", "starlette", "uvicorn"},
    "cigarjack.client": {"bumble", "fastapi", "sqlalchemy", "starlette", "uvicorn"},
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tracked_files() -> tuple[Path, ...]:
    """Every Python file that git knows, as a path from the root."""
    listing = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "*.py"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return tuple(Path(name) for name in listing.split("\0") if name and (ROOT / name).exists())


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"), str(file))


def functions(file: Path) -> Iterator[tuple[str, int]]:
    """Each function of a file as (place, lines from ``def`` to its end)."""
    for node in ast.walk(tree(file)):
        if isinstance(node, Function):
            assert node.end_lineno is not None
            yield f"{file}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1


def imported(file: Path) -> Iterator[str]:
    """What a file imports, anywhere in it: our modules by their whole names, others' packages."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (named(name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}:{node.lineno} imports relatively"
            yield from (named(f"{node.module}.{name.name}") for name in node.names)


def named(dotted: str) -> str:
    """The module of ours that ``dotted`` is or comes from, else the package that it is in."""
    package, _, _ = dotted.partition(".")
    if package not in PACKAGES:
        return package
    module = Path(*dotted.split(".")).with_suffix(".py") in tracked_files()
    return dotted if module else dotted.rpartition(".")[0]


@cache
def pure_modules() -> frozenset[str]:
    files = (file for file in tracked_files() for p in PURE if fnmatch(str(file), p))
    return frozenset(".".join(file.with_suffix("").parts) for file in files)


def called(file: Path) -> Iterator[tuple[str, int]]:
    """The last name of everything that a file calls, with its line."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id, node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.func.attr, node.lineno


def test_files_are_short() -> None:
    lines = {file: len((ROOT / file).read_bytes().splitlines()) for file in tracked_files()}
    assert {file: count for file, count in lines.items() if count > MAX_FILE_LINES} == {}


def test_functions_are_short() -> None:
    lengths = [function for file in tracked_files() for function in functions(file)]
    assert [function for function in lengths if function[1] > MAX_FUNCTION_LINES] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_median_function_is_a_few_lines(package: str) -> None:
    files = [file for file in tracked_files() if file.parts[0] == package]
    lengths = [lines for file in files for _, lines in functions(file)]
    assert statistics.median(lengths) < MEDIAN_FUNCTION_LINES


def test_an_init_is_a_docstring_and_nothing_else() -> None:
    for file in tracked_files():
        if file.name == "__init__.py":
            body = tree(file).body
            assert ast.get_docstring(tree(file)), file
            assert len(body) == 1, file


def test_names_say_what_is_inside() -> None:
    named = {file: {file.stem.strip("_"), *file.parts[:-1]} for file in tracked_files()}
    assert {file for file, names in named.items() if names & NAMELESS} == set()


@pytest.mark.parametrize("pattern", PURE)
def test_pure_modules_reach_for_nothing(pattern: str) -> None:
    files = [file for file in tracked_files() if fnmatch(str(file), pattern)]
    assert files, "the list of pure modules names one that is gone"
    for file in files:
        assert set(imported(file)) <= PURE_IMPORTS | pure_modules(), file
        assert [call for call in called(file) if call[0] in IMPURE_CALLS] == [], file


@pytest.mark.parametrize("client", TOO_HEAVY)
def test_a_published_client_is_light(client: str) -> None:
    program = f"import {client}, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    assert client in loaded
    assert TOO_HEAVY[client].isdisjoint(loaded)
