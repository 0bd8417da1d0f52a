"""Talking to the agent that runs on this machine: HTTP over a Unix socket in its state folder.

The socket has mode 0600: whoever may use the agent's files may command it, nobody else. The
client half uses the standard library alone, so that a command line starts fast.
"""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from twochannel.protocol.errors import CodedError, ErrorCode

SOCKET_NAME = "control.sock"


class ControlError(Exception):
    """The agent does not run, or does not answer. The text says what to do next."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(
    state: Path,
    method: str,
    path: str,
    body: dict[str, object] | None = None,
    *,
    agent: str,
    timeout_s: float = 90.0,
) -> dict[str, Any]:
    """Send one request to the ``agent`` (its command's name) whose state folder is ``state``.

    Raises CodedError for a problem document, ControlError when there is no agent.
    """
    connection = _UnixConnection(state / SOCKET_NAME, timeout_s)
    try:
        connection.request(
            method,
            path,
            body=json.dumps(body) if body is not None else None,
            headers={"content-type": "application/json"} if body is not None else {},
        )
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read() or b"{}")
    except (FileNotFoundError, ConnectionError):
        raise ControlError(f"{agent} is not running here; start it with: {agent} run") from None
    except PermissionError:
        raise ControlError(f"{state} is another user's; ask as the one who runs {agent}") from None
    except (TimeoutError, http.client.HTTPException, json.JSONDecodeError):
        raise ControlError(f"{agent} did not answer; look at its log") from None
    finally:
        connection.close()
    if response.status >= 400:
        raise _coded(answer)
    return answer


def _coded(answer: dict[str, Any]) -> Exception:
    try:
        return CodedError(ErrorCode(answer["code"]), str(answer.get("detail", "")))
    except (KeyError, ValueError):
        return ControlError("the agent answered with an error that this version does not know")
