"""What the tests of the BlueZ radio have measured, in lines for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


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
