"""The journal: one chain over the statements of all payments (docs/protocol.md, The journal).

An entry names a statement by its hash, and when it was entered. Its ``link`` is the hash of that
and of the link before, so one link stands for everything up to it. A checkpoint is the server's
signature over one: whoever keeps it can tell later whether anything before was changed or left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from twochannel.protocol.envelope import Statement, digest
from twochannel.protocol.keys import Thumbprint
from twochannel.protocol.statements import Counter, Digest, Seconds, Uuid

_DOMAIN: Final = "cigarjack-journal-1"


class Checkpoint(Statement):
    """Server to everyone: its journal has had ``entries`` entries, and ``link`` was the last's."""

    TYP: ClassVar[str] = "journal-checkpoint+jwt"

    iss: Thumbprint
    jti: Uuid
    iat: Seconds
    entries: Counter
    link: Digest


@dataclass(frozen=True, slots=True)
class Entry:
    """``seq`` counts the journal's entries from 1; ``statement`` is its statement's digest."""

    seq: int
    payment: str
    statement: str
    at_ms: int


def origin(server_id: str) -> str:
    """What stands before the first link: no two servers' journals begin alike."""
    return digest("\n".join((_DOMAIN, server_id)))


def link(before: str, entry: Entry) -> str:
    """The link of ``entry``, which follows the link ``before``."""
    return digest("\n".join(link_lines(before, entry)))


def link_lines(before: str, entry: Entry) -> tuple[str, ...]:
    """What a link is the hash of: format, link before, number, payment, statement, time."""
    return (_DOMAIN, before, str(entry.seq), entry.payment, entry.statement, str(entry.at_ms))
