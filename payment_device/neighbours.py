"""The lanes next to this one, over the network of their site: what they hear and what it hears.

Datagrams, for the last word is the only one that counts: one that is lost is replaced within a
quarter of a second, and a neighbour that is silent for a second counts for nothing.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from payment_device.hearing_message import KEY_BYTES, SALT_BYTES, Listener, SiteKey, Speaker
from payment_device.shared_hearing import SharedHearing
from twochannel.keystore.file import write_private
from twochannel.protocol.errors import FrameError, StatementError
from twochannel.protocol.wire import base64url, from_base64url

_log = logging.getLogger(__name__)

KEY_NAME: Final = "neighbours.key"
_PREFIX: Final = "CN1:"
_TELL_S: Final = 0.25
Address = tuple[str, int]


class NeighboursError(Exception):
    """The lanes cannot share. The text says what to do next."""


def parse_address(text: str) -> Address:
    """``"192.168.1.12:8474"``; no name, for to look one up takes its time. Raises ValueError."""
    host, _, port = text.rpartition(":")
    try:
        where = str(ip_address(host.removeprefix("[").removesuffix("]")))
    except ValueError:
        where = ""
    if not where or not re.fullmatch(r"[1-9][0-9]{0,4}", port, re.ASCII) or int(port) >= 2**16:
        raise ValueError(f"write ADDRESS:PORT, such as 192.168.1.12:8474, not {text!r}")
    return where, int(port)


def read_key(state: Path) -> SiteKey:
    """Raises NeighboursError."""
    try:
        return SiteKey(_parsed((state / KEY_NAME).read_text(encoding="utf-8").strip()))
    except FileNotFoundError:
        raise NeighboursError(
            "this lane has no key of its site yet: payment-device neighbours-key makes one, and"
            " payment-device neighbours-key CN1:… takes it on at every other lane"
        ) from None


def keep_key(state: Path, text: str | None) -> str:
    """Take on the key ``text``, or make one if there is none; the text. Raises NeighboursError."""
    file = state / KEY_NAME
    if text is None and file.exists():
        return file.read_text(encoding="utf-8").strip()
    key = secrets.token_bytes(KEY_BYTES) if text is None else _parsed(text)
    kept = f"{_PREFIX}{base64url(key)}"
    write_private(file, f"{kept}\n".encode())
    return kept


def _parsed(text: str) -> bytes:
    try:
        key = from_base64url(text.removeprefix(_PREFIX))
    except StatementError:
        key = b""
    if not text.startswith(_PREFIX) or len(key) != KEY_BYTES:
        raise NeighboursError("that is no key of a site; it begins with CN1: and has 47 letters")
    return key


class Neighbours(asyncio.DatagramProtocol):
    """Run ``run`` beside everything else. ``heard``: by code, what this lane tells."""

    def __init__(
        self,
        key: SiteKey,
        lane: str,
        addresses: Iterable[Address],
        heard: Callable[[], Mapping[bytes, float]],
        now_ms: Callable[[], int],
    ) -> None:
        self._key = key
        self._addresses = tuple(addresses)
        self._heard = heard
        self._now_ms = now_ms
        self._speaker = Speaker(key, secrets.token_bytes(SALT_BYTES), lane)
        self._listener = Listener(key)
        self._shared = SharedHearing()
        self.refused = 0

    async def run(self, listen: Address) -> None:
        """Tell and listen for ever. Raises OSError if the address is taken."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=listen)
        try:
            while True:
                told = self._speaker.seal(self._heard(), self._now_ms())
                for address in self._addresses:
                    transport.sendto(told, address)
                await asyncio.sleep(_TELL_S)
        finally:
            transport.close()

    def datagram_received(self, data: bytes, _address: object) -> None:
        try:
            told = self._listener.open(data, self._now_ms())
        except FrameError as error:
            self.refused += 1
            _log.debug("neighbour_refused", extra={"reason": str(error)})
            return
        self._shared.take(told.lane, told.levels_db, time.monotonic())

    def error_received(self, _error: Exception) -> None:
        """A neighbour that is off; the next datagram may reach it."""

    def lanes(self) -> int:
        """How many neighbours have told something within the last second."""
        return self._shared.lanes(time.monotonic())

    def elsewhere(self, codes: Iterable[bytes], now_s: float) -> dict[bytes, float]:
        """How well the best neighbour hears each of ``codes``, where one does."""
        best = self._shared.elsewhere(now_s)
        tags = {code: self._key.tag(code) for code in codes}
        return {code: best[tag] for code, tag in tags.items() if tag in best}
