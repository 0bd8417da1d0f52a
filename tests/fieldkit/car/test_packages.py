"""What goes into the virtual car, and what its host lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from fieldkit.car.image import TREE
from fieldkit.car.packages import download, guest_requirements, missing_on_host

LOCK = """\
# This file was made by a tool.
anyio==4.16.0 ; sys_platform == 'linux' \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via httpx
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:cc
pyee==13.0.1 ; python_full_version < '3.12' \\
    --hash=sha256:dd
pyee==16.0.1 ; python_full_version >= '3.12' \\
    --hash=sha256:ee
ruff==0.17.6 \\
    --hash=sha256:ff
h11==0.16.0 \\
    --hash=sha256:00
"""


def test_the_guest_gets_what_its_python_needs_with_every_hash() -> None:
    assert guest_requirements(LOCK).splitlines() == [
        "anyio==4.16.0 --hash=sha256:aa --hash=sha256:bb",
        "pyee==13.0.1 --hash=sha256:dd",
        "h11==0.16.0 --hash=sha256:00",
    ]


def test_the_projects_own_lock_is_understood() -> None:
    lock = (TREE / "constraints.txt").read_text(encoding="utf-8")
    lines = guest_requirements(lock).splitlines()
    names = {line.partition("==")[0] for line in lines}
    assert {"bleak", "bless", "bumble", "pytest", "cryptography"} <= names
    assert len(names) == len(lines)
    assert all("--hash=sha256:" in line and ";" not in line for line in lines)


def test_wheels_are_for_the_guests_python_and_not_for_this_one() -> None:
    command = download(Path("requirements.txt"), Path("wheels"))
    assert {"--python-version=3.11", "--only-binary=:all:", "--require-hashes"} <= set(command)
    # Bookworm has glibc 2.36.
    assert "--platform=manylinux_2_36_x86_64" in command
    assert "--platform=manylinux_2_37_x86_64" not in command


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all there is of programs."""
    monkeypatch.setattr("fieldkit.car.packages.ADMINISTRATORS_FOLDERS", ())
    for name in ("mmdebstrap", "mke2fs", "tar"):
        (tmp_path / name).touch(mode=0o755)
    return tmp_path


def test_what_the_host_lacks_is_named_by_package(programs: Path) -> None:
    environment = {"PATH": str(programs)}
    assert missing_on_host(environment, root=True) == ["qemu-system-x86"]
    assert missing_on_host(environment, root=False) == ["qemu-system-x86", "uidmap", "util-linux"]


def test_nothing_is_asked_for_that_is_there(programs: Path) -> None:
    (programs / "qemu-system-x86_64").touch(mode=0o755)
    assert missing_on_host({"PATH": str(programs)}, root=True) == []
