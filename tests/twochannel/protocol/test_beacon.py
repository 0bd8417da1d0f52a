"""The beacon against published values and against a second computation that shares no code.

Invariant of the fuzzing: any bytes decode to a frame that encodes to the same bytes, or FrameError.
"""

from __future__ import annotations

import hmac
import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from twochannel.protocol import beacon
from twochannel.protocol.beacon import BeaconFrame
from twochannel.protocol.errors import FrameError

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "eddystone_eid.json").read_text("utf-8")
)
OURS: dict[str, Any] = VECTORS["ours"]
IDENTITY_KEY = bytes.fromhex(OURS["identity_key"])
#: Published codes, and ours with the identity key that they share.
CODE_VECTORS: list[dict[str, Any]] = [
    *VECTORS["published_codes"],
    *({"identity_key": OURS["identity_key"]} | vector for vector in OURS["codes"]),
]
#: A shared machine may stall for longer than hypothesis's default deadline.
patient = settings(deadline=None)

keys = st.binary(min_size=16, max_size=16)
counters = st.integers(0, beacon.MAX_COUNTER_S)
exponents = st.integers(0, beacon.MAX_ROTATION_EXPONENT)
frames = st.builds(
    BeaconFrame,
    tx_power_dbm=st.integers(beacon.MIN_TX_POWER_DBM, beacon.MAX_TX_POWER_DBM),
    code=st.binary(min_size=8, max_size=8),
)


# --- The second computation: AES-128 from FIPS 197, HKDF from RFC 5869, blocks from the spec ------


def double(byte: int) -> int:
    """Multiplication by x in GF(2^8) (FIPS 197, 4.2.1)."""
    return (byte << 1) ^ (0x11B if byte & 0x80 else 0)


def build_sbox() -> list[int]:
    """The inverse in GF(2^8), then the affine map (FIPS 197, 5.1.1). 3 generates the field."""
    powers = [1]
    for _ in range(254):
        powers.append(powers[-1] ^ double(powers[-1]))
    inverse = [0] * 256
    for exponent, power in enumerate(powers):
        inverse[power] = powers[-exponent % 255]
    rotations = [[(i << n | i >> (8 - n)) & 0xFF for n in range(5)] for i in inverse]
    return [a ^ b ^ c ^ d ^ e ^ 0x63 for a, b, c, d, e in rotations]


SBOX = build_sbox()


def round_keys(key: bytes) -> list[list[int]]:
    """Key expansion (FIPS 197, 5.2): eleven keys of 16 bytes."""
    words = [list(key[i : i + 4]) for i in range(0, 16, 4)]
    constant = 1
    for i in range(4, 44):
        word = words[-1]
        if i % 4 == 0:
            word = [SBOX[byte] for byte in word[1:] + word[:1]]
            word[0] ^= constant
            constant = double(constant)
        words.append([a ^ b for a, b in zip(words[-4], word, strict=True)])
    return [list(chain(*words[i : i + 4])) for i in range(0, 44, 4)]


def mix_column(column: list[int]) -> list[int]:
    """MixColumns of one column (FIPS 197, 5.1.3): 2, 3, 1, 1, rotated."""
    total = column[0] ^ column[1] ^ column[2] ^ column[3]
    return [column[i] ^ total ^ double(column[i] ^ column[(i + 1) % 4]) for i in range(4)]


def aes_128(key: bytes, block: bytes) -> bytes:
    """The cipher (FIPS 197, 5.1), the state column by column."""
    first, *others = round_keys(key)
    state = [a ^ b for a, b in zip(block, first, strict=True)]
    for number, round_key in enumerate(others, start=1):
        state = [SBOX[state[(i + 4 * (i % 4)) % 16]] for i in range(16)]
        if number < 10:
            state = list(chain(*(mix_column(state[i : i + 4]) for i in range(0, 16, 4))))
        state = [a ^ b for a, b in zip(state, round_key, strict=True)]
    return bytes(state)


