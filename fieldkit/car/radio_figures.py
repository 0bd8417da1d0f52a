"""What the tests of the BlueZ radio have measured, beside a run's own document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

#: In the folder of the car that ran them.
FILE: Final = "bluez-radio.json"
#: What it is in the document of ``fieldkit car check --json``.
MEMBER: Final = "bluez_radio"


def measured(folders: Sequence[Path]) -> dict[str, Any]:
    """The figures as a member of the document, if cars have left some in their folders."""
    found: dict[str, Any] = {}
    for file in (folder / FILE for folder in folders):
        if file.exists():
            found |= json.loads(file.read_text(encoding="utf-8"))
    return {MEMBER: found} if found else {}


def told(noted: Mapping[str, Any]) -> Iterator[str]:
    """A line for each figure that the tests which ran have noted."""
    if interval := noted.get("interval_ms"):
        yield (
            f"advert interval: median {interval['median']} ms, p99 {interval['p99']} ms, "
            f"{interval['asked']} ms asked; lane frame: {interval['lane_median']} ms, "
            f"{interval['lane_asked']} ms asked"
        )
    if change := noted.get("code_change"):
        for name, measure in (("first_sighting_ms", "first sighting"), ("gap_ms", "silence")):
            times_ms = change[name]
            median_ms, longest_ms = times_ms[len(times_ms) // 2], times_ms[-1]
            yield f"code change, {measure}: median {median_ms} ms, longest {longest_ms} ms"
    if reception := noted.get("reception"):
        yield (
            f"scanner: {reception['delivered']} of {reception['sent']} adverts delivered, "
            f"blind for {reception['longest_blind_ms']} ms at most, "
            f"{reception['rssi_values']} RSSI values"
        )
    if link := noted.get("link"):
        yield (
            f"link: connected in {link['connected_s']} s, then {link['carried_bytes']} bytes both "
            f"ways in {link['carried_s']} s"
        )
    for fault, took_s in noted.get("recovery_s", {}).items():
        yield f"recovery, {fault.replace('_', ' ')}: {took_s} s"
