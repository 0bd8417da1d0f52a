"""Why nobody can be charged, as an attendant reads it."""

from __future__ import annotations

import pytest

from payment_device.answers import not_chosen
from payment_device.sightings import Absence, Ambiguity, Ambiguous, Nearby, NoJack
from twochannel.protocol.errors import ErrorCode

NEAR = Nearby(b"\xab\xcd" + bytes(6), -60, 1.0, quiet=False)


@pytest.mark.parametrize("reason", Absence)
def test_each_absence_is_told_in_words(reason: Absence) -> None:
    error = not_chosen(NoJack(reason))
    assert error.code is ErrorCode.NO_JACK_HEARD
    assert "jack" in error.detail
    assert "_" not in error.detail


@pytest.mark.parametrize("reason", Ambiguity)
def test_each_ambiguity_is_told_in_words_with_the_candidates(reason: Ambiguity) -> None:
    error = not_chosen(Ambiguous((NEAR,), reason))
    assert error.code is ErrorCode.JACK_AMBIGUOUS
    assert error.detail.endswith(": abcd (-60 dBm)")
    assert "_" not in error.detail
