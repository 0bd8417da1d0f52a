"""The hint is what docs/protocol.md says, recomputed here from RFC 5869 and RFC 2104."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from cigarjack.hint import hint

LINK_KEY = bytes(range(32))


def test_the_hint_is_hmac_under_a_key_by_hkdf() -> None:
    extracted = hmac.digest(bytes(32), LINK_KEY, "sha256")
    hint_key = hmac.digest(extracted, b"cigarjack hint v1\x01", "sha256")
    expected = hmac.new(hint_key, b"0123456789abcdef", hashlib.sha256).hexdigest()[:16]
    assert hint(LINK_KEY, "0123456789abcdef") == expected


def test_each_instance_and_each_pairing_has_its_own() -> None:
    names = {hint(LINK_KEY, "one"), hint(LINK_KEY, "two"), hint(bytes(32), "one")}
    assert len(names) == 3


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_link_key_of_another_length_is_a_mistake(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        hint(bytes(length), "one")
