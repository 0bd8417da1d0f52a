"""The till at the lane where the demo's car stands: one small payment after the other."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from fieldkit.cast import TerminalRole
from fieldkit.process import own_environment
from fieldkit.stage import Stage
from twochannel.control import ControlError
from twochannel.protocol.errors import CodedError

#: Within the limit up to which the phone of the demo's cast approves by itself.
AMOUNT_MINOR: Final = 450
AMOUNT: Final = "4.50"
CURRENCY: Final = "EUR"
COMMAND: Final = "payment-device"
_FAILED: Final = "failed"
_WAIT_S: Final = 30
_NS_PER_MS: Final = 1_000_000
_DEADLINE_S: Final = 90.0


def lane(stage: Stage) -> TerminalRole:
    """The terminal beside which the car stands."""
    return stage.cast.terminals[0]


async def charge_by_command(stage: Stage, reference: str) -> tuple[float, dict[str, Any]]:
    """``payment-device charge …`` as a process: see ``timed``."""
    state = str(stage.state(lane(stage).name))
    arguments = ["--state", state, "charge", AMOUNT, CURRENCY, "--reference", reference, "--json"]
    return await asyncio.to_thread(timed, [*console_script(), *arguments])


def console_script() -> list[str]:
    """The installed command, or its module where only the source tree is there."""
    installed = Path(sys.executable).with_name(COMMAND)
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "payment_device"]


def timed(line: list[str]) -> tuple[float, dict[str, Any]]:
    """Run a command that prints JSON: wall milliseconds from spawn to exit, and its answer.

    The status of what prints none is the code of its error, or ``failed``. Raises TimeoutExpired
    if it does not end.
    """
    started_ns = time.perf_counter_ns()
    ended = subprocess.run(
        line,
        env=own_environment(),
        capture_output=True,
        text=True,
        timeout=_DEADLINE_S,
        check=False,
    )
    taken_ms = (time.perf_counter_ns() - started_ns) / _NS_PER_MS
    return taken_ms, _answer(ended.stdout) or {"status": _refusal(ended.stderr)}


def _answer(text: str) -> dict[str, Any]:
    """The JSON object that a command printed, empty if it printed none."""
    try:
        printed = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return printed if isinstance(printed, dict) else {}


def _refusal(text: str) -> str:
    """The code of the problem that a command wrote to standard error."""
    error = _answer(text).get("error")
    return str(error.get("code", _FAILED)) if isinstance(error, dict) else _FAILED


async def charge_by_socket(stage: Stage, reference: str) -> str:
    """One payment, asked of the running terminal as a till program does it; how it ended."""
    body: dict[str, object] = {
        "amount": {"value": AMOUNT_MINOR, "currency": CURRENCY},
        "reference": reference,
        "wait_s": _WAIT_S,
    }
    try:
        payment = await stage.ask(lane(stage).name, "POST", "/v1/payments", body)
    except CodedError as error:
        return error.code.value
    except ControlError:
        return _FAILED
    return str(payment["status"])


async def interpreter_ms() -> float:
    """Wall milliseconds from spawn to exit of a Python that does nothing: the command's floor."""
    taken_ms, _ = await asyncio.to_thread(timed, [sys.executable, "-I", "-c", "pass"])
    return taken_ms
