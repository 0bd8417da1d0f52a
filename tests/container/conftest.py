"""The server's image, built from its container file by a real engine; a machine that installs.

``make image`` runs these.

The engine is buildah, which needs no daemon; ``chroot`` isolation and ``vfs`` storage work where
containers are not allowed. The base image is made by mmdebstrap from Debian's own packages, under
the name that the file asks for, so that no registry is needed.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.container.machine import Machine, make_root, running

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "operations.md"
BASE = "docker.io/library/debian:bookworm-slim"
IMAGE = "cigarjack-server"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_BUILD_DEADLINE_S = 900


@dataclass(frozen=True)
class Engine:
    """buildah with a storage of its own."""

    storage: Path

    def line(self, *arguments: str) -> list[str]:
        places = ("--root", str(self.storage / "root"), "--runroot", str(self.storage / "run"))
        return ["buildah", "--storage-driver", "vfs", *places, *arguments]

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            self.line(*arguments),
            capture_output=True,
            text=True,
            timeout=_BUILD_DEADLINE_S,
            check=False,
            cwd=ROOT,
            env=os.environ | {"BUILDAH_ISOLATION": "chroot"},
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout.strip()

    @contextmanager
    def container(self, volume: Path) -> Iterator[Container]:
        """A container of the image with ``volume`` for its state."""
        name = self("from", "--pull-never", "--name", f"c-{uuid.uuid4().hex}", IMAGE)
        try:
            yield Container(self, name, volume)
        finally:
            self("rm", name)


@dataclass(frozen=True)
class Container:
    """One container: the image's entry point is what runs."""

    engine: Engine
    name: str
    volume: Path

    def line(self, *arguments: str) -> list[str]:
        mounted = f"{self.volume}:/var/lib/cigarjack-server"
        run = ("run", "--isolation", "chroot", "--volume", mounted, self.name, "--")
        return self.engine.line(*run, "cigarjack-server", *arguments)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.line(*arguments), capture_output=True, text=True, timeout=60, check=False
        )

    @contextmanager
    def running(self, log: Path) -> Iterator[subprocess.Popen[str]]:
        with log.open("w") as file:
            process = subprocess.Popen(
                self.line("run"), stdout=subprocess.PIPE, stderr=file, text=True
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()


def _demand(*tools: str) -> None:
    if missing := [tool for tool in tools if shutil.which(tool) is None]:
        pytest.fail(f"needs {' and '.join(missing)}: apt install {' '.join(missing)}")


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Switched on, with nothing of ours installed."""
    _demand("mmdebstrap")
    root = tmp_path_factory.mktemp("machine") / "root"
    try:
        make_root(root)
        with running(root) as machine:
            yield machine
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """With the image built."""
    _demand("buildah", "mmdebstrap")
    folder = tmp_path_factory.mktemp("engine")
    engine, archive = Engine(folder), folder / "base.tar"
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=apt", "bookworm", archive],
        check=True,
        timeout=_BUILD_DEADLINE_S,
    )
    scratch = engine("from", "scratch")
    engine("add", scratch, str(archive), "/")
    engine("commit", "--rm", scratch, BASE)
    # Whom this machine trusts when it fetches packages, the build has to trust as well.
    trusted = f"{_CERTIFICATES}:/usr/local/share/ca-certificates/host.crt:ro"
    build = ("bud", "--pull-never", "--network", "host", "--volume", trusted)
    engine(*build, *_documented_build())
    return engine


def _documented_build() -> list[str]:
    """What an operator types after ``podman build``, which buildah understands alike."""
    text = DOCUMENT.read_text(encoding="utf-8")
    (words,) = re.findall(r"^podman build (.+)$", text, flags=re.MULTILINE)
    return shlex.split(words)
