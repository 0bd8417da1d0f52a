"""The auditor's check of the journal. Pure; the links are computed anew, from the statements."""

from __future__ import annotations

import hashlib
from typing import Final

from server.audit_records import Check, Records, Row
from twochannel.protocol.errors import CodedError
from twochannel.protocol.journal import Checkpoint
from twochannel.protocol.succession import Lineage, read_lineage
from twochannel.protocol.wire import base64url

#: The first line of what every link is the hash of (docs/protocol.md, The journal).
_FORMAT: Final = "cigarjack-journal-1"


def check_journal(check: Check, records: Records) -> None:
    lineage = read_lineage(records.identity)
    statements = {s["seq"]: s for rows in records.statements.values() for s in rows}
    links = [_hash(_FORMAT, lineage.server)]
    for number, row in enumerate(records.journal, start=1):
        check.objects += 1
        statement = statements.pop(row["statement_seq"], None)
        check.demand(row["seq"] == number, f"entry {number} of the journal is missing")
        if statement is None:
            check.findings.append(f"entry {number} of the journal has no statement of its own")
        else:
            check.demand(_follows(links[-1], row, statement), f"entry {number} was changed")
        links.append(row["link"])
    last_seq = records.journal[-1]["statement_seq"] if records.journal else 0
    for seq in sorted(statements):
        check.demand(seq > last_seq, f"statement {seq} was left out of the journal")
    waiting = sum(seq > last_seq for seq in statements)
    if waiting:
        check.notes.append(f"{waiting} statements are not in the journal yet")
    _check_checkpoints(check, records, lineage, links)


def _follows(before: str, row: Row, statement: Row) -> bool:
    digest = _hash(statement["compact"])
    fields = (before, str(row["seq"]), statement["payment_id"], digest, str(row["at_ms"]))
    return bool(row["link"] == _hash(_FORMAT, *fields))


def _check_checkpoints(check: Check, records: Records, lineage: Lineage, links: list[str]) -> None:
    for row in records.checkpoints:
        check.objects += 1
        name = f"the checkpoint at entry {row['seq']} of the journal"
        try:
            checkpoint = lineage.verify(row["compact"], Checkpoint)
        except CodedError as error:
            check.findings.append(f"{name}: {error.detail}")
            continue
        check.demand(checkpoint.entries == row["seq"], f"{name} is filed under another number")
        if checkpoint.entries >= len(links):
            check.findings.append(f"{name} is beyond its end: entries were cut off")
        else:
            agrees = links[checkpoint.entries] == checkpoint.link
            check.demand(agrees, f"{name} was signed for another journal")


def _hash(*lines: str) -> str:
    return base64url(hashlib.sha256("\n".join(lines).encode()).digest())
