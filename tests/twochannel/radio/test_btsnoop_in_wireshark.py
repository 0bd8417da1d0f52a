"""What is recorded opens in Wireshark: its own ``tshark`` reads level, address and payload."""

from __future__ import annotations

import subprocess
from pathlib import Path

from twochannel.protocol import beacon
from twochannel.radio.btsnoop import HEADER, Record, encode

FIELDS = (
    "frame.time_epoch",
    "bthci_evt.le_meta_subevent",
    "bthci_evt.rssi",
    "bthci_evt.bd_addr",
    "bthci_evt.le_peer_address_type",
    "btcommon.eir_ad.entry.service_data",
)


def record(rssi_dbm: int, random_address: bool) -> Record:
    frame = beacon.BeaconFrame(0, bytes.fromhex("0123456789abcdef")).encode()
    return Record(
        1_790_000_000_123_456,
        0,
        "2A:01:02:03:04:05",
        random_address,
        beacon.SERVICE_UUID,
        frame,
        rssi_dbm,
    )


def read(file: Path) -> list[list[str]]:
    """The fields of every packet, as Wireshark has them."""
    asked = [word for name in FIELDS for word in ("-e", name)]
    done = subprocess.run(
        ["tshark", "-n", "-r", file, "-T", "fields", *asked],
        capture_output=True,
        text=True,
        check=False,
    )
    return [line.split("\t") for line in done.stdout.splitlines()]


def test_wireshark_reads_every_advert(tmp_path: Path) -> None:
    file = tmp_path / "adverts.btsnoop"
    records = [record(-57, True), record(-127, True), record(20, False)]
    whole = HEADER + b"".join(map(encode, records))
    # What a power cut left of a fourth one.
    file.write_bytes(whole + encode(record(-60, True))[:40])
    found = read(file)
    assert [fields[2] for fields in found] == ["-57", "-127", "20"]
    assert [int(fields[4], 16) for fields in found] == [1, 1, 0]
    for when, event, _, address, _, data in found:
        assert float(when) == 1_790_000_000.123456
        assert int(event, 16) == 0x0D
        assert address == "2a:01:02:03:04:05"
        assert data.replace(":", "") == records[0].service_data.hex()
