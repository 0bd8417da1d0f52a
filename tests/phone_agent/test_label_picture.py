"""Labels in pictures: what a camera sees of them, and whatever else a browser may send."""

from __future__ import annotations

import json
import secrets
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from cigarjack.cli import main
from phone_agent.label_picture import (
    NO_CODE,
    NOT_A_PICTURE,
    NOT_ITS_LABEL,
    SEVERAL_LABELS,
    TOO_LARGE,
    PictureError,
    label_in,
)
from tests.phone_agent.photographs import (
    encoded,
    on_screen,
    photograph,
    photographed,
    printed,
    table,
)
from twochannel.protocol.wire import base64url

URL = "https://shop.example/a-cigar-jack"


def a_label() -> str:
    return f"CJ1:{base64url(secrets.token_bytes(32))}:{base64url(secrets.token_bytes(16))}"


@pytest.mark.parametrize("angle", [0, 23, 90, 137, 180, 271])
def test_a_label_is_read_however_it_lies(angle: int) -> None:
    label = a_label()
    assert label_in(photograph(label, angle)) == label


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_formats_of_cameras_and_screenshots(kind: str) -> None:
    label = a_label()
    assert label_in(encoded(photographed(table(printed(label))), kind)) == label


def test_a_label_in_a_corner_of_a_large_picture() -> None:
    label = a_label()
    scene = table(printed(label, scale=10), size=(4000, 3000), angle=12)
    assert label_in(encoded(photographed(scene))) == label


@pytest.mark.parametrize("command", ["init", "label"])
def test_the_label_that_a_jack_prints_is_read_off_its_terminal(
    command: str, tmp_path: Path
) -> None:
    def jack(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["--state", str(tmp_path / "jack"), *arguments])

    made = jack("init")
    shown = jack(command) if command != "init" else made
    label = json.loads(jack("label", "--json").stdout)["label"]
    screen = photographed(table(on_screen(shown.stdout), angle=8))
    assert label_in(encoded(screen)) == label


def test_what_else_is_in_the_picture_does_not_count() -> None:
    label = a_label()
    scene = table(printed(URL), printed(label), printed(label))
    assert label_in(encoded(photographed(scene))) == label


@pytest.mark.parametrize(
    ("texts", "told"),
    [([], NO_CODE), ([URL], NOT_ITS_LABEL), (["CJ1:short:label"], NOT_ITS_LABEL),
     ([a_label(), a_label()], SEVERAL_LABELS)],
)  # fmt: skip
def test_a_picture_without_one_label_says_what_to_do(texts: list[str], told: str) -> None:
    picture = encoded(photographed(table(*map(printed, texts))))
    with pytest.raises(PictureError) as refused:
        label_in(picture)
    assert str(refused.value) == told


def test_other_formats_are_not_opened() -> None:
    for kind in ("GIF", "BMP", "TIFF", "PPM"):
        with pytest.raises(PictureError) as refused:
            label_in(encoded(table(printed(a_label())), kind))
        assert str(refused.value) == NOT_A_PICTURE


def claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says that it is so large."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checked = name + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    lines = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(4001, 4000), (7072, 7072), (13_000, 10_000), (60_000, 60_000)])
def test_few_bytes_that_would_be_many_pixels_are_not_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(PictureError) as refused:
        label_in(claiming(*size))
    assert str(refused.value) == TOO_LARGE


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_that_is_cut_off_is_told(kind: str) -> None:
    whole = encoded(table(printed(a_label()), size=(700, 700)), kind)
    for length in (0, 1, 12, 40, len(whole) // 8):
        with pytest.raises(PictureError):
            label_in(whole[:length])


SEEDS = [
    encoded(table(printed(a_label()), size=(400, 400)), kind) for kind in ("JPEG", "PNG", "WEBP")
]


@given(st.sampled_from(SEEDS), st.data())
def test_no_picture_does_anything_but_be_read_or_refused(seed: bytes, data: st.DataObject) -> None:
    broken = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 8))):
        broken[data.draw(st.integers(0, len(seed) - 1))] = data.draw(st.integers(0, 255))
    with suppress(PictureError):
        assert label_in(bytes(broken)).startswith("CJ1:")
