"""HTTP whose request heads are bounded in size and in time.

uvicorn's fast protocol reads request lines and headers without end and waits for them for ever:
one stranger could fill the memory with a single header, or hold connections that say nothing.
Bodies are bounded by ``twochannel.intake.StrictDoor``. And a server that ends waits no longer for
connections on which nothing is asked: a client does not look at them, nor answers TLS's goodbye.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: A proof is the largest header that we know of, at 1 KiB; proxies add some of their own.
MAX_HEAD_BYTES: Final = 32 * 1024
#: From the first byte, or from the connection, to the end of the headers.
HEAD_TIMEOUT_S: Final = 10.0
#: For the goodbye to leave, and for a client that does look.
_GOODBYE_S: Final = 0.25


class BoundedHttp(HttpToolsProtocol):
    """Ends a connection whose request head is too large or does not come."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._in_head = True
        #: Of the head under way, as it came in and as it was parsed.
        self._raw_bytes = self._parsed_bytes = 0
        self._head_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._raw_bytes += len(data)
            if self._head_deadline is None:
                self._await_head()
        super().data_received(data)
        if self._in_head and self._raw_bytes > MAX_HEAD_BYTES:
            self._head_came()
            self.transport.close()

    def on_url(self, url: bytes) -> None:
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(name, value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._raw_bytes = self._parsed_bytes = 0
        self._head_came()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head = True
        super().on_message_complete()

    def shutdown(self) -> None:
        """The server ends: see uvicorn. It asks each connection once."""
        super().shutdown()
        if self.transport.is_closing():
            self.loop.call_later(_GOODBYE_S, self._part)

    def _part(self) -> None:
        """Once what was answered has left; a client that takes nothing has the server's grace."""
        if self.transport.get_write_buffer_size():
            self.loop.call_later(_GOODBYE_S, self._part)
        else:
            self.transport.abort()

    def _count(self, *parts: bytes) -> None:
        """What the parser hands on may have come in one piece: uvicorn answers the error 400."""
        self._parsed_bytes += sum(map(len, parts))
        if self._parsed_bytes > MAX_HEAD_BYTES:
            raise ValueError("the head of the request is too large")

    def _await_head(self) -> None:
        self._head_deadline = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def _head_came(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None
