"""The one way to Stripe: one request for each call, and errors that say what may have been done.

The official library makes the requests and reads the answers. It never repeats one by itself: who
orders again, and how long that is safe, is decided by the outbox and the reconciler.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Mapping
from typing import Final, TypeVar

import httpx
import stripe

from server.processors.port import (
    KeyConflictError,
    OutcomeUnknownError,
    ProcessorBusyError,
    ProcessorError,
)

T = TypeVar("T")

# Below that the library writes whole requests and answers into the log, with tokens and addresses.
logging.getLogger("stripe").setLevel(logging.WARNING)

_CODE: Final = re.compile(r"[a-z0-9_]{1,64}")
#: Failures of httpx before a byte of the request has left.
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class RefusedError(Exception):
    """Stripe has not done what it was asked to do, finally. ``code``: why, as it says."""

    def __init__(self, code: str, *, declined: bool) -> None:
        super().__init__(code)
        self.code = code
        #: The card was declined; else the request itself was not acceptable.
        self.declined = declined


class _Http(stripe.HTTPClient):
    """The library's door for an HTTP client of one's own, with httpx behind it."""

    name = "httpx"

    def __init__(self, timeout_s: float) -> None:
        super().__init__()
        self._client = httpx.AsyncClient(timeout=timeout_s)

    async def request_async(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        post_data: str | None = None,
    ) -> tuple[bytes, int, Mapping[str, str]]:
        try:
            answer = await self._client.request(method, url, headers=headers, content=post_data)
        except _NOT_SENT as error:
            raise ProcessorBusyError(f"Stripe cannot be reached: {type(error).__name__}") from None
        except httpx.HTTPError as error:
            raise OutcomeUnknownError(f"no answer of Stripe: {type(error).__name__}") from None
        _check_text(answer.content)
        return answer.content, answer.status_code, answer.headers

    async def close_async(self) -> None:
        await self._client.aclose()


def _check_text(content: bytes) -> None:
    """The library fails in a way of its own on what is no UTF-8."""
    try:
        content.decode()
    except UnicodeDecodeError:
        raise OutcomeUnknownError("the answer cannot be read") from None


class StripeConnection:
    """``api`` is the library's first version of the API; wrap each of its calls in ``ask``."""

    def __init__(self, key: str, url: str, timeout_s: float) -> None:
        self._http = _Http(timeout_s)
        client = stripe.StripeClient(
            key, base_addresses={"api": url}, http_client=self._http, max_network_retries=0
        )
        self.api = client.v1

    async def close(self) -> None:
        await self._http.close_async()

    async def ask(self, call: Awaitable[T]) -> T:
        """The answer. Raises RefusedError and ProcessorError, and nothing else."""
        try:
            return await call
        except stripe.StripeError as error:
            raise _meant(error) from None


def _meant(error: stripe.StripeError) -> ProcessorError | RefusedError:
    """What an error of the library says about the order.

    A key that Stripe does not take (401, 403) means that nothing was done: it is tried again, for
    an operator may put it right. Failures of Stripe's own (409, 5xx, what cannot be read) may come
    after the deed.
    """
    match error:
        case stripe.IdempotencyError():
            return KeyConflictError("Stripe holds another order under this key")
        case stripe.RateLimitError():
            return ProcessorBusyError("Stripe is asked too often")
        case stripe.AuthenticationError() | stripe.PermissionError():
            return ProcessorBusyError("Stripe does not take the server's key")
        case stripe.CardError():
            return RefusedError(plain_code(error.code, "card_declined"), declined=True)
        case stripe.InvalidRequestError():
            return RefusedError(plain_code(error.code, "processor_refused"), declined=False)
        case _:
            return OutcomeUnknownError(f"Stripe failed: HTTP {error.http_status}")


def plain_code(code: object, otherwise: str) -> str:
    """A code of Stripe's that may stand in our answers, or ``otherwise``."""
    return code if isinstance(code, str) and _CODE.fullmatch(code) else otherwise
