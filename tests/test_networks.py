"""Workers of the tests cannot hear each other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import networks

_HEAR_ONESELF = """
import os, socket
print(os.stat("/proc/self/ns/net").st_ino, os.getuid(), [name for _, name in socket.if_nameindex()])
group = socket.inet_aton("224.0.0.251") + socket.inet_aton("127.0.0.1")
ears = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ears.bind(("224.0.0.251", 0))
ears.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
ears.settimeout(10)
mouth = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
mouth.sendto(b"anybody there?", ears.getsockname())
print(ears.recv(100).decode())
"""


@pytest.mark.machines
def test_a_worker_hears_itself_alone_in_a_network_of_its_own() -> None:
    words = networks.own_network("popen").partition("python=")[2].split()
    ended = subprocess.run(
        [*words, "-c", _HEAR_ONESELF], capture_output=True, text=True, timeout=60, check=True
    )
    network, user, interfaces, heard = ended.stdout.replace("\n", " ", 1).split(" ", 3)
    assert int(network) != Path("/proc/self/ns/net").stat().st_ino
    assert (int(user), interfaces, heard.strip()) == (os.getuid(), "['lo']", "anybody there?")
    assert words[0] == sys.executable
