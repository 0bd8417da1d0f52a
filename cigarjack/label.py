"""The label of a jack, printed as text or QR code (docs/protocol.md, Pairing).

``CJ1:<thumbprint of the jack's signing key>:<claim secret>``: the thumbprint tells the phone which
jack it must find at the other end, the claim secret tells the jack that the phone saw the label.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_LABEL = re.compile(r"CJ1:([A-Za-z0-9_-]{43}):([A-Za-z0-9_-]{22})")


class LabelError(ValueError):
    """The text is not a jack's label. Scan it again, or print it with `cigarjack label`."""


@dataclass(frozen=True, slots=True)
class Label:
    """``thumbprint``: of the jack's signing key. ``claim_secret``: 16 random bytes, base64url."""

    thumbprint: str
    claim_secret: str = field(repr=False)

    def __str__(self) -> str:
        return f"CJ1:{self.thumbprint}:{self.claim_secret}"


def parse_label(text: str) -> Label:
    """Read a label; white space around it does not count. Raises LabelError."""
    match = _LABEL.fullmatch(text.strip())
    if match is None:
        raise LabelError("this is not a jack's label; it reads CJ1:<43 characters>:<22 characters>")
    return Label(*match.groups())
