"""Public keys and thumbprints."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from fieldkit.specimens import specimen_agreement, specimen_signer
from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.keys import Jwk, VerifyingKey, jwk_of
from twochannel.protocol.wire import base64url, from_base64url


def test_the_thumbprint_of_a_published_key() -> None:
    # The key is that of RFC 7517 appendix A.1; the thumbprint was computed from RFC 7638 section 3
    # with: printf '{"crv":"P-256","kty":"EC","x":"…","y":"…"}' | openssl dgst -sha256 -binary |
    #       basenc --base64url
    jwk = Jwk(
        x="MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        y="4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    )
    assert jwk.thumbprint() == "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s"


def test_a_key_survives_the_way_through_its_jwk() -> None:
    key = specimen_signer("jack").key
    again = VerifyingKey.from_members(key.jwk.model_dump())
    assert again.kid == key.kid == jwk_of(again.public_key).thumbprint()
    assert again.point[0] == 4
    assert len(again.point) == 65


def test_both_ends_of_an_agreement_share_one_secret() -> None:
    jack, server = specimen_agreement("jack"), specimen_agreement("server")
    assert jack.exchange(server.key) == server.exchange(jack.key)
    assert len(jack.exchange(server.key)) == 32


@pytest.mark.parametrize(
    "change",
    [
        {"y": base64url(bytes(32))},
        {"x": base64url(b"\xff" * 32)},
        {"x": "short"},
        {"crv": "P-384"},
        {"kty": "RSA"},
        {"d": base64url(bytes(32))},
        {"x": None},
        {"x": 1},
        {"x": "A" * 42 + "B"},
    ],
)
def test_keys_off_the_curve_or_of_another_kind_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(StatementError) as refusal:
        VerifyingKey.from_members(specimen_signer("jack").key.jwk.model_dump() | change)
    assert refusal.value.code is ErrorCode.KEY_INVALID


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_random_points_are_not_keys(x: bytes, y: bytes) -> None:
    with pytest.raises(StatementError):
        VerifyingKey.from_jwk(Jwk(x=base64url(x), y=base64url(y)))


def test_a_key_on_another_curve_is_a_programmer_mistake() -> None:
    with pytest.raises(ValueError, match="P-256"):
        jwk_of(ec.generate_private_key(ec.SECP384R1()).public_key())


def test_signatures_are_raw_and_repeatable() -> None:
    signer = specimen_signer("jack")
    assert len(signer.sign(b"message")) == 64
    assert signer.sign(b"message") == signer.sign(b"message")
    assert len(from_base64url(signer.key.kid)) == 32
