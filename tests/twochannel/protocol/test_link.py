"""The second link, byte for byte: hellos, session keys, records, messages.

Invariant of the fuzzing: any bytes give a value that encodes to the same bytes, or SessionError.
"""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from twochannel.protocol.errors import SessionError
from twochannel.protocol.limits import MAX_RECORD_BYTES, MAX_STATEMENT_BYTES
from twochannel.protocol.link import (
    HELLO_BYTES,
    MAX_HELLO_BYTES,
    Answer,
    JackHello,
    Mode,
    PhoneHello,
    Reassembler,
    Request,
    Session,
    agreed,
    packets,
    verifying_key,
)

PHONE = ec.derive_private_key(7, ec.SECP256R1())
JACK = ec.derive_private_key(11, ec.SECP256R1())
PHONE_HELLO = PhoneHello(Mode.PAIRED, verifying_key(PHONE.public_key()))
JACK_HELLO = JackHello(verifying_key(JACK.public_key()))
HELLOS = PHONE_HELLO.encode(), JACK_HELLO.encode()
LINK_KEY = bytes(range(32))


def sessions(second: bytes = LINK_KEY) -> tuple[Session, Session]:
    """The phone's and the jack's side of one session."""
    fresh = agreed(PHONE, JACK_HELLO.key)
    return Session.of_phone(fresh, LINK_KEY, HELLOS), Session.of_jack(fresh, second, HELLOS)


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869 for one block of SHA-256, written out."""
    extracted = hmac.digest(salt, secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def test_hellos_are_mode_or_version_and_a_point() -> None:
    phone, jack = HELLOS
    assert len(phone) == len(jack) == HELLO_BYTES == 66
    assert phone[:2] == b"\x01\x04"
    assert PhoneHello(Mode.PAIRING, PHONE_HELLO.key).encode() == b"\x02" + phone[1:]
    assert jack == b"\x01" + verifying_key(JACK.public_key()).point
    assert JackHello(JACK_HELLO.key, "a.b.c").encode() == jack + b"a.b.c"
    assert JackHello.decode(jack).identity is None
    assert JackHello.decode(jack + b"a.b.c").identity == "a.b.c"


def test_the_first_record_opens_under_the_keys_of_the_document() -> None:
    """docs/protocol.md, followed with the library's primitives alone."""
    x = PHONE.exchange(ec.ECDH(), JACK.public_key())
    salt = hashlib.sha256(HELLOS[0] + HELLOS[1]).digest()
    by_phone, by_jack = sessions()
    key = hkdf(x + LINK_KEY, salt, b"cigarjack link v1 phone")
    assert AESGCM(key).decrypt(bytes(12), by_phone.seal(b"hello"), None) == b"hello"
    key = hkdf(x + LINK_KEY, salt, b"cigarjack link v1 jack")
    assert AESGCM(key).decrypt(bytes(12), by_jack.seal(b"hello"), None) == b"hello"
    second = bytes(11) + b"\x01"
    assert AESGCM(key).decrypt(second, by_jack.seal(b"again"), None) == b"again"


def test_both_sides_hear_each_other() -> None:
    phone, jack = sessions()
    for number in range(3):
        message = b"%d" % number
        assert jack.open(phone.seal(message)) == message
        assert phone.open(jack.seal(message)) == message
    assert "AESGCM" not in repr(phone)


def test_nothing_opens_without_the_second_secret() -> None:
    phone, jack = sessions(second=bytes(32))
    with pytest.raises(SessionError, match="not sealed"):
        jack.open(phone.seal(b"hello"))


@pytest.mark.parametrize("what", ["repeated", "skipped", "reflected", "changed", "empty"])
def test_a_record_opens_once_and_in_its_place(what: str) -> None:
    phone, jack = sessions()
    first, second = phone.seal(b"one"), phone.seal(b"two")
    if what == "repeated":
        jack.open(first)
        wrong = first
    elif what == "reflected":
        wrong = jack.seal(b"one")
    else:
        changed = first[:-1] + bytes([first[-1] ^ 1])
        wrong = {"skipped": second, "changed": changed, "empty": b""}[what]
    with pytest.raises(SessionError, match="not sealed"):
        jack.open(wrong)


