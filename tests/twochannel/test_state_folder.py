"""One agent at a time in a folder, however the one before it ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from twochannel.state_folder import (
    MAX_SOCKET_PATH_BYTES,
    StateFolderError,
    default_folder,
    filesystem_of,
    held,
    make,
)

HOLDER = """
import signal, sys
from pathlib import Path
from twochannel.state_folder import held
with held(Path(sys.argv[1])) as path:
    print(path, flush=True)
    signal.pause()
"""


def test_a_folder_is_private_and_holds_one_agent(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "state"
    with held(folder) as path:
        assert path == folder / "control.sock"
        assert folder.stat().st_mode & 0o777 == 0o700
        with pytest.raises(StateFolderError, match="already running"), held(folder):
            pass
    with held(folder):
        pass


def test_a_killed_agent_leaves_the_folder_to_the_next(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        path = Path(holder.stdout.readline().strip())
        with pytest.raises(StateFolderError), held(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    with held(tmp_path) as again:
        assert not again.exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(StateFolderError, match=r"cannot write in .*; .* --state"), held(tmp_path):
        pass


def test_a_path_too_long_for_a_socket_is_told(tmp_path: Path) -> None:
    with (
        pytest.raises(StateFolderError, match="too long"),
        held(tmp_path / ("x" * MAX_SOCKET_PATH_BYTES)),
    ):
        pass


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateFolderError, match="--state"):
        make(tmp_path / "file" / "state")


def test_where_the_state_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_folder("payment-device", {}) == Path("/var/lib/payment-device")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    chosen = {"XDG_STATE_HOME": str(tmp_path)}
    assert default_folder("payment-device", chosen) == tmp_path / "payment-device"
    assert default_folder("payment-device", {}) == Path.home() / ".local/state/payment-device"


_MOUNTS = """/dev/vda / ext4 rw 0 0
tmpfs /run tmpfs rw 0 0
/dev/vdb /run/my\\040state btrfs rw 0 0
tmpfs /tmp tmpfs rw 0 0
/dev/vdc /tmp xfs rw 0 0
short line
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/someone", "ext4"),
        ("/run/agent", "tmpfs"),
        ("/run/my state/jack", "btrfs"),
        ("/runner", "ext4"),
        ("/tmp/bench", "xfs"),
    ],
)
def test_the_deepest_and_latest_mount_counts(folder: str, kind: str) -> None:
    assert filesystem_of(Path(folder), _MOUNTS) == kind


def test_no_mount_is_unknown() -> None:
    assert filesystem_of(Path("/"), "") == "unknown"
