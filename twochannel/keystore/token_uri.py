"""Which token, and how to get at it: ``pkcs11:`` URIs (RFC 7512), as far as a key store needs them.

``pkcs11:token=cigarjack?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/etc/cigarjack/pin``

Attributes that have no meaning here are refused rather than overlooked, and so is ``pin-value``:
a PIN has no place in a settings file. No error repeats a value of the URI.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from twochannel.keystore.port import KeyStoreError

SCHEME: Final = "pkcs11:"
_PATH: Final = frozenset({"token", "serial", "manufacturer", "model", "object"})
_QUERY: Final = frozenset({"module-path", "pin-source"})
_VALUE: Final = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})+")
#: cryptoauthlib keeps labels of 30 bytes (PKCS11_MAX_LABEL_SIZE); ``-signing`` needs room.
_OBJECT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,19}")


@dataclass(frozen=True, slots=True)
class TokenUri:
    """``module_path``: the token's PKCS#11 library. The next four: what the token must be like.

    ``key_prefix`` (``object`` in the URI): the labels of this device's keys begin with it; None
    leaves the choice to the store. ``pin_source``: see ``twochannel.keystore.pin``.
    """

    module_path: str
    token: str | None = None
    serial: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    key_prefix: str | None = None
    pin_source: str | None = None

    @property
    def name(self) -> str:
        """What people call this token."""
        return self.token or f"with serial number {self.serial}"


def parse(text: str) -> TokenUri:
    """Read a URI. Raises KeyStoreError, which says what is wrong with it."""
    scheme, colon, rest = text.partition(":")
    if scheme + colon != SCHEME:
        raise KeyStoreError("the key store is not a pkcs11: URI")
    path_text, _, query_text = rest.partition("?")
    path = _attributes(path_text, ";", _PATH)
    query = _attributes(query_text, "&", _QUERY)
    if "token" not in path and "serial" not in path:
        raise KeyStoreError("the pkcs11: URI names no token; add token=LABEL or serial=NUMBER")
    if not query.get("module-path", "").startswith("/"):
        raise KeyStoreError(
            "the pkcs11: URI does not say where the token's library is; "
            "add ?module-path=/path/to/the/library.so"
        )
    prefix = path.get("object")
    if prefix is not None and not _OBJECT.fullmatch(prefix):
        raise KeyStoreError("object= of the pkcs11: URI must be 1 to 20 letters, digits, . _ or -")
    return TokenUri(
        module_path=query["module-path"],
        token=path.get("token"),
        serial=path.get("serial"),
        manufacturer=path.get("manufacturer"),
        model=path.get("model"),
        key_prefix=prefix,
        pin_source=query.get("pin-source"),
    )


def _attributes(text: str, separator: str, known: frozenset[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(separator) if text else ():
        name, _, value = part.partition("=")
        if name == "pin-value":
            raise KeyStoreError("a PIN must not stand in the pkcs11: URI; use pin-source=FILE")
        if name not in known:
            raise KeyStoreError(
                f"{_shown(name)} of the pkcs11: URI is not known here; "
                f"known are {', '.join(sorted(known))}"
            )
        if name in found or not _VALUE.fullmatch(value):
            raise KeyStoreError(f"{name} of the pkcs11: URI is there twice, empty or malformed")
        found[name] = _decoded(name, value)
    return found


def _decoded(name: str, value: str) -> str:
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise KeyStoreError(f"{name} of the pkcs11: URI is not UTF-8") from None


def _shown(name: str) -> str:
    """A name, unless it may be part of a secret that lost its separator."""
    return name if re.fullmatch(r"[a-z0-9-]{1,32}", name) else "something"
