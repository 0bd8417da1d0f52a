"""A bench whose machines are networks of their own in this one: name spaces, entered by SSH.

::

    jack ─── wlan0 ─── phone ───┐
    10.77.0.1      10.77.0.2    │ wire
    10.78.0.4      10.78.0.3    ├─── desk   10.78.0.254
    lane   10.78.0.2 ───────────┤
    server 10.78.0.1 ───────────┘

The jack is on the wire too, by which it is entered, but nothing goes from jack to phone or back on
it: they find and reach each other by ``wlan0`` alone. At the desk are the virtual air and whoever
plays. What the air offers there each machine has at its own loopback, brought by SSH.

Run as a program, this is the first process of a name space of processes: with it ends all that it
has started, however it ends itself, and a network goes with its last process.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from fieldkit.process import killed_with_parent
from fieldkit.venue import air_toml
from tests.sshd import Machine

#: Debian's package iproute2.
IP: Final = Path("/usr/bin/ip")
CUT: Final = ("ip", "link", "set", "wlan0", "down")
MEND: Final = ("ip", "link", "set", "wlan0", "up")
#: In a network that is new every port is free.
_CONTROL_PORT: Final = 9000
CONTROL: Final = f"127.0.0.1:{_CONTROL_PORT}"
_FIRST_RADIO_PORT: Final = 9001
_SSH_PORT: Final = 2222
_DESK: Final = "10.78.0.254"
_WIRE: Final = {
    "server": "10.78.0.1",
    "lane": "10.78.0.2",
    "phone": "10.78.0.3",
    "jack": "10.78.0.4",
}
_WIFI: Final = {"jack": "10.77.0.1", "phone": "10.77.0.2"}
_DEADLINE_S: Final = 30.0
_POLL_S: Final = 0.02
_TREE: Final = Path(__file__).parents[1]
#: Its network is there; what is to be in it is told when that is there too.
_MACHINE: Final = 'set -e; echo there; read -r _; ip -batch "$0"; exec "$@"'


def apart() -> list[str]:
    """What starts a program that may make networks, as the same user."""
    as_user = ["--user", "--map-current-user", "--keep-caps"] if os.getuid() else []
    return ["unshare", *as_user, "--net", "--pid", "--fork", "--kill-child", "--"]


@cache
def machines_can_be_made() -> bool:
    """Whether this user may, and this kernel has what connects them."""
    line = [*apart(), "ip", "-batch", "-"]
    laid = "link add name wire type bridge\nlink add name here type veth peer name there\n"
    try:
        ended = subprocess.run(
            line, input=laid.encode(), capture_output=True, check=False, timeout=_DEADLINE_S
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return ended.returncode == 0


class Machines:
    """``server``, ``jack``, ``phone`` and ``lane`` with a virtual air, while ``run`` runs."""

    def __init__(self, folder: Path, air_plan: Mapping[str, Any]) -> None:
        """``folder``: a short path, for what is written here."""
        self._folder = folder
        self._machines = {
            name: Machine(folder / name, address, _SSH_PORT) for name, address in _WIRE.items()
        }
        controllers = [dict(controller) for controller in air_plan["controllers"]]
        for port, controller in enumerate(controllers, start=_FIRST_RADIO_PORT):
            controller["port"] = port
        self._ports = {str(one["name"]): int(one["port"]) for one in controllers}
        plan = air_toml({**air_plan, "controllers": controllers})
        self._air_plan = folder / "air.toml"
        self._air_plan.write_text(f"control_port = {_CONTROL_PORT}\n{plan}")

    def radio(self, controller: str) -> str:
        return f"bumble:tcp-client:127.0.0.1:{self._ports[controller]}"

    def entry(self, name: str, controller: str | None = None, *, on_wifi: bool = True) -> str:
        """A host of a bench file, without its heading. ``on_wifi``: jack and phone are told where
        their Wi-Fi is.
        """
        machine = self._machines[name]
        entry: dict[str, Any] = {"ssh": machine.target, "ssh_options": machine.options}
        entry |= {"python": sys.executable, "address": machine.address}
        entry |= {"radio": self.radio(controller)} if controller else {}
        if on_wifi and name in _WIFI:
            entry |= {"interfaces": _WIFI[name], "address": _WIFI[name]}
        return "\n".join(f"{key} = {json.dumps(value)}" for key, value in entry.items())

    def run(self, command: Sequence[str], deadline_s: float) -> subprocess.CompletedProcess[str]:
        """Run it at the desk."""
        plan = {
            "servers": {name: machine.server for name, machine in self._machines.items()},
            "air": [sys.executable, "-m", "fieldkit.air", "--config", str(self._air_plan)],
            "brought": [self._brings_air(machine) for machine in self._machines.values()],
            "command": list(command),
        }
        (self._folder / "plan.json").write_text(json.dumps(plan))
        return subprocess.run(
            [*apart(), sys.executable, "-m", "tests.machines", str(self._folder)],
            cwd=_TREE,
            capture_output=True,
            text=True,
            check=False,
            timeout=deadline_s,
            preexec_fn=killed_with_parent,
        )

    def _brings_air(self, machine: Machine) -> list[str]:
        """Goes to the background once the machine has the ports of the air."""
        ports = (*self._ports.values(), _CONTROL_PORT)
        forwards = (("-R", f"127.0.0.1:{port}:127.0.0.1:{port}") for port in ports)
        options = ["-f", "-N", "-o", "ExitOnForwardFailure=yes", "-o", "BatchMode=yes"]
        options += [word for forward in forwards for word in forward]
        return ["ssh", *machine.options, *options, machine.target]


# --- at the desk


def _play(folder: Path) -> int:
    """All that ``Machines.run`` has planned; the exit code of its command."""
    plan = json.loads((folder / "plan.json").read_text())
    _lay({name: _start(folder / name, line) for name, line in plan["servers"].items()})
    air = subprocess.Popen(plan["air"], stdout=subprocess.PIPE)
    assert air.stdout is not None
    assert air.stdout.readline(), "the air has not begun"
    for address in _WIRE.values():
        _await_listening(address)
    for line in plan["brought"]:
        subprocess.run(line, stdin=subprocess.DEVNULL, check=True)
    return subprocess.run(plan["command"], check=False).returncode


def _start(folder: Path, server: Sequence[str]) -> subprocess.Popen[bytes]:
    """A machine with no interfaces, which waits for them."""
    line = ["unshare", "--net", "--", "sh", "-c", _MACHINE, str(folder / "network"), *server]
    machine = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert machine.stdout is not None
    assert machine.stdout.readline() == b"there\n"
    (folder / "network").write_text("\n".join(_interfaces(folder.name)))
    return machine


def _interfaces(machine: str) -> list[str]:
    """What brings up those of a machine, each a line of ``ip -batch``."""
    nets = {"wire": _WIRE[machine]} | ({"wlan0": _WIFI[machine]} if machine in _WIFI else {})
    lines = ["link set lo up"]
    for interface, address in nets.items():
        lines += [f"address add {address}/24 dev {interface}", f"link set {interface} up"]
    return lines


def _lay(machines: Mapping[str, subprocess.Popen[bytes]]) -> None:
    """Connect the machines, and let them go on."""
    pids = {name: machine.pid for name, machine in machines.items()}
    lines = ["link set lo up", "link add name wire type bridge", "link set wire up"]
    lines += [f"address add {_DESK}/24 dev wire"]
    for name, pid in pids.items():
        lines += [f"link add name {name} type veth peer name wire netns {pid}"]
        lines += [f"link set {name} master wire up"]
    # Nothing goes between two of these.
    lines += [f"link set {name} type bridge_slave isolated on" for name in _WIFI]
    ends = (f"name wlan0 netns {pids[name]}" for name in _WIFI)
    lines += [f"link add {' type veth peer '.join(ends)}"]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines).encode(), check=True)
    for machine in machines.values():
        assert machine.stdin is not None
        machine.stdin.write(b"\n")
        machine.stdin.flush()


def _await_listening(address: str) -> None:
    ends_at_s = time.monotonic() + _DEADLINE_S
    while time.monotonic() < ends_at_s:
        with contextlib.suppress(OSError):
            socket.create_connection((address, _SSH_PORT), 1.0).close()
            return
        time.sleep(_POLL_S)
    raise AssertionError(f"nobody listens at {address}")


if __name__ == "__main__":
    sys.exit(_play(Path(sys.argv[1])))
