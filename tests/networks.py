"""A worker of the tests in a network of its own: workers on one loopback hear each other's mDNS.

Run as a program, this is the Python that starts a worker: it leaves for a new network, whose only
interface is a loopback that carries multicast and has an address that is not of loopback, and
becomes the Python that was asked for.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shlex
import socket
import struct
import subprocess
import sys
from pathlib import Path

_CLONE_NEWUSER = 0x1000_0000
_CLONE_NEWNET = 0x4000_0000
_SIOCSIFFLAGS = 0x8914
_SIOCSIFADDR = 0x8916
_SIOCSIFNETMASK = 0x891C
_IFF_UP, _IFF_MULTICAST = 0x1, 0x1000
#: Of a network that is for examples alone (RFC 5737). No packet to it leaves the machine.
_ADDRESS = "192.0.2.7"
_ALIAS = b"lo:own"


def own_network(worker: str) -> str:
    """How execnet starts the worker ``popen`` in a network of its own."""
    here = shlex.join([sys.executable, str(Path(__file__))])
    return worker.replace("popen", f"popen//python={here}", 1)


def networks_can_be_made() -> bool:
    """Root may; others where the kernel grants them a name space of users, as most do."""
    line = [sys.executable, str(Path(__file__)), "-c", ""]
    return subprocess.run(line, capture_output=True, timeout=60, check=False).returncode == 0


def leave() -> None:
    """Be in a new network, as the same user. Raises OSError where that is not granted."""
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET | (_CLONE_NEWUSER if user else 0)):
        raise OSError(ctypes.get_errno(), "a network of its own")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        flags = struct.pack("16sH14x", b"lo", _IFF_UP | _IFF_MULTICAST)
        fcntl.ioctl(asking, _SIOCSIFFLAGS, flags)
        # With no network around it: the loopback answers for every address of its networks.
        for request, text in (_SIOCSIFADDR, _ADDRESS), (_SIOCSIFNETMASK, "255.255.255.255"):
            address = struct.pack("=H2x4s8x", socket.AF_INET, socket.inet_aton(text))
            fcntl.ioctl(asking, request, struct.pack("16s16s", _ALIAS, address))


if __name__ == "__main__":
    leave()
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
