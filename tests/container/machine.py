"""A Debian machine that systemd runs, in name spaces of its own: what deploy/install is made for.

Nothing of the machine around it is touched, and nothing outside is reached: it has no network.
It has neither radios nor udev; NetworkManager and D-Bus are there.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from fieldkit.car.packages import bootstrap, download

ROOT: Final = Path(__file__).parents[2]
#: Where a user of the machine has the project, and the wheels that were brought along.
TREE: Final = Path("/root/cigarjack")
WHEELS: Final = Path("/root/wheels")
#: Of every party that is installed here, with keys in a token.
_EXTRAS: Final = ("jack", "bluez", "metrics", "mqtt", "server", "pkcs11")
_PACKAGES: Final = (
    *("bluez", "dbus", "network-manager", "python3-venv", "softhsm2", "systemd", "systemd-sysv"),
)
_LEFT_OUT: Final = (".git", ".venv", ".*_cache", "__pycache__", "car-run")
_PATH: Final = "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Where an installation leaves things; the accounts are looked at by name.
_PLACES: Final = ("etc", "opt", "usr/local", "var/lib")
#: Of the machine itself, which writes there as it likes; and the backups of accounts.
_ITS_OWN: Final = (
    *("etc/passwd", "etc/group", "etc/shadow", "etc/gshadow", "etc/subuid", "etc/subgid"),
    *(
        "etc/.pwd.lock",
        "etc/resolv.conf",
        "var/lib/NetworkManager",
        "var/lib/systemd",
        "var/lib/softhsm",
    ),
)
_BUILD_DEADLINE_S: Final = 900
_COMMAND_DEADLINE_S: Final = 300
_LOOK_AGAIN_S: Final = 0.1


@dataclass(frozen=True)
class Machine:
    """A machine that is on. ``root``: its files, but for those in memory."""

    root: Path
    first_process: int

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        enter = ("nsenter", "--target", str(self.first_process), "--all")
        return subprocess.run(
            (*enter, "env", "--chdir=/root", "-i", _PATH, "LC_ALL=C.UTF-8", *command),
            capture_output=True,
            text=True,
            timeout=_COMMAND_DEADLINE_S,
            check=False,
        )

    def __call__(self, *command: str) -> str:
        """What a command says that must succeed."""
        done = self.run(*command)
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def install(self, *arguments: str) -> str:
        return self(str(TREE / "deploy" / "install"), *arguments)

    def install_offline(self, *arguments: str) -> str:
        return self.install(*arguments, "--wheels", str(WHEELS))

    def file(self, path: str | Path) -> Path:
        """A file of the machine, seen from here."""
        return self.root / str(path).removeprefix("/")

    def shown(self, service: str, name: str) -> str:
        return self("systemctl", "show", "--value", f"--property={name}", service).strip()

    def everything(self) -> set[tuple[str, int, int]]:
        """Each file that an installation could have made or changed: when, and how long it is."""
        found = (file for place in _PLACES for file in (self.root / place).rglob("*"))
        names = {str(file.relative_to(self.root)): file for file in found}
        return {(name, *_kept(file)) for name, file in names.items() if not _of_its_own(name)}


def _of_its_own(name: str) -> bool:
    return any(name.rstrip("-") == own or name.startswith(f"{own}/") for own in _ITS_OWN)


def _kept(file: Path) -> tuple[int, int]:
    state = file.lstat()
    return (0, 0) if file.is_dir() else (state.st_mtime_ns, state.st_size)


def make_root(root: Path) -> None:
    """A Debian as in the car, with the work tree and all wheels that its parties need."""
    _do(*bootstrap("directory", _PACKAGES), "--quiet", "bookworm", str(root))
    shutil.copytree(ROOT, root / TREE.relative_to("/"), ignore=shutil.ignore_patterns(*_LEFT_OUT))
    wheels = root / WHEELS.relative_to("/")
    wheels.mkdir()
    requirements = root / "root" / "requirements.txt"
    requirements.write_text(_do(sys.executable, str(ROOT / "deploy/requirements.py"), *_EXTRAS))
    _do(*download(requirements, wheels))
    # Not those of the machine around it.
    (root / "etc" / "hostname").write_text("machine\n")
    (root / "etc" / "machine-id").write_text(f"{secrets.token_hex(16)}\n")


def _do(*command: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_BUILD_DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@contextmanager
def running(root: Path) -> Iterator[Machine]:
    """The machine of ``root``, when it has booted, until it loses its power."""
    boot = (str(ROOT / "tests" / "container" / "boot"), str(root))
    around = subprocess.Popen(("unshare", "--mount", "--propagation", "private", *boot))
    try:
        machine = Machine(root, _first_process(around))
        state = machine.run("systemctl", "is-system-running", "--wait")
        assert state.stdout == "running\n", machine.run("systemctl", "--failed").stdout
        yield machine
    finally:
        around.terminate()
        around.wait(_COMMAND_DEADLINE_S)


def _first_process(around: subprocess.Popen[bytes]) -> int:
    """That of the machine's own, once it listens: below ``boot`` and ``unshare``."""
    ends_at_s = time.monotonic() + _COMMAND_DEADLINE_S
    while around.poll() is None and time.monotonic() < ends_at_s:
        with suppress(psutil.NoSuchProcess):
            for unshare in psutil.Process(around.pid).children():
                for process in unshare.children():
                    if Path(f"/proc/{process.pid}/root/run/systemd/private").exists():
                        return process.pid
        time.sleep(_LOOK_AGAIN_S)
    raise AssertionError("the machine did not boot")
