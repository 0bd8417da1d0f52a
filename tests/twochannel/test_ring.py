"""Rings of files: what stays, what goes, and what a power cut may take."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from twochannel.ring import Keep, Ring, pieces

DAY_S = 86_400
NOW_S = 1_800_000_000.0
LINE = b"x" * 1023 + b"\n"
#: What fits into a piece of the smallest ring.
FULL = Keep(mib=1).piece_bytes // len(LINE)


def names(path: Path) -> list[str]:
    return [file.name for _, file in pieces(path)]


def test_the_oldest_pieces_go_when_it_is_full(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    written = Ring(path, Keep(mib=1))
    for _ in range(12 * FULL + 1):
        assert written.write(LINE)
    written.close()
    assert names(path) == [f"trace.{number:06}.jsonl" for number in range(6, 13)] + [path.name]
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2**20
    assert path.read_bytes() == LINE
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


def test_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    for _ in range(2):
        written = Ring(path, Keep(mib=1))
        for _ in range(FULL + 1):
            written.write(LINE)
        written.close()
    assert [number for number, _ in pieces(path)] == [1, 2, 3]
    assert [file.stat().st_size // len(LINE) for _, file in pieces(path)] == [FULL, FULL, 2]


def test_a_piece_is_a_days_and_goes_when_it_is_too_old(tmp_path: Path) -> None:
    path, now_s = tmp_path / "trace.jsonl", NOW_S
    written = Ring(path, Keep(mib=1, days=2), now_s=lambda: now_s)
    for day in range(6):
        now_s = NOW_S + day * DAY_S
        written.write(b"%d\n" % day)
        os.utime(path, (now_s, now_s))
    written.close()
    assert [file.read_bytes() for _, file in pieces(path)] == [b"3\n", b"4\n", b"5\n"]


def test_a_days_piece_ends_though_the_agent_was_started_anew(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(b"yesterday\n")
    os.utime(path, (NOW_S - DAY_S, NOW_S - DAY_S))
    written = Ring(path, Keep(), now_s=lambda: NOW_S)
    written.write(b"today\n")
    written.close()
    assert [file.read_bytes() for _, file in pieces(path)] == [b"yesterday\n", b"today\n"]


@pytest.mark.parametrize("clock_s", [5.0, NOW_S])
def test_a_clock_that_was_never_set_makes_nothing_old(tmp_path: Path, clock_s: float) -> None:
    path = tmp_path / "trace.jsonl"
    for number in range(1, 4):
        piece = tmp_path / f"trace.{number:06}.jsonl"
        piece.write_bytes(b"1970\n")
        os.utime(piece, (0, 0))
    Ring(path, Keep(days=1), now_s=lambda: clock_s).close()
    assert len(pieces(path)) == 4


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    for name in ("trace.old.jsonl", "trace.0.jsonl", "trace.jsonl.gz", "other.000001.jsonl"):
        (tmp_path / name).write_text("mine")
    Ring(path, Keep()).close()
    assert pieces(path) == [(1, path)]


def test_what_was_written_is_synchronised_within_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synchronised: list[int] = []
    real = os.fdatasync

    def noted(descriptor: int) -> None:
        synchronised.append(os.fstat(descriptor).st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", noted)
    written = Ring(tmp_path / "trace.jsonl", Keep())
    written.write(LINE)
    ends_at_s = time.monotonic() + 20
    while synchronised[-1:] != [len(LINE)] and time.monotonic() < ends_at_s:
        time.sleep(0.01)
    written.write(LINE)
    written.close()
    assert synchronised[0] == len(LINE)
    assert synchronised[-1] == 2 * len(LINE)


def test_a_ring_that_is_never_closed_holds_no_program(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from twochannel.ring import Keep, Ring;"
        "Ring(Path(sys.argv[1]), Keep()).write(b'last words')"
    )
    path = tmp_path / "trace.jsonl"
    line = [sys.executable, "-c", program, str(path)]
    assert subprocess.run(line, timeout=60, check=False).returncode == 0
    assert path.read_bytes() == b"last words"
