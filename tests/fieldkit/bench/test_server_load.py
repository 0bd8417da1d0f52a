"""What a load of payments is made of."""

from __future__ import annotations

import pytest

from fieldkit.bench.server_load import Site, slots_begun


@pytest.mark.parametrize(("payments", "lanes"), [(500, 16), (16, 16), (3, 3)])
def test_no_lane_is_without_a_payment(payments: int, lanes: int) -> None:
    assert Site(payments, 16).lanes == lanes


@pytest.mark.parametrize(
    ("since_s", "until_s", "begun"),
    [(25600, 25600, 0), (25600, 25855, 0), (25855, 25856, 1), (25700, 26500, 3)],
)
def test_slots_begin_every_256_seconds(since_s: int, until_s: int, begun: int) -> None:
    assert slots_begun(since_s, until_s) == begun