def hkdf_sha256(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """The first 32 bytes of HKDF-SHA256 (RFC 5869, 2.2 and 2.3)."""
    return hmac.digest(hmac.digest(salt, secret, "sha256"), info + b"\x01", "sha256")


def expected_temporary_key(identity_key: bytes, counter_s: int) -> bytes:
    """Table "Computing the temporary key", byte by byte."""
    block = bytearray(16)
    block[11] = 0xFF
    block[14] = counter_s // 2**24
    block[15] = counter_s // 2**16 % 256
    return aes_128(identity_key, bytes(block))


def expected_code(identity_key: bytes, counter_s: int, exponent: int) -> bytes:
    """Table "Computing the EID value", byte by byte."""
    cleared = counter_s // 2**exponent * 2**exponent
    block = bytearray(16)
    block[11] = exponent
    block[12:16] = [cleared // 256**power % 256 for power in (3, 2, 1, 0)]
    return aes_128(expected_temporary_key(identity_key, counter_s), bytes(block))[:8]


@pytest.mark.parametrize(
    ("key", "plain", "cipher"),
    [
        (  # FIPS 197, appendix B
            "2b7e151628aed2a6abf7158809cf4f3c",
            "3243f6a8885a308d313198a2e0370734",
            "3925841d02dc09fbdc118597196a0b32",
        ),
        (  # FIPS 197, appendix C.1
            "000102030405060708090a0b0c0d0e0f",
            "00112233445566778899aabbccddeeff",
            "69c4e0d86a7b0430d8cdb78070b4c55a",
        ),
    ],
)
def test_the_second_aes_is_aes(key: str, plain: str, cipher: str) -> None:
    assert aes_128(bytes.fromhex(key), bytes.fromhex(plain)).hex() == cipher


def test_the_second_hkdf_is_hkdf() -> None:
    # RFC 5869, A.1; its 42 bytes of output begin with these 32.
    material = hkdf_sha256(b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)))
    assert material.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"


# --- Codes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", CODE_VECTORS)
def test_codes_equal_the_recorded_ones(vector: dict[str, Any]) -> None:
    key = bytes.fromhex(vector["identity_key"])
    counter_s, exponent = vector["counter_s"], vector["rotation_exponent"]
    assert beacon.code_at(key, counter_s, exponent).hex() == vector["code"]
    assert expected_code(key, counter_s, exponent).hex() == vector["code"]


@pytest.mark.parametrize("vector", [each for each in CODE_VECTORS if "temporary_key" in each])
def test_temporary_keys_equal_the_recorded_ones(vector: dict[str, Any]) -> None:
    key, counter_s = bytes.fromhex(vector["identity_key"]), vector["counter_s"]
    assert beacon.temporary_key(key, counter_s).hex() == vector["temporary_key"]
    assert expected_temporary_key(key, counter_s).hex() == vector["temporary_key"]


@patient
@given(keys, counters, exponents)
def test_codes_equal_the_second_computation(key: bytes, counter_s: int, exponent: int) -> None:
    code = beacon.code_at(key, counter_s, exponent)
    assert code == expected_code(key, counter_s, exponent)
    assert len(code) == beacon.CODE_LENGTH


@patient
@given(keys, counters, exponents, st.data())
def test_a_code_lives_for_its_slot_and_no_longer(
    key: bytes, counter_s: int, exponent: int, data: st.DataObject
) -> None:
    start_s, length_s = beacon.slot_of(counter_s, exponent), beacon.slot_length_s(exponent)
    last_s = start_s + length_s - 1
    assert start_s <= counter_s <= last_s
    code = beacon.code_at(key, start_s, exponent)
    assert beacon.code_at(key, last_s, exponent) == code
    assert beacon.code_at(key, data.draw(st.integers(start_s, last_s)), exponent) == code
    if last_s < beacon.MAX_COUNTER_S:
        assert beacon.code_at(key, last_s + 1, exponent) != code


def test_a_temporary_key_lives_for_65536_seconds() -> None:
    first = beacon.temporary_key(IDENTITY_KEY, 0)
    assert beacon.temporary_key(IDENTITY_KEY, 65_535) == first
    assert beacon.temporary_key(IDENTITY_KEY, 65_536) != first


def test_all_codes_of_a_day_differ() -> None:
    codes = [beacon.code_at(IDENTITY_KEY, second, 8) for second in range(0, 86_400, 256)]
    assert len(set(codes)) == len(codes)


def test_the_default_slot_is_256_seconds() -> None:
    assert beacon.slot_length_s(beacon.DEFAULT_ROTATION_EXPONENT) == 256
    assert beacon.slot_of(1_767_225_855, beacon.DEFAULT_ROTATION_EXPONENT) == 1_767_225_600


