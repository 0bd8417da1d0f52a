"""The container file: what can be judged without an engine to build it."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.server.bench import make_folder
from tests.server.process import environment, started

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "container" / "Containerfile"
TEXT = FILE.read_text(encoding="utf-8")
#: Each instruction on one line.
INSTRUCTIONS = [
    line
    for line in re.sub(r"\\\n", "", TEXT).splitlines()
    if line and not line.startswith(("#", " "))
]


def all_of(name: str) -> list[str]:
    found = (line.partition(" ") for line in INSTRUCTIONS)
    return [rest for word, _, rest in found if word == name]


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, FILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_everything_that_is_copied_is_in_the_tree_and_in_the_context() -> None:
    own = [shlex.split(line)[:-1] for line in all_of("COPY") if not line.startswith("--from")]
    copied = [source for sources in own for source in sources]
    assert [source for source in copied if not (ROOT / source).exists()] == []
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert sent == set(copied)
    # hatchling builds these; without one of them there is no wheel.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= set(copied)


def test_it_runs_as_nobody_in_particular_and_ends_by_sigterm() -> None:
    assert all_of("USER") == ["10001:10001"]
    assert all_of("STOPSIGNAL") == ["SIGTERM"]
    assert INSTRUCTIONS.index("USER 10001:10001") < INSTRUCTIONS.index('CMD ["run"]')


def test_its_first_lines_and_the_document_tell_the_same_commands() -> None:
    document = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    commands = re.findall(r"^#   (podman .+)$", TEXT, flags=re.MULTILINE)
    assert len(commands) == 3
    assert "\n".join(commands) in document


def test_its_check_of_health_says_how_the_server_is(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = make_folder(tmp_path / "state")
    config = folder.path / "config.toml"
    config.write_text(config.read_text().replace("port = 0", f"port = {port}"))
    (line,) = all_of("HEALTHCHECK")
    command = json.loads(line.partition("CMD ")[2])
    assert command[0] == json.loads(all_of("ENTRYPOINT")[0])[0]

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "server", *command[1:]],
            capture_output=True,
            text=True,
            check=False,
            env=environment() | {"CIGARJACK_SERVER_STATE": str(folder.path)},
        )

    before = check()
    assert (before.returncode, "no server answers" in before.stderr) == (1, True)
    with started(folder.path):
        assert check().returncode == 0
        store = folder.open_store()
        store.write_now(
            lambda c: c.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        )
        store.close_now()
        trouble = check()
        assert (trouble.returncode, "another version" in trouble.stderr) == (1, True)
