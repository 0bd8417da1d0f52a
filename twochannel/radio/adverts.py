"""The bytes of a legacy advert, as pure functions: what is broadcast, and what was heard.

An advert carries up to 31 bytes of *advertising data*: elements of one length byte, one type
byte and a body (Bluetooth Core spec, Vol 3 Part C section 11; element types in the Core
Specification Supplement, Part A).

A broadcast of ours holds, in this order:

- 16-bit service: ``03 03 <uuid LE>`` (complete list of 16-bit services), then
  ``<len> 16 <uuid LE> <service data>``. These two are what the Eddystone protocol
  specification requires of every frame.
- 128-bit service: ``<len> 21 <uuid LE> <service data>``. There is no room for a list.

Flags are left out: they are optional in a non-connectable advert (CSS Part A section 1.3), and
a broadcaster must not claim to be discoverable (Vol 3 Part C section 9.1.1). An invitation, which
is connectable, has them before everything else, as stacks demand of it: ``02 01 06``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

ADVERTISING_DATA_LIMIT_BYTES = 31  # Core spec, Vol 6 Part B section 2.3.1

FLAGS = 0x01
COMPLETE_16_BIT_SERVICES = 0x03
SERVICE_DATA_16_BIT = 0x16
SERVICE_DATA_128_BIT = 0x21

# LE General Discoverable Mode, BR/EDR Not Supported (CSS Part A section 1.3.2).
_LE_ONLY_DISCOVERABLE = b"\x06"

# HCI event packet (0x04), LE Meta event (0x3E), subevent LE Advertising Report (0x02):
# Core spec, Vol 4 Part E section 7.7.65.2.
_HCI_EVENT = 0x04
_LE_META_EVENT = 0x3E
_ADVERTISING_REPORT = 0x02
_REPORTS_OFFSET = 5  # packet type, event code, length, subevent, number of reports
_REPORT_HEADER_BYTES = 9  # event type, address type, address, data length


@dataclass(frozen=True, slots=True)
class Report:
    """One received advert. ``address`` reads as people write it, most significant byte first."""

    event_type: int
    address: str
    advertising_data: bytes
    rssi_dbm: int
    random_address: bool


def advertising_data(service_uuid: int, service_data: bytes) -> bytes:
    """The advertising data of one broadcast.

    ``service_uuid`` below 0x10000 is a 16-bit service, anything else a 128-bit one.
    Raises ValueError if the UUID does not fit or the advert would pass 31 bytes.
    """
    if 0 <= service_uuid < 1 << 16:
        uuid = service_uuid.to_bytes(2, "little")
        data = _element(COMPLETE_16_BIT_SERVICES, uuid)
        data += _element(SERVICE_DATA_16_BIT, uuid + service_data)
    elif 0 <= service_uuid < 1 << 128:
        data = _element(SERVICE_DATA_128_BIT, service_uuid.to_bytes(16, "little") + service_data)
    else:
        raise ValueError("a service UUID has 16 or 128 bits")
    return _within_limit(data)


def invitation_data(service_uuid: int, service_data: bytes) -> bytes:
    """The advertising data of one invitation: that of a broadcast with Flags before it.

    Raises ValueError as ``advertising_data`` does.
    """
    data = advertising_data(service_uuid, service_data)
    return _within_limit(_element(FLAGS, _LE_ONLY_DISCOVERABLE) + data)


def _within_limit(data: bytes) -> bytes:
    if len(data) > ADVERTISING_DATA_LIMIT_BYTES:
        raise ValueError(f"an advert holds 31 bytes, this one would need {len(data)}")
    return data


def first_service_data(data: bytes) -> tuple[int, bytes] | None:
    """UUID and payload of the first service data element; None if the advert has none.

    Whatever cannot be read counts as not there: foreign adverts are often malformed.
    """
    for kind, body in _elements(data):
        if kind == SERVICE_DATA_16_BIT and len(body) >= 2:
            return int.from_bytes(body[:2], "little"), body[2:]
        if kind == SERVICE_DATA_128_BIT and len(body) >= 16:
            return int.from_bytes(body[:16], "little"), body[16:]
    return None


def is_advertising_report(packet: bytes) -> bool:
    """True for an HCI packet that reports received legacy adverts."""
    return (
        len(packet) >= _REPORTS_OFFSET
        and packet[0] == _HCI_EVENT
        and packet[1] == _LE_META_EVENT
        and packet[3] == _ADVERTISING_REPORT
    )


def reports(packet: bytes) -> Iterator[Report]:
    """The adverts of an advertising report packet, in order; stops at the first cut short."""
    offset = _REPORTS_OFFSET
    for _ in range(packet[4]):
        data_at = offset + _REPORT_HEADER_BYTES
        if data_at > len(packet):
            return
        rssi_at = data_at + packet[data_at - 1]
        if rssi_at >= len(packet):
            return
        yield Report(
            event_type=packet[offset],
            address=packet[offset + 2 : offset + 8][::-1].hex(":").upper(),
            advertising_data=packet[data_at:rssi_at],
            rssi_dbm=int.from_bytes(packet[rssi_at : rssi_at + 1], "little", signed=True),
            random_address=bool(packet[offset + 1] & 1),  # public, random, or one resolved to them
        )
        offset = rssi_at + 1


def _element(kind: int, body: bytes) -> bytes:
    # bytes() refuses a length above 255 with a ValueError, as documented above.
    return bytes((len(body) + 1, kind)) + body


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    # A length of zero ends the significant part early (Vol 3 Part C section 11).
    while offset + 1 < len(data) and data[offset]:
        end = offset + 1 + data[offset]
        if end > len(data):
            return
        yield data[offset + 1], data[offset + 2 : end]
        offset = end