@patient
@given(keys, counters, exponents)
@example(IDENTITY_KEY, 0, 8)
@example(IDENTITY_KEY, 65_536, 8)
@example(IDENTITY_KEY, beacon.MAX_COUNTER_S, 8)
def test_codes_around_are_those_of_the_neighbour_slots(
    key: bytes, time_s: int, exponent: int
) -> None:
    length_s = beacon.slot_length_s(exponent)
    times = {offset: time_s + offset * length_s for offset in (-1, 0, 1)}
    assert beacon.codes_around(key, time_s, exponent) == {
        offset: expected_code(key, neighbour_s, exponent)
        for offset, neighbour_s in times.items()
        if 0 <= neighbour_s < 2**32
    }


def test_slots_that_do_not_exist_are_left_out() -> None:
    assert set(beacon.codes_around(IDENTITY_KEY, 255, 8)) == {0, 1}
    assert set(beacon.codes_around(IDENTITY_KEY, 256, 8)) == {-1, 0, 1}
    assert set(beacon.codes_around(IDENTITY_KEY, beacon.MAX_COUNTER_S, 8)) == {-1, 0}


def test_a_jack_one_slot_off_is_still_resolved_and_two_slots_off_is_not() -> None:
    server_s = 1_767_225_600
    resolved = set(beacon.codes_around(IDENTITY_KEY, server_s, 8).values())
    heard = [beacon.code_at(IDENTITY_KEY, server_s + slots * 256, 8) for slots in range(-2, 3)]
    assert [code in resolved for code in heard] == [False, True, True, True, False]


@pytest.mark.parametrize("counter_s", [-1, 2**32])
def test_a_counter_beyond_32_bits_is_a_mistake(counter_s: int) -> None:
    with pytest.raises(ValueError, match="32-bit"):
        beacon.temporary_key(IDENTITY_KEY, counter_s)
    with pytest.raises(ValueError, match="32-bit"):
        beacon.code_at(IDENTITY_KEY, counter_s, 8)
    with pytest.raises(ValueError, match="32-bit"):
        beacon.slot_of(counter_s, 8)
    with pytest.raises(ValueError, match="32-bit"):
        beacon.codes_around(IDENTITY_KEY, counter_s, 8)


@pytest.mark.parametrize("exponent", [-1, 16])
def test_a_rotation_exponent_outside_0_to_15_is_a_mistake(exponent: int) -> None:
    with pytest.raises(ValueError, match="rotation exponent"):
        beacon.slot_length_s(exponent)
    with pytest.raises(ValueError, match="rotation exponent"):
        beacon.code_at(IDENTITY_KEY, 0, exponent)


@pytest.mark.parametrize("length", [0, 15, 17, 24, 32])
def test_a_key_that_is_not_aes_128_is_a_mistake(length: int) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        beacon.temporary_key(bytes(length), 0)


# --- Identity key --------------------------------------------------------------------------------


def derive_ours(**changed: bytes) -> bytes:
    """The identity key of the recorded agreement, with some inputs changed."""
    inputs = {
        "shared_secret": bytes.fromhex(OURS["shared_secret"]),
        "server_beacon_key": bytes.fromhex(OURS["server_public_key"]),
        "jack_beacon_key": bytes.fromhex(OURS["jack_public_key"]),
    }
    return beacon.identity_key(**(inputs | changed))


@pytest.mark.parametrize("vector", VECTORS["published_identity_keys"])
def test_the_second_computation_yields_the_published_identity_keys(vector: dict[str, str]) -> None:
    # Order of the salt and truncation are the specification's; context and curve are not ours.
    salt = bytes.fromhex(vector["resolver_public_key"] + vector["beacon_public_key"])
    material = hkdf_sha256(bytes.fromhex(vector["shared_secret"]), salt, info=b"")
    assert material[:16].hex() == vector["identity_key"]


def test_our_identity_key_adds_only_the_context() -> None:
    salt = bytes.fromhex(OURS["server_public_key"] + OURS["jack_public_key"])
    info = b"cigarjack beacon identity key v1"
    material = hkdf_sha256(bytes.fromhex(OURS["shared_secret"]), salt, info)
    assert derive_ours() == material[:16] == IDENTITY_KEY


@pytest.mark.parametrize(("own", "peer"), [("jack", "server"), ("server", "jack")])
def test_jack_and_server_agree_on_the_shared_secret(own: str, peer: str) -> None:
    curve = ec.SECP256R1()
    private_key = ec.derive_private_key(int(OURS[f"{own}_private_key"], 16), curve)
    point = bytes.fromhex(OURS[f"{peer}_public_key"])
    public_key = ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
    assert private_key.exchange(ec.ECDH(), public_key).hex() == OURS["shared_secret"]


