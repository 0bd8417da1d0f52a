"""The floors measured here and now. No figure is judged: only that they are figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from fieldkit.bench import commit_floor, crypto_floor
from fieldkit.bench.crypto_floor import CryptoFloor, CryptoGauge


def test_the_floors_of_a_payment_count_its_operations() -> None:
    floor = CryptoFloor(
        sign_ms=1.0, verify_ms=10.0, sign_statement_ms=100.0, verify_statement_ms=1000.0
    )
    assert floor.server_ms == 3 * 10 + 2 * 1
    assert floor.server_statements_ms == 3 * 1000 + 2 * 100
    assert floor.chain_ms == 7 * 10 + 5 * 1


def test_every_operation_takes_time() -> None:
    floor = crypto_floor.measure(repeats=3)
    assert min(floor.sign_ms, floor.verify_ms) > 0
    assert min(floor.sign_statement_ms, floor.verify_statement_ms) > 0


def test_a_gauge_without_samples_has_no_floor() -> None:
    with pytest.raises(ValueError):
        CryptoGauge().floor()


def test_a_commit_leaves_nothing_behind(tmp_path: Path) -> None:
    commits = commit_floor.measure(tmp_path, repeats=3)
    assert commits.count == 3
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="unable to open"):
        commit_floor.measure(tmp_path / "missing")
