"""The server as its operator has it: a process of its own, started from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from server.payments import statement_of
from server.state import StateFolder
from tests.server.devices import Devices
from twochannel.protocol.statements import Challenge
from twochannel.tls import client_context

DEADLINE_S = 30.0


@dataclass
class Process:
    """A running ``cigarjack-server run``: what it said when it was ready, and its log."""

    popen: subprocess.Popen[str]
    ready: dict[str, Any]
    log: Path

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; the exit code."""
        self.popen.send_signal(number)
        return self.popen.wait(DEADLINE_S)


def command(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "server", "--state", str(state), *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env=environment(),
    )


def environment() -> dict[str, str]:
    """This process's, without settings of a server that happens to be around."""
    return {k: v for k, v in os.environ.items() if not k.startswith("CIGARJACK_SERVER_")}


def client(folder: StateFolder, url: str) -> httpx.Client:
    context = client_context(folder.certificate())
    return httpx.Client(base_url=url, verify=context, timeout=DEADLINE_S, trust_env=False)


def wait_for_end(http: httpx.Client, devices: Devices, payment: str) -> dict[str, object]:
    path = f"/v1/payments/{payment}"
    proof = devices.proof(devices.terminal, "GET", path)
    headers = {"authorization": f"Bearer {proof}", "prefer": "wait=20"}
    answer: dict[str, object] = http.get(path, headers=headers).json()
    return answer


def challenge_of(folder: StateFolder, payment: str) -> str:
    store = folder.open_store()
    compact = str(store.read_now(lambda c: statement_of(c, payment, Challenge.TYP).compact))
    store.close_now()
    return compact


@contextmanager
def started(state: Path, *flags: str) -> Iterator[Process]:
    """``run`` while the block runs; killed at its end if it still runs."""
    log = state.with_name(f"{state.name}.log")
    with log.open("a") as stderr:
        popen = subprocess.Popen(
            [sys.executable, "-m", "server", "--state", str(state), "run", *flags],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=environment(),
        )
    assert popen.stdout is not None
    try:
        yield Process(popen, json.loads(popen.stdout.readline()), log)
    finally:
        popen.kill()
        popen.wait(DEADLINE_S)
        popen.stdout.close()
