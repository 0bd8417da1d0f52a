"""Publishes an agent's condition and the statuses of payments, whenever the broker is there.

It listens to the trace. Whatever the broker does, the agent goes on: what is to be sent waits in a
bounded outbox, and one line of the log tells each time that the broker is lost or found.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiomqtt import Client, MqttError, Will

from twochannel.broker_address import BrokerAddress
from twochannel.mqtt.outbox import Message, Outbox
from twochannel.radio.watch import all_of

_log = logging.getLogger(__name__)

#: What of a trace is published: how the agent is, and what became of payments.
PUBLISHED: Final = frozenset(
    {
        "clock_stepped",
        "health",
        "payment_known",
        "payment_settled",
        "payment_status",
        "power",
        "radio_lost",
        "radio_recovered",
        "temperature",
    }
)
#: At least once: a lost message would be a gap, and readers tell doubles by their times.
_QOS: Final = 1
_FIRST_RETRY_S: Final = 1.0
_LAST_RETRY_S: Final = 60.0
#: An agent that stops waits no longer than this for its last words to go.
_GOODBYE_S: Final = 1.0


@dataclass(frozen=True)
class Broker:
    """Where to publish, and how to get in. ``tls``: None without TLS."""

    address: BrokerAddress
    password: str | None
    tls: ssl.SSLContext | None


class Publisher:
    """One agent's messages. Give ``take`` to its trace."""

    def __init__(self, broker: Broker, party: str, name: str, *, limit: int | None = None) -> None:
        """``name``: of the agent among those of its party. ``limit``: of what waits."""
        self._broker = broker
        self._topics = f"{broker.address.prefix}/{party}/{name}"
        self._outbox = Outbox(limit) if limit else Outbox()
        self._connected: bool | None = None
        self._stopping = asyncio.Event()

    @property
    def dropped(self) -> int:
        """Messages that were given up because too many waited."""
        return self._outbox.dropped

    def take(self, line: Mapping[str, object]) -> None:
        """See ``twochannel.trace.Listener``."""
        event = str(line["event"])
        if event in PUBLISHED:
            payload = json.dumps(line, separators=(",", ":")).encode()
            self._outbox.put(Message(f"{self._topics}/{event}", payload))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Publish while the block runs; then say so, if the broker is there."""
        task = asyncio.create_task(self._publish_for_ever(), name="mqtt")
        try:
            yield
        finally:
            self._stopping.set()
            if self._connected:
                await asyncio.wait({task}, timeout=_GOODBYE_S)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _publish_for_ever(self) -> None:
        retry_s = _FIRST_RETRY_S
        while not self._stopping.is_set():
            try:
                async with self._client() as client:
                    await self._say(client, "online")
                    self._tell(connected=True)
                    retry_s = _FIRST_RETRY_S
                    await self._serve(client)
            except (MqttError, OSError) as error:
                self._tell(connected=False, reason=str(error) or type(error).__name__)
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, _LAST_RETRY_S)

    def _client(self) -> Client:
        address = self._broker.address
        return Client(
            address.host,
            address.port,
            username=address.user,
            password=self._broker.password,
            tls_context=self._broker.tls,
            will=Will(f"{self._topics}/status", b"offline", _QOS, retain=True),
        )

    async def _serve(self, client: Client) -> None:
        """Until told to stop, or the broker is lost. Raises MqttError, OSError."""
        working = asyncio.ensure_future(all_of(self._send(client), _until_lost(client)))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)
        while message := self._outbox.take_now():
            await client.publish(*message, qos=_QOS)
        await self._say(client, "offline")

    async def _send(self, client: Client) -> None:
        while True:
            message = await self._outbox.take()
            try:
                await client.publish(*message, qos=_QOS)
            except BaseException:
                self._outbox.put_back(message)
                raise

    async def _say(self, client: Client, status: str) -> None:
        await client.publish(f"{self._topics}/status", status, qos=_QOS, retain=True)

    def _tell(self, *, connected: bool, reason: str = "") -> None:
        if connected is self._connected:
            return
        self._connected = connected
        address = self._broker.address
        about: dict[str, Any] = {"broker": f"{address.host}:{address.port}"}
        if connected:
            _log.info("mqtt_connected", extra=about | {"dropped": self.dropped})
        else:
            _log.warning("mqtt_lost", extra=about | {"reason": reason})


async def _until_lost(client: Client) -> None:
    """Nothing is subscribed, so that this ends by MqttError alone, when the connection does."""
    async for _ in client.messages:
        pass
