"""The table of known-bad kernels and BlueZ releases, reached by readings."""

from __future__ import annotations

from pathlib import Path

import pytest

from twochannel.doctor.findings import Absent, Missing, State, Unread
from twochannel.doctor.known_bad import (
    ANY,
    KNOWN_BAD,
    LATEST,
    Kernel,
    Range,
    bluez_version,
    kernel_of,
    pair_row,
)

_DEBIAN = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1 (2024-11-22)"
_PI = "#1 SMP PREEMPT Debian 1:6.12.93-1+rpt1 (2026-06-09)"


@pytest.mark.parametrize(
    ("release", "build", "signature", "version"),
    [
        ("6.1.0-28-amd64", _DEBIAN, "", (6, 1, 119)),
        ("6.12.93+rpt-rpi-v8", _PI, "", (6, 12, 93)),
        ("6.8.0-1068-raspi", "#72-Ubuntu SMP", "Ubuntu 6.8.0-1068.72-raspi 6.8.12", (6, 8, 12)),
        ("6.18.36", "#1 SMP", "", (6, 18, 36)),
        ("6.19-rc2", "#1 SMP", "", (6, 19, 0)),
    ],
)
def test_the_kernel_that_a_distribution_hides(
    release: str, build: str, signature: str, version: tuple[int, int, int]
) -> None:
    assert kernel_of(release, build, signature) == Kernel(release, version)


def test_a_kernel_without_a_number_is_unknown() -> None:
    assert isinstance(kernel_of("bsd", "", ""), Unread)


@pytest.mark.parametrize(
    ("modalias", "version"),
    [("usb:v1D6Bp0246d0542", (5, 66, 0)), ("usb:v1d6bp0246d0557", (5, 87, 0))],
)
def test_the_modalias_tells_the_bluez_that_runs(
    modalias: str, version: tuple[int, int, int]
) -> None:
    assert bluez_version(modalias) == version


@pytest.mark.parametrize("modalias", ["", "usb:v05ACp0001d0100", "bluetooth:v1D6Bp0246d0542x"])
def test_the_modalias_of_an_administrator_tells_nothing(modalias: str) -> None:
    assert isinstance(bluez_version(modalias), Unread)


@pytest.mark.parametrize(
    ("kernel", "bluez", "state"),
    [
        # Reported working, and failing, in the issues that the table names.
        ((6, 12, 87), (5, 79, 0), State.OK),
        ((6, 12, 93), (5, 79, 0), State.FAILING),
        ((6, 18, 33), (5, 82, 0), State.OK),
        ((6, 18, 34), (5, 82, 0), State.FAILING),
        ((6, 18, 35), (5, 86, 0), State.FAILING),
        ((6, 18, 36), (5, 82, 0), State.OK),
        ((6, 18, 34), (5, 87, 0), State.WARNING),
        ((6, 12, 47), (5, 87, 0), State.WARNING),
        ((6, 12, 47), (5, 88, 0), State.OK),
        ((6, 1, 56), (5, 66, 0), State.WARNING),
        ((6, 1, 57), (5, 66, 0), State.OK),
        ((6, 1, 176), (5, 66, 0), State.WARNING),
        ((6, 1, 190), (5, 66, 0), State.OK),
        ((6, 1, 192), (5, 66, 0), State.WARNING),
        ((6, 1, 193), (5, 66, 0), State.OK),
    ],
)
def test_the_table(kernel: tuple[int, int, int], bluez: tuple[int, int, int], state: State) -> None:
    row = pair_row(Kernel("6.x+rpt", kernel), bluez, advert_accepted=False)
    assert row.state is state
    assert bool(row.do) is (state is not State.OK)
    assert f"BlueZ {bluez[0]}.{bluez[1]}" in row.found


def test_an_advert_that_was_accepted_beats_the_table() -> None:
    bad = Kernel("6.12.99+rpt", (6, 12, 99))
    assert pair_row(bad, (5, 79, 0), advert_accepted=True).state is State.WARNING
    assert pair_row(bad, (5, 79, 0), advert_accepted=False).state is State.FAILING


@pytest.mark.parametrize("why", [Unread("no"), Absent("none")])
def test_what_is_not_known_is_not_judged(why: Missing) -> None:
    known = Kernel("6.18.34", (6, 18, 34))
    assert pair_row(known, why, advert_accepted=False).found == why.reason
    assert pair_row(why, (5, 82, 0), advert_accepted=False).found == why.reason


@pytest.mark.parametrize(
    ("versions", "text"),
    [
        (ANY, "any"),
        (Range((0, 0, 0), (5, 86, LATEST)), "up to 5.86"),
        (Range((6, 12, 93), (6, 12, LATEST)), "6.12.93 and later 6.12"),
        (Range((5, 87, 0), (5, 87, LATEST)), "5.87"),
        (Range((6, 18, 34), (6, 18, 35)), "6.18.34 to 6.18.35"),
    ],
)
def test_a_range_as_people_write_it(versions: Range, text: str) -> None:
    assert str(versions) == text


def test_every_entry_says_where_it_was_reported_and_what_to_do() -> None:
    for bad in KNOWN_BAD:
        assert "https://" in bad.source or Path(bad.source).is_file()
        assert bad.do
        assert bad.state in (State.WARNING, State.FAILING)