def test_another_hello_makes_another_session() -> None:
    fresh = agreed(PHONE, JACK_HELLO.key)
    phone = Session.of_phone(fresh, LINK_KEY, HELLOS)
    disguised = JackHello(JACK_HELLO.key, "a.b.c").encode()
    jack = Session.of_jack(fresh, LINK_KEY, (HELLOS[0], disguised))
    with pytest.raises(SessionError):
        jack.open(phone.seal(b"hello"))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "version"),
        (b"\x03" + HELLOS[0][1:], "version"),
        (HELLOS[0][:-1], "no point"),
        (HELLOS[0] + b"\x00", "no point"),
        (b"\x01\x04" + bytes(64), "no point"),
        (b"\x01\x02" + HELLOS[0][2:34], "no point"),
    ],
)
def test_a_phones_hello_is_checked(data: bytes, problem: str) -> None:
    with pytest.raises(SessionError, match=problem):
        PhoneHello.decode(data)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "version"),
        (b"\x02" + HELLOS[1][1:], "version"),
        (HELLOS[1][:-1], "no point"),
        (HELLOS[1] + b"\xff", "not ASCII"),
        (HELLOS[1] + b"a" * (MAX_STATEMENT_BYTES + 1), "too long"),
    ],
)
def test_a_jacks_hello_is_checked(data: bytes, problem: str) -> None:
    with pytest.raises(SessionError, match=problem):
        JackHello.decode(data)
    assert len(HELLOS[1]) + MAX_STATEMENT_BYTES == MAX_HELLO_BYTES


@given(st.binary(max_size=80) | st.binary(max_size=80).map(HELLOS[0].__add__))
def test_any_bytes_are_a_hello_or_a_session_error(data: bytes) -> None:
    for kind in (PhoneHello, JackHello):
        try:
            hello = kind.decode(data)
        except SessionError:
            continue
        assert hello.encode() == data


@given(st.binary(min_size=1, max_size=600), st.integers(1, 600))
def test_a_record_survives_packets_of_any_size(body: bytes, limit_bytes: int) -> None:
    reassembler = Reassembler(MAX_RECORD_BYTES)
    heard = []
    for packet in packets(body, limit_bytes):
        assert 0 < len(packet) <= limit_bytes
        heard += reassembler.take(packet)
    assert heard == [body]
    assert reassembler.empty


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=6), st.integers(1, 40))
def test_records_in_a_row_come_out_as_they_went_in(bodies: list[bytes], cut_at: int) -> None:
    stream = b"".join(b"".join(packets(body, 512)) for body in bodies)
    reassembler, heard = Reassembler(30), []
    for begin in range(0, len(stream), cut_at):
        heard += reassembler.take(stream[begin : begin + cut_at])
    assert heard == bodies


@given(st.lists(st.binary(max_size=64), max_size=20))
def test_any_packets_are_records_or_a_session_error(stream: list[bytes]) -> None:
    reassembler = Reassembler(48)
    try:
        bodies = [body for packet in stream for body in reassembler.take(packet)]
    except SessionError:
        return
    assert all(0 < len(body) <= 48 for body in bodies)
    assert len(b"".join(bodies)) <= len(b"".join(stream))


def test_what_waits_is_bounded_by_the_limit() -> None:
    reassembler = Reassembler(66)
    with pytest.raises(SessionError, match="67 bytes"):
        reassembler.take(b"\x00\x43")
    with pytest.raises(SessionError, match="0 bytes"):
        Reassembler(66).take(b"\x00\x00")
    waiting = Reassembler(66)
    assert waiting.take(b"\x00") == []
    assert not waiting.empty


@pytest.mark.parametrize("length", [0, MAX_RECORD_BYTES + 1])
def test_a_record_of_no_or_too_many_bytes_is_not_sent(length: int) -> None:
    with pytest.raises(ValueError, match="holds 1 to"):
        list(packets(bytes(length), 20))


def test_messages_are_a_line_and_a_body() -> None:
    request = Request("POST", "/v1/auth-codes", b"a.b.c")
    assert request.encode() == b"POST /v1/auth-codes\na.b.c"
    assert Answer(204).encode() == b"204\n"
    assert Answer(200, b"{}\n").encode() == b"200\n{}\n"
    assert [Answer(code).is_success for code in (199, 200, 204, 299, 300)] == [
        False, True, True, True, False,
    ]  # fmt: skip


@given(
    st.binary(max_size=60)
    | st.binary(max_size=60).map(b"PUT /v1/time\n".__add__)
    | st.binary(max_size=60).map(b"409\n".__add__)
)
def test_any_bytes_are_a_message_or_a_session_error(data: bytes) -> None:
    for kind in (Request, Answer):
        try:
            message = kind.decode(data)
        except SessionError:
            continue
        assert message.encode() == data


@given(st.binary(max_size=100))
def test_any_body_opens_or_is_a_session_error(body: bytes) -> None:
    _, jack = sessions()
    with pytest.raises(SessionError):
        jack.open(body)


@pytest.mark.parametrize(
    "line", [b"GET /v1/status", b"get /v1/status\n", b"GET /a?b\n", b"GET  /a\n", b"/a\n", b"20\n"]
)
def test_lines_have_one_form(line: bytes) -> None:
    with pytest.raises(SessionError):
        Request.decode(line)
    with pytest.raises(SessionError):
        Answer.decode(line)
