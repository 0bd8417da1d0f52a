"""Recorded adverts as btsnoop, the format of Bluetooth captures, which Wireshark opens. Pure.

A file has a header and then records, all big-endian: the length of the packet twice, flags,
cumulative drops, and the time in microseconds since the year 0 (RFC 1761, with the changes that
BlueZ's btmon and Android's HCI snoop log share). A packet is an HCI event with its type byte before
it: the LE Extended Advertising Report of one legacy advert (Core spec, Vol 4 Part E section
7.7.65.13), which any controller could have sent. Of the advert it holds what a sighting has: the
report is that of a legacy ADV_NONCONN_IND with the service data alone, also for an invitation.

The drops of a record are how many adverts of its run came before it and are not in this file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from twochannel.radio.adverts import advertising_data, first_service_data

_MAGIC: Final = b"btsnoop\0"
_VERSION: Final = 1
#: HCI UART (H4): the packet's type comes first.
_DATALINK: Final = 1002
_RECORD: Final = struct.Struct(">IIIIq")
#: Received by the host; a command or an event.
_FLAGS: Final = 0b11
#: From the year 0 to 1970, as everybody who writes btsnoop counts it.
_EPOCH_US: Final = 0x00DCDDB30F2F8000

_HCI_EVENT: Final = 0x04
_LE_META_EVENT: Final = 0x3E
_EXTENDED_REPORT: Final = 0x0D
#: A legacy ADV_NONCONN_IND.
_EVENT_TYPE: Final = 0x0010
_LE_1M: Final = 0x01
_NONE: Final = 0x00
_NO_SET: Final = 0xFF
_NO_TX_POWER: Final = 0x7F
#: Of one report: event type, address type, address, both PHYs, set, transmit power, RSSI,
#: periodic interval, direct address with its type, length of the data.
_REPORT: Final = struct.Struct("<HB6sBBBBbHB6sB")

HEADER: Final = _MAGIC + struct.pack(">II", _VERSION, _DATALINK)


class BtsnoopError(Exception):
    """These bytes are not a recording of adverts."""


@dataclass(frozen=True, slots=True)
class Record:
    """One advert. ``unix_us``: the record's time. ``dropped``: see above."""

    unix_us: int
    dropped: int
    address: str
    random_address: bool
    service_uuid: int
    service_data: bytes
    rssi_dbm: int


def encode(record: Record) -> bytes:
    """The bytes of one record. Raises ValueError if it does not fit into an advert."""
    data = advertising_data(record.service_uuid, record.service_data)
    report = _REPORT.pack(
        _EVENT_TYPE,
        int(record.random_address),
        bytes.fromhex(record.address.replace(":", ""))[::-1],
        *(_LE_1M, _NONE, _NO_SET, _NO_TX_POWER),
        record.rssi_dbm,
        *(0, 0, bytes(6)),
        len(data),
    )
    event = bytes((_EXTENDED_REPORT, 1)) + report + data
    packet = bytes((_HCI_EVENT, _LE_META_EVENT, len(event))) + event
    time_us = record.unix_us + _EPOCH_US
    head = _RECORD.pack(len(packet), len(packet), _FLAGS, record.dropped, time_us)
    return head + packet


def decode(data: bytes) -> Iterator[Record]:
    """The records of a file, up to its last whole one. Raises BtsnoopError.

    After a power cut a file may be as long as it was, and zero where its last bytes were.
    """
    if not any(data):
        return
    if data[: len(HEADER)] != HEADER[: len(data)]:
        raise BtsnoopError("it does not begin as btsnoop with HCI packets does")
    offset = len(HEADER)
    while offset + _RECORD.size <= len(data):
        _, length, _, dropped, time_us = _RECORD.unpack_from(data, offset)
        offset += _RECORD.size
        if offset + length > len(data):
            return
        packet, offset = data[offset : offset + length], offset + length
        try:
            record = _record(packet, dropped, time_us - _EPOCH_US)
        except BtsnoopError:
            if any(packet[-1:]) or any(data[offset:]):
                raise
            return
        yield record


def _record(packet: bytes, dropped: int, unix_us: int) -> Record:
    head = bytes((_HCI_EVENT, _LE_META_EVENT, max(0, len(packet) - 3), _EXTENDED_REPORT, 1))
    begins = len(head)
    if packet[:begins] != head or len(packet) < begins + _REPORT.size:
        raise BtsnoopError("a packet is not the report of one advert")
    _, kind, address, _, _, _, _, rssi_dbm, *_ = _REPORT.unpack_from(packet, begins)
    service = first_service_data(packet[begins + _REPORT.size :])
    if service is None:
        raise BtsnoopError("an advert has no service data")
    readable = address[::-1].hex(":").upper()
    return Record(unix_us, dropped, readable, bool(kind), *service, rssi_dbm)
