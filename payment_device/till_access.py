"""How a till finds the terminal and shows that it may: an address and a token in a file.

The till's API listens on loopback, where every program of the machine can knock. Whoever can read
the file may charge, as the till does. The file stays over restarts, and so do address and token,
so that a till need not be told; delete it and restart, and there is a new token.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from twochannel.intake import problem_response
from twochannel.keystore.file import write_private
from twochannel.pages.access import same
from twochannel.protocol.errors import ErrorCode

FILE_NAME: Final = "till.json"
OPENAPI: Final = "/openapi.json"
_TOKEN_BYTES: Final = 32
#: In a folder that was made for the till, its group may read the file.
_FOR_THE_GROUP: Final = 0o640


@dataclass(frozen=True, slots=True)
class TillAccess:
    """``url``: of the API; empty before it has one."""

    url: str
    token: str

    @classmethod
    def recall(cls, file: Path) -> Self:
        """What the file says, or a fresh token. Raises OSError if it is there and unreadable."""
        try:
            members = json.loads(file.read_text(encoding="utf-8"))
            return cls(str(members["url"]), str(members["token"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return cls("", secrets.token_urlsafe(_TOKEN_BYTES))

    @property
    def port(self) -> int:
        """The last one; 0: none yet."""
        return urlsplit(self.url).port or 0

    def keep(self, file: Path, *, for_the_group: bool) -> None:
        """Write the file, durably; a till that reads it meanwhile gets the old one or this one.

        ``for_the_group``: of its folder, which hands its group down (mode 2750). Raises OSError.
        """
        if file.exists() and self == TillAccess.recall(file):
            return
        members = {"url": self.url, "token": self.token}
        write_private(file, (json.dumps(members, indent=1) + "\n").encode())
        if for_the_group:
            file.chmod(_FOR_THE_GROUP)


class TokenDoor:
    """ASGI middleware: whoever does not show the token gets 401 before a body is read."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._authorization = f"Bearer {token}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != OPENAPI and not self._is_shown(scope):
            refusal = problem_response(
                ErrorCode.TOKEN_REQUIRED, headers={"www-authenticate": "Bearer"}
            )
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_shown(self, scope: Scope) -> bool:
        return same(Headers(scope=scope).get("authorization", ""), self._authorization)
