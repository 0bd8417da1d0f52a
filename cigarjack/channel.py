"""What a phone asks its jack through: Wi-Fi or GATT, with the same requests and refusals."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from twochannel.protocol.errors import CodedError, ErrorCode, StatementError
from twochannel.protocol.wire import parse_object


class JackClientError(Exception):
    """The jack cannot be reached there, or whoever answers is not the jack."""


class Channel(Protocol):
    """A way to one jack. ``async with`` it, which may raise JackClientError."""

    async def exchange(
        self, method: str, path: str, compact: str | None = None, *, timeout_s: float
    ) -> bytes:
        """One request; the body of its answer. ``compact``: the statement to send.

        Raises JackClientError, and CodedError for the jack's refusal.
        """
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def text(body: bytes) -> str:
    """The statement in an answer. Raises StatementError."""
    try:
        return body.decode("ascii")
    except UnicodeDecodeError:
        raise StatementError(ErrorCode.MESSAGE_MALFORMED, "a statement is ASCII text") from None


def problem(body: bytes) -> Exception:
    """The CodedError that a problem document stands for, or a JackClientError if it is none."""
    try:
        members = parse_object(body)
        return CodedError(ErrorCode(str(members.get("code"))), str(members.get("detail", ""))[:200])
    except (StatementError, ValueError):
        return JackClientError("the answer is not one of a jack")
