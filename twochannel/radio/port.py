"""The radio port: what the agents ask of Bluetooth LE, and nothing more.

A backend is one adapter that can broadcast and scan at the same time. It is opened with
``twochannel.radio.backends.open_radio(name)``, for example ``bumble:tcp-client:127.0.0.1:9000``
or ``bluez:AA:BB:CC:DD:EE:FF``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Protocol

#: The link's GATT service (docs/protocol.md, Phone and jack over GATT); random version 4 UUIDs.
LINK_SERVICE_UUID: Final = 0x6B1F7C52_8B0A_4E0B_9C0E_2F4D8A51E3C1
#: The phone writes requests here (write, and write without response). Once it has subscribed to the
#: answers it writes an empty one, by which a jack learns of it; that is no packet of the link.
LINK_REQUEST_UUID: Final = 0x6B1F7C53_8B0A_4E0B_9C0E_2F4D8A51E3C1
#: The jack notifies answers here, or indicates them; a phone takes either.
LINK_ANSWER_UUID: Final = 0x6B1F7C54_8B0A_4E0B_9C0E_2F4D8A51E3C1
#: What a link carries at the least: the default ATT_MTU of 23 bytes, less 3 of its header.
LEAST_PACKET_LIMIT_BYTES: Final = 20


class RadioError(Exception):
    """The adapter is missing, refused a command, or went away. The text says what to do next.

    Unless the backend mends it (see ``Radio.health``), a radio that went away stays lost: close it
    and open it again. That never hurts.
    """


class LinkError(Exception):
    """A connection could not be made, or has ended; the radio itself is well.

    The text says why. Try again, or another way.
    """


@dataclass(frozen=True, slots=True)
class Sighting:
    """One advert as it was received: never a merged or cached state.

    ``service_uuid``: 16-bit (``0xFEAA``) or 128-bit UUID as an integer.
    ``service_data``: the payload after the UUID.
    ``heard_at_s``: CLOCK_MONOTONIC seconds of this machine at reception.
    ``random_address``: False if ``address`` is a public one, the adapter's own for good. The same
    48 bits may be either, so that no connection can be made without knowing which.
    """

    address: str
    service_uuid: int
    service_data: bytes
    rssi_dbm: int
    heard_at_s: float
    random_address: bool = True


@dataclass(frozen=True, slots=True)
class Broadcast:
    """What to advertise: non-connectable, one service data element, no name, no static address.

    Each call of ``Advertiser.broadcast`` draws a fresh non-resolvable private address, so that
    no address outlives the payload it was sent with.
    """

    service_uuid: int
    service_data: bytes
    interval_ms: int


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a radio can do its work now.

    ``detail``: what is wrong and what to do, a sentence; empty if nothing is.
    ``since_s``: CLOCK_MONOTONIC seconds since which it is like this; of a radio that hears nothing
    any more, since it heard something last.
    ``rung``: the strongest thing that was done since it was well last; empty if nothing was.
    """

    ok: bool
    detail: str
    since_s: float
    rung: str = ""


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a radio is made of, for the record. ``adapter``: what the kernel calls it, like hci0.

    ``bluez``: the version of the bluetoothd that runs, None where it shows none.
    """

    adapter: str
    address: str
    bluez: str | None


class Advertiser(Protocol):
    """Sends one broadcast at a time on its adapter."""

    async def broadcast(self, broadcast: Broadcast) -> None:
        """Replace what is on the air by ``broadcast``, under a fresh private address.

        Returns once the controller has accepted it. A caller that is cancelled meanwhile leaves
        either the old or the new broadcast, never half of one. Raises RadioError, and
        ValueError if the payload passes one advert or the interval is not 20 to 10240 ms.
        """
        ...

    async def silence(self) -> None:
        """Take the broadcast off the air. Silent already is fine. Raises RadioError."""
        ...


class Scanner(Protocol):
    """Hears every advert with service data; delivers each received packet once.

    It listens from the moment the radio is opened until it is closed.
    """

    def sightings(self) -> AsyncIterator[Sighting]:
        """Adverts from now on, oldest first, for one consumer; ends when the radio closes.

        Iteration raises RadioError once the adapter is lost. A second call takes over: the
        first iteration ends. A slow consumer loses the oldest beyond 4096 waiting adverts;
        ``lost`` counts them.
        """
        ...

    @property
    def lost(self) -> int:
        """Sightings dropped so far because the consumer was slow."""
        ...

    @property
    def last_heard_at_s(self) -> float | None:
        """CLOCK_MONOTONIC seconds of the last advert of any kind, the sign of life of a radio."""
        ...


class Link(Protocol):
    """One GATT connection as an ordered pipe of packets. It keeps no secrets by itself."""

    @property
    def packet_limit_bytes(self) -> int:
        """Of the longest packet that ``send`` takes: ATT_MTU - 3, from 20 to 510."""
        ...

    async def send(self, packet: bytes) -> None:
        """Send 1 to ``packet_limit_bytes`` bytes. Raises LinkError once the connection is lost."""
        ...

    async def receive(self) -> bytes:
        """The next packet of the other side. Raises LinkError once the connection is lost."""
        ...

    async def close(self) -> None:
        """Hang up; ``send`` and ``receive`` raise LinkError from then on. Never raises."""
        ...


class Peripheral(Protocol):
    """Takes connections: the jack's side of the link."""

    def inviting(self, invitation: Broadcast) -> AbstractAsyncContextManager[AsyncIterator[Link]]:
        """Advertise ``invitation`` connectably while the block runs; the connections made by it.

        Its advert is that of ``adverts.advertising_data``, with Flags before it where the stack
        demands them, so that a 128-bit service has 10 bytes of data. Silence the advertiser
        before: one adapter has one advert, and the broadcast's address must not be seen with it.
        Leave it silent until the block ends. One is served at a time: while a connection lasts a
        kernel may put the invitation back on the air, but whoever else connects then is refused.
        After it has ended the invitation is on the air again. Leaving the block ends a connection
        that is still there. Raises RadioError.
        """
        ...


class Central(Protocol):
    """Makes connections: the phone's side of the link."""

    def connected(self, invitation: Sighting) -> AbstractAsyncContextManager[Link]:
        """A connection to whoever sent ``invitation``, ended with the block.

        Gives up after 10 s. Raises LinkError if it cannot be made or what answers has no link
        service, RadioError if the radio is lost.
        """
        ...


class Radio(Protocol):
    """One adapter. ``async with`` it; after the block it is silent and closed."""

    @property
    def name(self) -> str: ...

    @property
    def advertiser(self) -> Advertiser: ...

    @property
    def scanner(self) -> Scanner: ...

    @property
    def peripheral(self) -> Peripheral: ...

    @property
    def central(self) -> Central: ...

    @property
    def equipment(self) -> Equipment | None:
        """What it is made of, now that it is open; None where the backend cannot tell."""
        ...

    @property
    def health(self) -> Health:
        """How the radio is, for watchdogs. Some backends mend themselves and recover from False;
        the others stay lost.
        """
        ...

    def report(self, told: Callable[[Health], None]) -> None:
        """Call ``told`` with each change of ``health`` from now on, as it happens."""
        ...

    async def __aenter__(self) -> Radio: ...

    async def __aexit__(self, *failure: object) -> None: ...
