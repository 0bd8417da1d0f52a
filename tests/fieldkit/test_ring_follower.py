"""Following a ring that turns: every byte, in order, once."""

from __future__ import annotations

import io
from pathlib import Path

from fieldkit.ring_follower import RingFollower, follow
from twochannel.ring import Keep, Ring, pieces

LINE = b"x" * 4096


def line(number: int) -> bytes:
    return b"%08d" % number + LINE + b"\n"


def looked(follower: RingFollower) -> bytes:
    out = io.BytesIO()
    looks = iter((True, False))
    follow(follower, out, lambda: next(looks))
    return out.getvalue()


def test_what_was_written_between_a_look_and_a_turn_is_not_missed(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    follower = RingFollower(path)
    assert looked(follower) == b""
    ring, said, written = Ring(path, Keep(mib=1)), b"", b""
    for number in range(1000):
        ring.write(line(number))
        written += line(number)
        if number % 37 == 0:  # a piece has 31 lines: it has turned once or twice
            said += looked(follower)
    said += looked(follower)
    ring.close()
    assert said == written
    assert pieces(path)[0][0] > 20  # what is said first is there no more


def test_a_piece_that_is_gone_is_a_gap_and_no_end(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    follower = RingFollower(path)
    ring = Ring(path, Keep(mib=1))
    ring.write(line(0))
    assert looked(follower) == line(0)
    for number in range(1, 1000):
        ring.write(line(number))
    ring.close()
    said = looked(follower)
    assert said.endswith(line(999))
    assert said == b"".join(file.read_bytes() for _, file in pieces(path))
