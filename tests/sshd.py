"""Machines that are entered by SSH: real servers of OpenSSH, on addresses of the loopback or as
``tests.machines`` starts them.

Keys are made at run time; each server has its own, and lets one other key in.
"""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

#: Debian's package openssh-server.
SSHD: Final = Path("/usr/sbin/sshd")
#: Of the loopback, and not the one by which everything else is reached.
ADDRESS: Final = "127.0.0.6"
_DEADLINE_S: Final = 20.0
_POLL_S: Final = 0.02
_CONFIG: Final = """\
ListenAddress {address}:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
"""


class Machine:
    """One server. ``options``: how the client ``ssh`` gets in; ``target``: where; ``server``: what
    runs it.
    """

    def __init__(self, folder: Path, address: str, port: int = 0) -> None:
        """``port`` 0: a free one of this loopback."""
        self.address = address
        self.target = f"{getpass.getuser()}@{address}"
        self._folder = folder
        folder.mkdir()
        self._port = port or _free_port(address)
        for key in ("host", "client"):
            line = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key))
            subprocess.run(line, check=True)
        host = (folder / "host.pub").read_text()
        (folder / "known_hosts").write_text(f"[{address}]:{self._port} {host}")
        (folder / "client.pub").rename(folder / "authorized_keys")
        config = _CONFIG.format(address=address, port=self._port, folder=folder)
        (folder / "sshd_config").write_text(config)
        if os.geteuid() == 0:
            # Where the system's own server was never started this is missing.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)

    @property
    def options(self) -> list[str]:
        files = f"UserKnownHostsFile={self._folder}/known_hosts"
        return [
            *("-F", "none", "-p", str(self._port), "-i", str(self._folder / "client")),
            *("-o", files, "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes"),
        ]

    @property
    def server(self) -> list[str]:
        log = str(self._folder / "log")
        return [str(SSHD), "-D", "-E", log, "-f", str(self._folder / "sshd_config")]

    @contextmanager
    def running(self) -> Iterator[None]:
        with subprocess.Popen(self.server) as server:
            try:
                self._await_listening(server)
                yield
            finally:
                server.terminate()

    def _await_listening(self, server: subprocess.Popen[bytes]) -> None:
        ends_at_s = time.monotonic() + _DEADLINE_S
        while server.poll() is None and time.monotonic() < ends_at_s:
            try:
                socket.create_connection((self.address, self._port), 1.0).close()
            except ConnectionError:
                time.sleep(_POLL_S)
            else:
                return
        raise AssertionError((self._folder / "log").read_text())


def _free_port(address: str) -> int:
    with socket.create_server((address, 0)) as free:
        return int(free.getsockname()[1])
