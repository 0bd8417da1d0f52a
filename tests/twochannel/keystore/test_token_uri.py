"""URIs of tokens: RFC 7512 as far as it is meant here, and nothing secret in what is refused."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twochannel.keystore.port import KeyStoreError
from twochannel.keystore.token_uri import TokenUri, parse

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def test_a_usual_uri() -> None:
    uri = parse(f"pkcs11:token=cigarjack?module-path={MODULE}&pin-source=/etc/cigarjack/pin")
    assert uri == TokenUri(MODULE, token="cigarjack", pin_source="/etc/cigarjack/pin")
    assert uri.name == "cigarjack"


def test_a_uri_by_serial_number() -> None:
    uri = parse(f"pkcs11:serial=0123;manufacturer=M;model=T1;object=pi?module-path={MODULE}")
    assert uri == TokenUri(MODULE, serial="0123", manufacturer="M", model="T1", key_prefix="pi")
    assert uri.name == "with serial number 0123"


@given(token=TEXT, module=TEXT, pin=TEXT)
def test_percent_encoding_is_undone(token: str, module: str, pin: str) -> None:
    text = f"pkcs11:token={quote(token)}?module-path={quote('/' + module)}&pin-source={quote(pin)}"
    assert parse(text) == TokenUri("/" + module, token=token, pin_source=pin)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("file", "not a pkcs11: URI"),
        ("PKCS11:token=a", "not a pkcs11: URI"),
        ("pkcs11:", "names no token"),
        (f"pkcs11:?module-path={MODULE}", "names no token"),
        ("pkcs11:token=a", "module-path"),
        ("pkcs11:token=a?module-path=libsofthsm2.so", "module-path"),
        (f"pkcs11:token=a;token=b?module-path={MODULE}", "twice"),
        (f"pkcs11:token=?module-path={MODULE}", "empty"),
        (f"pkcs11:token=%zz?module-path={MODULE}", "malformed"),
        (f"pkcs11:token=a%?module-path={MODULE}", "malformed"),
        (f"pkcs11:token=%ff?module-path={MODULE}", "not UTF-8"),
        (f"pkcs11:token=a;type=private?module-path={MODULE}", "type of the pkcs11: URI is not"),
        (f"pkcs11:token=a?module-path={MODULE}&module-name=x", "module-name of the pkcs11: URI"),
        (f"pkcs11:token=a;object=my%20jack?module-path={MODULE}", "object="),
        (f"pkcs11:token=a;object={'a' * 21}?module-path={MODULE}", "object="),
        (f"pkcs11:token=a;?module-path={MODULE}", "something of the pkcs11: URI"),
    ],
)
def test_what_is_wrong_is_told(text: str, reason: str) -> None:
    with pytest.raises(KeyStoreError, match=reason):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        f"pkcs11:token=a?module-path={MODULE}&pin-value=S3cret",
        "pkcs11:token=a?pin-value=S3cret",
        f"pkcs11:token=a;S3cret?module-path={MODULE}",
        f"pkcs11:token=a?module-path={MODULE}&S3cret",
    ],
)
def test_a_pin_in_the_uri_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(KeyStoreError) as refused:
        parse(text)
    assert "S3cret" not in str(refused.value)