@pytest.mark.parametrize("name", ["shared_secret", "server_beacon_key", "jack_beacon_key"])
def test_every_input_changes_the_identity_key(name: str) -> None:
    length = 32 if name == "shared_secret" else 65
    assert derive_ours(**{name: b"\x04" * length}) != IDENTITY_KEY


def test_the_roles_of_the_two_keys_are_not_interchangeable() -> None:
    swapped = derive_ours(
        server_beacon_key=bytes.fromhex(OURS["jack_public_key"]),
        jack_beacon_key=bytes.fromhex(OURS["server_public_key"]),
    )
    assert swapped != IDENTITY_KEY


@pytest.mark.parametrize("secret", [b"", b"\x01" * 31, b"\x01" * 33, bytes(32)])
def test_a_shared_secret_of_wrong_length_or_zero_is_a_mistake(secret: bytes) -> None:
    with pytest.raises(ValueError, match="shared secret"):
        derive_ours(shared_secret=secret)


@pytest.mark.parametrize("name", ["server_beacon_key", "jack_beacon_key"])
@pytest.mark.parametrize("point", [b"", b"\x04" * 64, b"\x04" * 66, b"\x02" * 33, b"\x05" * 65])
def test_a_beacon_key_must_be_an_uncompressed_point(name: str, point: bytes) -> None:
    with pytest.raises(ValueError, match=r"X9\.62"):
        derive_ours(**{name: point})


# --- Frames --------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS["frames"])
def test_frames_are_written_and_read_as_recorded(vector: dict[str, Any]) -> None:
    frame = BeaconFrame(vector["tx_power_dbm"], bytes.fromhex(vector["code"]))
    assert frame.encode().hex() == vector["service_data"]
    assert BeaconFrame.decode(bytes.fromhex(vector["service_data"])) == frame


@patient
@given(frames)
def test_frames_survive_the_air(frame: BeaconFrame) -> None:
    assert BeaconFrame.decode(frame.encode()) == frame


@patient
@given(st.binary(max_size=40) | st.binary(min_size=9, max_size=9).map(b"\x30".__add__))
def test_any_bytes_are_a_frame_or_a_frame_error(data: bytes) -> None:
    try:
        frame = BeaconFrame.decode(data)
    except FrameError:
        return
    assert frame.encode() == data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "10 bytes, not 0"),
        (b"\x30\xec" + b"\x01" * 7, "10 bytes, not 9"),
        (b"\x30\xec" + b"\x01" * 9, "10 bytes, not 11"),
        (b"\x30\xec" + b"\x01" * 8 + b"\x00\x00", "10 bytes, not 12"),  # padded like a UID frame
        (b"\x00\xec" + b"\x01" * 8, "0x00, not 0x30"),
        (b"\x10\xec" + b"\x01" * 8, "0x10, not 0x30"),
        (b"\x20\xec" + b"\x01" * 8, "0x20, not 0x30"),
        (b"\x31\xec" + b"\x01" * 8, "0x31, not 0x30"),  # the low four bits are reserved
        (b"\x30\x9b" + b"\x01" * 8, "-101 dBm"),
        (b"\x30\x80" + b"\x01" * 8, "-128 dBm"),
        (b"\x30\x15" + b"\x01" * 8, "21 dBm"),
        (b"\x30\x7f" + b"\x01" * 8, "127 dBm"),
    ],
)
def test_what_is_not_an_eid_frame_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(FrameError, match=reason):
        BeaconFrame.decode(data)


@pytest.mark.parametrize("tx_power_dbm", [-101, 21])
def test_a_tx_power_outside_the_range_is_a_mistake(tx_power_dbm: int) -> None:
    with pytest.raises(ValueError, match="TX power"):
        BeaconFrame(tx_power_dbm, bytes(8))


@pytest.mark.parametrize("length", [0, 7, 9])
def test_a_code_of_another_length_is_a_mistake(length: int) -> None:
    with pytest.raises(ValueError, match="8 bytes"):
        BeaconFrame(0, bytes(length))


def test_a_code_stays_out_of_the_text_of_a_frame() -> None:
    assert (
        str(BeaconFrame(-20, b"\x0a\x19\x4f\x56\x2c\x97\xd2\xea"))
        == "BeaconFrame(tx_power_dbm=-20)"
    )
