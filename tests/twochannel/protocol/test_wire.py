"""Strict JSON and base64url: any bytes give one value or the one documented error."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.limits import MAX_BODY_BYTES, MAX_JSON_DEPTH
from twochannel.protocol.wire import base64url, compact_json, from_base64url, parse_object

_scalars = st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | st.text()
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.binary())
def test_any_bytes_give_an_object_or_the_documented_error(data: bytes) -> None:
    try:
        assert isinstance(parse_object(data), dict)
    except StatementError as error:
        assert error.code is ErrorCode.MESSAGE_MALFORMED  # noqa: PT017


@given(st.dictionaries(st.text(), _values, max_size=4))
def test_what_is_written_is_read_back(members: dict[str, object]) -> None:
    assert parse_object(compact_json(members)) == members


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '{"a":{"b":1,"b":2}}',
        '{"a":1.0}',
        '{"a":1e3}',
        '{"a":NaN}',
        '{"a":Infinity}',
        '{"a":-Infinity}',
        '{"a":9223372036854775808}',
        '{"a":-9223372036854775808}',
        '{"a":' + "9" * 5000 + "}",
        "[]",
        '"text"',
        "1",
        "",
        "{",
        '{"a":1}x',
        "\ufeff{}",
        '{"a":' * (MAX_JSON_DEPTH + 1) + "1" + "}" * (MAX_JSON_DEPTH + 1),
        '{"a":' + "[" * 20_000 + "]" * 20_000 + "}",
        "[" * 30_000,
        '{"a":"\\ud800"}',
        '{"\\udfff":1}',
        '{"a":["\\ude00\\ud83d"]}',
    ],
)
def test_ambiguous_or_broken_json_is_refused(text: str) -> None:
    with pytest.raises(StatementError) as refusal:
        parse_object(text.encode())
    assert refusal.value.code is ErrorCode.MESSAGE_MALFORMED


def test_a_whole_pair_of_escapes_is_a_character() -> None:
    assert parse_object(b'{"a":"\\ud83d\\ude00"}') == {"a": "\U0001f600"}


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(StatementError, match="UTF-8"):
        parse_object(b'{"a":"\xff"}')


def test_an_oversized_object_is_refused_unread() -> None:
    with pytest.raises(StatementError) as refusal:
        parse_object(b" " * (MAX_BODY_BYTES + 1))
    assert refusal.value.code is ErrorCode.MESSAGE_TOO_LARGE


def test_nesting_up_to_the_limit_is_read() -> None:
    deep = '{"a":' * MAX_JSON_DEPTH + "1" + "}" * MAX_JSON_DEPTH
    assert parse_object(deep.encode()) == json.loads(deep)


@given(st.binary())
def test_base64url_round_trip(data: bytes) -> None:
    assert from_base64url(base64url(data)) == data


@given(st.text())
def test_base64url_has_one_reading_for_each_text(text: str) -> None:
    try:
        data = from_base64url(text)
    except StatementError as error:
        assert error.code is ErrorCode.MESSAGE_MALFORMED  # noqa: PT017
    else:
        assert base64.urlsafe_b64encode(data).decode().rstrip("=") == text


@pytest.mark.parametrize("text", ["A", "AB", "AA==", "AA=", "A A", "A+/", "AAé", "AAA\n", "-_9"])
def test_base64url_that_is_not_canonical_is_refused(text: str) -> None:
    with pytest.raises(StatementError):
        from_base64url(text)
