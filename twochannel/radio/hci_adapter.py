"""One HCI controller behind a Bumble transport: virtual over TCP, or a USB or serial dongle.

Only Bumble's ``Host`` is used, not its ``Device``, which loads SMP and classic profiles that
neither a beacon nor a scanner nor a link needs. Advertising reports do not pass through ``Host``
at all: it decodes and formats every packet, and a busy site sends thousands of adverts a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from bumble import hci
from bumble.host import Host
from bumble.transport import open_transport
from bumble.transport.common import Transport

from twochannel.radio import adverts
from twochannel.radio.port import RadioError

_log = logging.getLogger(__name__)

OPEN_TIMEOUT_S = 10.0  # a USB dongle enumerates in under 2 s; a TCP peer answers at once
RESET_TIMEOUT_S = 30.0  # Intel and Realtek dongles load their firmware here
COMMAND_TIMEOUT_S = 5.0  # a healthy controller answers in milliseconds
CLOSE_TIMEOUT_S = 1.0

_T = TypeVar("_T")
_Command: TypeAlias = hci.HCI_SyncCommand[Any] | hci.HCI_AsyncCommand

_SILENT = "does not answer: unplug it, plug it back in"


class HciAdapter:
    """Opens the controller, sends it commands one sequence at a time, and notices its loss.

    ``on_report`` gets every HCI packet that reports adverts. ``lost`` gets its result, a
    sentence for the user, when the controller goes away or stops answering.
    """

    def __init__(self, name: str, transport_name: str, on_report: Callable[[bytes], None]) -> None:
        self._name = name
        self._transport_name = transport_name
        self._on_report = on_report
        self._transport: Transport | None = None
        self._host = Host()
        self._lock = asyncio.Lock()
        self._sequences: set[asyncio.Task[Any]] = set()
        self._closed = False
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    # --- opening and closing

    async def open(self) -> None:
        """Connect to the controller and reset it. Raises RadioError."""
        self._transport = await self._open_transport()
        self._transport.source.terminated.add_done_callback(self._on_terminated)
        self._transport.source.set_packet_sink(self)
        self._host.set_packet_sink(self._transport.sink)
        await self._reset()
        if self._host.supports_command(hci.HCI_WRITE_LE_HOST_SUPPORT_COMMAND):
            await self.send(
                hci.HCI_Write_LE_Host_Support_Command(le_supported_host=1, simultaneous_le_host=0)
            )

    async def close(self) -> None:
        """Silence the controller if it still answers, and let go of it."""
        self._closed = True
        await self._finish_sequences()
        if self._transport is None:
            return
        try:
            if not self.lost.done():
                await self._send(hci.HCI_Reset_Command(), CLOSE_TIMEOUT_S)
        except RadioError as error:
            _log.warning("radio %s did not stop when it was closed: %s", self._name, error)
        finally:
            await self._close_transport(self._transport)

    async def _finish_sequences(self) -> None:
        if self._sequences:
            _, hanging = await asyncio.wait(self._sequences, timeout=CLOSE_TIMEOUT_S)
            if hanging:
                self._lose(_SILENT)  # which ends them
                await asyncio.wait(hanging)

    async def _open_transport(self) -> Transport:
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                return await open_transport(self._transport_name)
        # Each transport raises errors of its own library (libusb, pyserial, sockets, asserts on
        # the name), so that no narrower class covers them.
        except Exception as error:
            raise RadioError(
                f'Cannot open the radio "{self._name}" ({_reason(error)}): check that the adapter '
                "is plugged in or the virtual air is running, that no other program uses it, "
                "and that the name is right."
            ) from error

    async def _reset(self) -> None:
        try:
            await self._answered(self._host.reset(), RESET_TIMEOUT_S)
        except RadioError:
            raise
        # The drivers that Bumble loads for some dongles have error classes of their own.
        except Exception as error:
            raise RadioError(
                f'The radio "{self._name}" did not start ({_reason(error)}): unplug it, plug it '
                "back in, or use another adapter."
            ) from error

    async def _close_transport(self, transport: Transport) -> None:
        await transport.close()
        # Wait until the socket is really gone, so that the next agent finds the adapter free.
        await asyncio.wait({transport.source.terminated}, timeout=CLOSE_TIMEOUT_S)

    def _on_terminated(self, terminated: asyncio.Future[None]) -> None:
        if not self._closed:
            error = terminated.exception()
            reason = f" ({error})" if error else ""
            self._lose(f"was disconnected{reason}: plug it back in or restart the virtual air")

    def _lose(self, what: str) -> None:
        if not self.lost.done():
            self.lost.set_result(f'The radio "{self._name}" {what}, then open it again.')

    # --- packets from the controller (Bumble's TransportSink)

    def on_packet(self, packet: bytes) -> None:
        if adverts.is_advertising_report(packet):
            self._on_report(packet)
        else:
            self._host.on_packet(packet)

    # --- commands to the controller

    @property
    def host(self) -> Host:
        """Bumble's own side, for connections: their events and data."""
        return self._host

    async def exclusively(self, sequence: Callable[[], Awaitable[_T]]) -> _T:
        """Run a sequence of commands alone, and to its end even if the caller is cancelled.

        Half a sequence would leave the radio deaf. Raises RadioError.
        """
        if self._closed:
            raise RadioError(f'The radio "{self._name}" is closed: open it again.')
        task = asyncio.create_task(self._alone(sequence))
        self._sequences.add(task)
        task.add_done_callback(self._sequences.discard)
        return await asyncio.shield(task)

    async def _alone(self, sequence: Callable[[], Awaitable[_T]]) -> _T:
        async with self._lock:
            return await sequence()

    async def send(self, command: _Command) -> None:
        """Send one command and wait until the controller has accepted it. Raises RadioError."""
        await self._send(command, COMMAND_TIMEOUT_S)

    async def _send(self, command: _Command, timeout_s: float) -> None:
        if self.lost.done():
            raise RadioError(self.lost.result())
        if isinstance(command, hci.HCI_AsyncCommand):
            exchange: Awaitable[Any] = self._host.send_async_command(command)
        else:
            exchange = self._host.send_sync_command(command)
        try:
            await self._answered(exchange, timeout_s)
        except hci.HCI_Error as error:
            raise RadioError(
                f'The radio "{self._name}" refused {command.name} ({error.error_name}): '
                "use another adapter, or another advertising interval."
            ) from error

    async def _answered(self, exchange: Awaitable[Any], timeout_s: float) -> None:
        """Wait for an exchange with the controller, but not longer than it lives."""
        task = asyncio.ensure_future(exchange)
        try:
            await asyncio.wait(
                {task, self.lost}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if task.done():
                task.result()
                return
        finally:
            task.cancel()
        self._lose(_SILENT)
        raise RadioError(self.lost.result())


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
