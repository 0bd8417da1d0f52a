"""To a jack over Wi-Fi: HTTPS to a pinned certificate (docs/protocol.md, section 5)."""

from __future__ import annotations

import asyncio
import ssl
from types import TracebackType
from typing import Final, Self

import httpx

from cigarjack.channel import JackClientError, problem
from twochannel import tls
from twochannel.protocol.limits import MAX_BODY_BYTES

#: The jack closes idle connections after 75 s; ours must go first, or a request meets a closed one.
_KEEP_ALIVE_S: Final = 60.0
_STATEMENT = {"content-type": "application/jwt"}


class WifiChannel:
    """Kept-alive connections to one address. ``certificate``: of the last peer, DER."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        authority = f"[{host}]" if ":" in host else host
        self.certificate: bytes | None = None
        self._http = httpx.AsyncClient(
            base_url=f"https://{authority}:{port}",
            verify=context,
            timeout=None,  # noqa: S113  # each exchange is bounded as a whole
            trust_env=False,  # a proxy of the environment never lies between phone and jack
            limits=httpx.Limits(keepalive_expiry=_KEEP_ALIVE_S),
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(kind, error, traceback)

    async def exchange(
        self, method: str, path: str, compact: str | None = None, *, timeout_s: float
    ) -> bytes:
        """See ``Channel``."""
        headers = _STATEMENT if compact is not None else {}
        try:
            async with (
                asyncio.timeout(timeout_s),
                tls.no_connection_left_behind() as extensions,
                self._http.stream(
                    method, path, content=compact, headers=headers, extensions=extensions
                ) as response,
            ):
                self.certificate = _peer_certificate(response)
                body = await _bounded_body(response)
        except TimeoutError:
            raise JackClientError("the jack does not answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise JackClientError(f"the jack cannot be reached: {reason}") from error
        if response.is_success:
            return body
        raise problem(body)


def _peer_certificate(response: httpx.Response) -> bytes:
    connection = response.extensions["network_stream"].get_extra_info("ssl_object")
    certificate: bytes = connection.getpeercert(binary_form=True)
    return certificate


async def _bounded_body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise JackClientError("the answer is too large for a jack's")
    return bytes(body)
