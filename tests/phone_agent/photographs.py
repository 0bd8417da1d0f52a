"""Photographs of labels: made as a hand with a camera makes them, askew, noisy and unevenly lit."""

from __future__ import annotations

import io

import segno
from PIL import Image, ImageChops, ImageFilter

#: Of a table, in shades of grey.
_TABLE = 170


def printed(text: str, scale: int = 6) -> Image.Image:
    """The QR code of a text as it comes from a printer."""
    png = io.BytesIO()
    segno.make(text, error="m").save(png, kind="png", scale=scale)
    return Image.open(png).convert("L")


def table(
    *labels: Image.Image, size: tuple[int, int] = (1600, 1200), angle: int = 0
) -> Image.Image:
    """Labels on a table, side by side, each turned by ``angle``."""
    picture = Image.new("L", size, _TABLE)
    for place, label in enumerate(labels):
        turned = label.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=_TABLE)
        picture.paste(turned, (120 + place * (turned.width + 60), 200))
    return picture


def photographed(scene: Image.Image) -> Image.Image:
    """With the noise of the camera, a hand that is not quite still, and a lamp at one side."""
    noisy = Image.blend(scene, Image.effect_noise(scene.size, 90), 0.25)
    light = Image.linear_gradient("L").resize(scene.size).point(lambda level: 110 + level // 2)
    return ImageChops.multiply(noisy, light).filter(ImageFilter.GaussianBlur(1.2)).convert("RGB")


def encoded(picture: Image.Image, kind: str = "JPEG") -> bytes:
    data = io.BytesIO()
    picture.save(data, kind)
    return data.getvalue()


def photograph(text: str, angle: int = 23) -> bytes:
    """What a telephone sends of a label with ``text``."""
    return encoded(photographed(table(printed(text), angle=angle)))


def on_screen(text: str, dot: int = 5) -> Image.Image:
    """What a terminal shows of half blocks, light on dark."""
    lines = [line for line in text.splitlines() if set(line) <= set(" ▀▄█") and line]
    picture = Image.new("L", (max(map(len, lines)) * dot, len(lines) * 2 * dot), 20)
    light = Image.new("L", (dot, dot), 230)
    for row, line in enumerate(lines):
        for column, character in enumerate(line):
            for half, shown in enumerate(("▀█", "▄█")):
                if character in shown:
                    picture.paste(light, (column * dot, (2 * row + half) * dot))
    return picture
