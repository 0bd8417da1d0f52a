"""The file of a part of the journal: its entries, what the server has signed of them, the payments.

::

    {
      "format": "cigarjack-journal",
      "version": 1,
      "server": identity statement of the server,
      "runs": [
        {
          "first": number of the first entry,
          "before": link before it,
          "entries": [{"payment": id, "statement": digest, "at_ms": Unix milliseconds}, ...],
          "checkpoint": the server's signature over the last entry's link
        }, ...
      ],
      "payments": [
        {"payment": id, "pairing": ..., "keys": ..., "statements": [...]}, ...
      ]
    }

A period is one run. The entries of one payment are as many runs as others came between. Payments
are as in an evidence file (``server.evidence_file``), laid out like it, each once, in the order of
their first entries here.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from server.evidence_file import DeviceKeys, Evidence, Member, read_as
from twochannel.protocol.statements import Compact, Counter, Digest, Uuid
from twochannel.protocol.succession import LineageText

#: About 40,000 payments.
MAX_FILE_BYTES: Final = 256 * 1024 * 1024


class FiledEntry(Member):
    """An entry of a run; its number follows from the run's first."""

    payment: Uuid
    statement: Digest
    at_ms: Annotated[int, Field(ge=0, lt=253_402_300_800_000)]


class Run(Member):
    """Entries that follow each other, signed for up to the last."""

    first: Counter
    before: Digest
    entries: Annotated[list[FiledEntry], Field(min_length=1)]
    checkpoint: Compact


class FiledPayment(Member):
    """A payment as in an evidence file, whose server is the journal's."""

    payment: Uuid
    pairing: Compact
    keys: DeviceKeys
    statements: Annotated[list[Compact], Field(min_length=1, max_length=100)]

    def evidence(self, server: str) -> Evidence:
        return Evidence(
            payment=self.payment,
            server=server,
            pairing=self.pairing,
            keys=self.keys,
            statements=self.statements,
        )


class JournalPart(Member):
    """The content of the file; see the module."""

    format: Literal["cigarjack-journal"] = "cigarjack-journal"
    version: Literal[1] = 1
    server: LineageText
    runs: Annotated[list[Run], Field(min_length=1)]
    payments: Annotated[list[FiledPayment], Field(min_length=1)]


def read_part(document: bytes) -> JournalPart:
    """The content of a file, not yet verified. Raises EvidenceError."""
    return read_as(JournalPart, document, MAX_FILE_BYTES)


def is_journal(document: bytes) -> bool:
    """Whether a file calls itself one. It is read either way, strictly, as one or the other."""
    return b'"cigarjack-journal"' in document[:64]
