"""The pump as the terminal reaches it: read its counter, release it up to a limit, lock it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol, Self

import httpx

from payment_device.fuel import Reading

#: A pump is in the same machine or on the same desk.
_TIMEOUT_S = 5.0


class DispenserError(Exception):
    """The pump does not answer. The text says what to do next."""


class Dispenser(Protocol):
    """A pump. All of it may be asked again: the limit is one of the pump's own counter."""

    async def reading(self) -> Reading:
        """Raises DispenserError."""
        ...

    async def release(self, limit_total_ml: int) -> None:
        """It gives fuel until its counter is there. Raises DispenserError."""
        ...

    async def lock(self) -> None:
        """It gives none. Raises DispenserError."""
        ...


class SocketDispenser:
    """A pump that answers HTTP on a Unix socket, such as the simulated one."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        transport = httpx.AsyncHTTPTransport(uds=str(socket))
        self._client = httpx.AsyncClient(
            transport=transport, base_url="http://pump", timeout=_TIMEOUT_S
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._client.aclose()

    async def reading(self) -> Reading:
        told = await self._ask("GET", "/v1/state")
        return Reading(told["total_ml"], told["nozzle_lifted"], told["released"])

    async def release(self, limit_total_ml: int) -> None:
        await self._ask("POST", "/v1/release", {"limit_total_ml": limit_total_ml})

    async def lock(self) -> None:
        await self._ask("POST", "/v1/lock", {})

    async def _ask(
        self, method: str, path: str, body: dict[str, object] | None = None
    ) -> dict[str, Any]:
        try:
            answer = await self._client.request(method, path, json=body)
            answer.raise_for_status()
            told: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise DispenserError(
                f"the pump does not answer at {self._socket} ({type(error).__name__});"
                " start it: payment-device pump"
            ) from None
        return told
