"""One try to tell a merchant: signed, to an address that may be reached, bounded in all ways.

Its host is looked up here and the connection made to the address that was checked, so that a name
cannot lead into the operator's own network, not even one that changes between look and use.
Redirects are not followed, no proxy is used, and little is read of the answer.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx
from standardwebhooks.webhooks import Webhook

from server.webhook_deliveries import Parcel, Try
from server.webhook_policy import allowed_address

#: More of an answer is not read: nothing in it matters but the status.
_MAX_ANSWER_BYTES: Final = 64 * 1024
_USER_AGENT: Final = "CigarJack-Webhooks/1"


class AddressError(Exception):
    """The host may not be told anything, or has no address."""


class Sender:
    """Sends parcels. ``loopback``: whether to this machine too. Close it at the end."""

    def __init__(
        self,
        clock_ms: Callable[[], int],
        timeout_s: float,
        *,
        loopback: bool = False,
        trusted: Path | None = None,
    ) -> None:
        """``trusted``: a file of certificates besides the machine's own."""
        self._clock_ms = clock_ms
        self.timeout_s = timeout_s
        self._loopback = loopback
        self._trusted = trusted
        self._http: httpx.AsyncClient | None = None

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()

    def _client(self) -> httpx.AsyncClient:
        """Made when it is first used: most servers tell nobody. Raises OSError."""
        if self._http is None:
            context = ssl.create_default_context()
            if self._trusted is not None:
                context.load_verify_locations(self._trusted)
            self._http = httpx.AsyncClient(
                verify=context, timeout=self.timeout_s, trust_env=False, follow_redirects=False
            )
        return self._http

    async def send(self, parcel: Parcel) -> Try:
        """Never raises: what went wrong is told."""
        at_ms = self._clock_ms()
        status, error = None, None
        try:
            async with asyncio.timeout(self.timeout_s):
                status = await self._post(parcel, at_ms)
        except TimeoutError:
            error = f"no answer within {self.timeout_s:g} s"
        except AddressError as refused:
            error = str(refused)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as failed:
            error = f"{type(failed).__name__}: {failed}"[:200]
        return Try(at_ms, max(self._clock_ms() - at_ms, 0), status, error)

    async def _post(self, parcel: Parcel, at_ms: int) -> int:
        """The status of the answer."""
        url, http = httpx.URL(parcel.url), self._client()
        address = await self._address(url)
        request = http.build_request(
            "POST",
            url.copy_with(host=address),
            content=parcel.body.encode(),
            headers={
                "host": url.netloc.decode("ascii"),
                "content-type": "application/json",
                "user-agent": _USER_AGENT,
                **signature_headers(parcel, at_ms),
            },
            extensions={"sni_hostname": url.host},
        )
        answer = await http.send(request, stream=True)
        try:
            read = 0
            async for chunk in answer.aiter_raw():
                read += len(chunk)
                if read > _MAX_ANSWER_BYTES:
                    break
        finally:
            await answer.aclose()
        return answer.status_code

    async def _address(self, url: httpx.URL) -> str:
        """The address to connect to; all that the host has are allowed. Raises AddressError."""
        port = url.port or (443 if url.scheme == "https" else 80)
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise AddressError(f"the host {url.host} has no address") from None
        addresses = [str(entry[4][0]) for entry in found]
        for address in addresses:
            if not allowed_address(address, loopback=self._loopback):
                raise AddressError(f"the host {url.host} is at {address}, which is not public")
        return addresses[0]


def signature_headers(parcel: Parcel, at_ms: int) -> dict[str, str]:
    """As Standard Webhooks has them; while a secret is replaced, one signature of each."""
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    signatures = [Webhook(s).sign(parcel.event_id, moment, parcel.body) for s in parcel.secrets]
    return {
        "webhook-id": parcel.event_id,
        "webhook-timestamp": str(at_ms // 1000),
        "webhook-signature": " ".join(signatures),
    }
