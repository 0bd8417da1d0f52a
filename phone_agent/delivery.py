"""Sending a statement that is on disk already, as often as it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from server.client import ServerClient, statement_builder
from twochannel.protocol.envelope import Statement, unverified_claims
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.keys import Signer
from twochannel.protocol.limits import REQUEST_LIFETIME_S

#: The server does not hold the statement, and would take the same with another time in it.
_TIME_REFUSALS: Final = frozenset({ErrorCode.CLOCK_SKEW, ErrorCode.STATEMENT_EXPIRED})
#: The server could not answer now, or the time was corrected and was wrong again.
TRANSIENT: Final = frozenset({ErrorCode.CLOCK_SKEW, ErrorCode.INTERNAL_ERROR, ErrorCode.NOT_READY})


async def deliver(
    server: ServerClient,
    path: str,
    compact: str,
    model: type[Statement],
    signer: Signer,
    keep: Callable[[str], None],
) -> dict[str, Any]:
    """Send ``compact``, a statement of this phone, byte for byte as it was sent before, if it was.

    If the server does not hold it and refuses its time, it is signed again under the same id
    with the corrected time, and kept before it is sent.
    Raises ServerUnreachableError (send it again later), CodedError.
    """
    try:
        return await server.send(path, compact)
    except CodedError as error:
        if error.code not in _TIME_REFUSALS:
            raise
    statement = model.from_claims(unverified_claims(compact))
    build = statement_builder(lambda now_s: _at(statement, now_s), signer, keep)
    return await server.send(path, build(server.now_s()))


def _at(statement: Statement, now_s: int) -> Statement:
    return statement.model_copy(update={"iat": now_s, "exp": now_s + REQUEST_LIFETIME_S})
