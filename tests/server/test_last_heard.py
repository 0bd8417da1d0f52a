"""When devices were last heard of. Whose word counts: see the dashboard's pages."""

from __future__ import annotations

import pytest

from server import last_heard
from server.last_heard import LastHeard


def test_the_last_word_counts_and_the_longest_silence_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(last_heard, "REMEMBERED", 2)
    times_ms = iter((1, 2, 3, 4))
    heard = LastHeard(lambda: next(times_ms))
    for device in ("a", "b", "a", "c"):
        heard.note(device)
    assert [heard.of(device) for device in ("a", "b", "c", "d")] == [3, None, 4, None]
