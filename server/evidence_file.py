"""The evidence file of a payment: the statements, and the keys to verify them with.

Nothing in the file stands for itself: statements are signed, keys have the thumbprints by which
the statements name their signers, and the payment's id stands in every one of them. There is one
way to write a given content, so a file that differs in a single byte is another file, and wrong.

::

    {
      "format": "cigarjack-evidence",
      "version": 1,
      "payment": id,
      "server": identity statement of the server, and each succession of its key after a ~,
      "pairing": pairing acceptance of the phone, with the jack's pairing and identity inside,
      "keys": {"phone": JWK, "terminal": JWK},
      "statements": [payment request, challenge, ...]   in the order in which they were accepted
    }

Layout: two spaces of indent, ASCII, members in the order above, one line feed at the end.
"""

from __future__ import annotations

import json
from typing import Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twochannel.protocol.errors import ProtocolError, StatementError
from twochannel.protocol.keys import Jwk
from twochannel.protocol.statements import Compact, Uuid
from twochannel.protocol.succession import LineageText
from twochannel.protocol.wire import parse_object

#: A payment has six statements or so, of 1 KiB each; this leaves room for a hundred and their keys.
MAX_FILE_BYTES: Final = 1024 * 1024


class EvidenceError(ProtocolError):
    """The evidence does not hold. ``place``: the part of the file; ``detail``: what is wrong."""

    def __init__(self, place: str, detail: str) -> None:
        self.place = place
        self.detail = detail
        super().__init__(f"{place}: {detail}")


class Member(BaseModel):
    """A part of a file: frozen, and strict about names and types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DeviceKeys(Member):
    """Public keys of the two devices whose statements carry no key."""

    phone: Jwk
    terminal: Jwk


M = TypeVar("M", bound=Member)


class Evidence(Member):
    """The content of the file; see the module."""

    format: Literal["cigarjack-evidence"] = "cigarjack-evidence"
    version: Literal[1] = 1
    payment: Uuid
    server: LineageText
    pairing: Compact
    keys: DeviceKeys
    statements: Annotated[list[Compact], Field(min_length=1, max_length=100)]


def write(content: Member) -> bytes:
    """The file."""
    text = json.dumps(content.model_dump(mode="json"), indent=2, ensure_ascii=True)
    return text.encode("ascii") + b"\n"


def read(document: bytes) -> Evidence:
    """The content of a file, not yet verified. Raises EvidenceError."""
    return read_as(Evidence, document, MAX_FILE_BYTES)


def read_as(model: type[M], document: bytes, max_bytes: int) -> M:
    """``read`` for a file of another format that is laid out in the same way."""
    try:
        content = model.model_validate(parse_object(document, max_bytes=max_bytes))
    except StatementError as error:
        raise EvidenceError("file", error.detail) from None
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])[:60]
        raise EvidenceError("file", f"{where}: {problem['type']}") from None
    if write(content) != document:
        raise EvidenceError("file", "it is not written in the one way that its content has")
    return content
