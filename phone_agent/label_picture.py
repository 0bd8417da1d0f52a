"""The label of a jack in a photograph: the text of its QR code, or a sentence about what to do.

The picture comes from a browser that the owner has let in, and is still bounded: its bytes, its
pixels, its formats, and one at a time. Needs the extra ``camera``.
"""

from __future__ import annotations

import asyncio
import io
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from cigarjack.client import LabelError, parse_label

if TYPE_CHECKING:
    from PIL import Image

MAX_BYTES: Final = 12 * 1024 * 1024
#: What cameras make is decoded smaller than it is. Others take up to 17 bytes a pixel meanwhile.
_MAX_PIXELS: Final = {"JPEG": 50_000_000, "PNG": 16_000_000, "WEBP": 16_000_000}
#: Pixels a side: enough for a label that fills a tenth of it.
_ENOUGH: Final = 2400

TOO_LARGE: Final = "The picture is too large. Take a JPEG of at most 12 MB and 50 megapixels."
NOT_A_PICTURE: Final = "That is not a picture that can be read here. Send a JPEG, PNG or WebP."
NO_CODE: Final = (
    "No QR code can be read in the picture. Go closer, hold still, and have light on the label."
)
NOT_ITS_LABEL: Final = "The QR code in the picture is not a jack's label, which begins with CJ1:."
SEVERAL_LABELS: Final = "There are labels of several jacks in the picture. Photograph one alone."


class PictureError(ValueError):
    """No label was found. The text is for the owner, as it stands in the catalogues."""


def can_be_read() -> bool:
    """Whether the extra is installed."""
    return all(map(find_spec, ("PIL", "zxingcpp", "python_multipart")))


class LabelReader:
    """Reads one picture at a time, beside the event loop."""

    def __init__(self) -> None:
        self._free = asyncio.Lock()

    async def read(self, picture: bytes) -> str:
        """The text of the one label in it. Raises PictureError."""
        async with self._free:
            return await asyncio.to_thread(label_in, picture)


def label_in(picture: bytes) -> str:
    """The text of the one label in a JPEG, PNG or WebP. Raises PictureError."""
    from zxingcpp import BarcodeFormat, BarcodeFormats, read_barcodes

    found = read_barcodes(_opened(picture), formats=BarcodeFormats(BarcodeFormat.QRCode))
    return chosen({code.text for code in found})


def chosen(texts: set[str]) -> str:
    """The one label among the texts of QR codes; what else is in the picture does not count."""
    labels = set(filter(_is_label, texts))
    if len(labels) > 1:
        raise PictureError(SEVERAL_LABELS)
    if not labels:
        raise PictureError(NOT_ITS_LABEL if texts else NO_CODE)
    return labels.pop()


def _is_label(text: str) -> bool:
    try:
        parse_label(text)
    except LabelError:
        return False
    return True


def _opened(picture: bytes) -> Image.Image:
    """In shades of grey, and no larger than is of use."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(picture), formats=tuple(_MAX_PIXELS)) as image:
            # Before anything is decoded: a few bytes may say that they are very many pixels.
            if image.width * image.height > _MAX_PIXELS[image.format or ""]:
                raise PictureError(TOO_LARGE)
            # A JPEG is decoded no larger than it has to be.
            image.draft("L", (_ENOUGH, _ENOUGH))
            grey = image.convert("L")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError(TOO_LARGE) from None
    except PictureError:
        raise
    # By format, Pillow says so in one of these ways.
    except (OSError, SyntaxError, ValueError, EOFError):
        raise PictureError(NOT_A_PICTURE) from None
    grey.thumbnail((_ENOUGH, _ENOUGH))
    return grey
