"""Strict JSON and base64url: one reading for any bytes, or the documented error.

JSON of the protocol has no duplicate keys, no floats, no integers beyond 2^63, no NaN, no half
characters, and bounded nesting (RFC 8725 section 2.4 and 2.6 name the confusions this forecloses).
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import NoReturn

from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.limits import MAX_BODY_BYTES, MAX_JSON_DEPTH

_MAX_INTEGER = 2**63


def malformed(detail: str) -> StatementError:
    """The error of all codecs in this package."""
    return StatementError(ErrorCode.MESSAGE_MALFORMED, detail)


def _refuse_float(_text: str) -> NoReturn:
    raise malformed("numbers must be integers")


def _integer(text: str) -> int:
    if len(text) > 20 or not -_MAX_INTEGER < (number := int(text)) < _MAX_INTEGER:
        raise malformed("an integer is beyond 64 bit")
    return number


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise malformed("a key stands twice in one JSON object")
    return members


def _check_depth(value: object, depth: int = 0) -> None:
    if depth > MAX_JSON_DEPTH:
        raise malformed("JSON is nested too deeply")
    children = value.values() if isinstance(value, dict) else value
    if isinstance(value, (dict, list)):
        for child in children:  # type: ignore[attr-defined]
            _check_depth(child, depth + 1)


def _check_text(value: object) -> None:
    """Refuse half a surrogate pair, which only an escape can bring in: it is no character, and no
    database, log or answer can take it (RFC 7493 section 2.1)."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise malformed("an escape is no character") from None


_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_DECODER = json.JSONDecoder(
    parse_float=_refuse_float,
    parse_constant=_refuse_float,
    parse_int=_integer,
    object_pairs_hook=_without_duplicates,
)


def parse_object(data: bytes, max_bytes: int = MAX_BODY_BYTES) -> dict[str, object]:
    """Read one JSON object, strictly. Raises StatementError (``message_malformed``)."""
    if len(data) > max_bytes:
        raise StatementError(ErrorCode.MESSAGE_TOO_LARGE)
    try:
        text = data.decode("utf-8")
        value = _DECODER.decode(text)
    except UnicodeDecodeError:
        raise malformed("the text is not UTF-8") from None
    except (json.JSONDecodeError, RecursionError):
        raise malformed("the text is not valid JSON") from None
    if not isinstance(value, dict):
        raise malformed("a JSON object is expected")
    _check_depth(value)
    if "\\u" in text:
        _check_text(value)
    return value


def compact_json(members: dict[str, object]) -> bytes:
    """The JSON that statements carry: no white space, keys in the order given, ASCII only."""
    return _ENCODER.encode(members).encode("ascii")


def base64url(data: bytes) -> str:
    """RFC 4648 section 5, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_base64url(text: str) -> bytes:
    """Read canonical base64url without padding; anything else raises StatementError."""
    try:
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", True)
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise malformed("the text is not base64url") from None
    if base64url(data) != text:
        raise malformed("the base64url text is not in its canonical form")
    return data
