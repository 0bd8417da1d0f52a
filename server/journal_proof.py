"""Verifying a part of the journal offline, with public keys alone. Pure.

First the chain: every entry's link follows from the one before, and the server has signed for the
last. Then the payments, each as by itself (``server.evidence_chain``). Then both against each
other: every entry is of a statement that is here, and none is entered twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from server.evidence_chain import Verdict, verify_evidence
from server.evidence_file import EvidenceError
from server.evidence_parties import Step, demand, meet_server
from server.journal_file import FiledPayment, JournalPart, Run, read_part
from twochannel.protocol.envelope import digest, unverified_claims
from twochannel.protocol.errors import CodedError
from twochannel.protocol.journal import Checkpoint, Entry, link, origin
from twochannel.protocol.statements import Role
from twochannel.protocol.succession import Lineage

_SUBJECT: Final = "journal"


@dataclass(frozen=True, slots=True)
class JournalVerdict:
    """What a part of the journal proves. ``last_link`` is that of entry ``last``."""

    server: str
    entries: int
    first: int
    last: int
    last_link: str
    steps: tuple[Step, ...]
    payments: tuple[Verdict, ...]


def verify_journal(
    document: bytes, trusted_server: str | None = None, kept: str | None = None
) -> JournalVerdict:
    """Verify a file. ``trusted_server``: as for evidence. ``kept``: a checkpoint from elsewhere,
    which the file must reach and agree with. Raises EvidenceError."""
    part = read_part(document)
    lineage, first_step = meet_server(part.server, trusted_server)
    server_id = lineage.server
    chain = _Chain(lineage)
    for number, run in enumerate(part.runs, start=1):
        try:
            chain.take(run)
        except CodedError as error:
            raise EvidenceError(f"run {number} of the journal", error.detail) from None
    steps = [first_step, *chain.steps]
    if kept is not None:
        steps.append(chain.compare(kept))
    verdicts = tuple(_verify_payment(part, payment, trusted_server) for payment in part.payments)
    steps += _match(part)
    first, last = part.runs[0].first, chain.last
    entries = sum(len(run.entries) for run in part.runs)
    return JournalVerdict(
        server_id, entries, first, last, chain.links[last], tuple(steps), verdicts
    )


class _Chain:
    """The links of the runs so far."""

    def __init__(self, lineage: Lineage) -> None:
        self._lineage = lineage
        self.last = 0
        self.links: dict[int, str] = {0: origin(lineage.server)}
        self.steps: list[Step] = []
        self._at_ms = 0

    def take(self, run: Run) -> None:
        """The next run. Raises CodedError."""
        before = self.links.get(run.first - 1)
        demand(run.first > self.last, "its entries are not after those of the run before")
        demand(before in (None, run.before), "it does not follow the link before it")
        self.links[run.first - 1] = last_link = run.before
        for seq, filed in enumerate(run.entries, start=run.first):
            demand(filed.at_ms >= self._at_ms, f"the time of entry {seq} goes back")
            self._at_ms = filed.at_ms
            entry = Entry(seq, filed.payment, filed.statement, filed.at_ms)
            self.links[seq] = last_link = link(last_link, entry)
            self.last = seq
        checkpoint = self._checkpoint(run.checkpoint)
        demand(checkpoint.entries == self.last, "its checkpoint is of another entry than its last")
        demand(checkpoint.link == last_link, "the entries are not those that the server signed for")
        self._say(run, checkpoint)

    def _checkpoint(self, compact: str) -> Checkpoint:
        checkpoint = self._lineage.verify(compact, Checkpoint)
        demand(
            checkpoint.iss == self._lineage.server, "the checkpoint is of another server's journal"
        )
        return checkpoint

    def _say(self, run: Run, checkpoint: Checkpoint) -> None:
        opened = ", from its very beginning" if run.first == 1 else ""
        times = f"{_moment(run.entries[0].at_ms)} to {_moment(run.entries[-1].at_ms)}"
        text = (
            f"Entries {run.first} to {self.last} ({times}){opened}: each names the one before, and"
            f" the server signed for the last on {_moment(checkpoint.iat * 1000)}."
        )
        self.steps.append(Step(_SUBJECT, Role.SERVER, self._lineage.newest.key.kid, text))

    def compare(self, kept: str) -> Step:
        """Hold the runs against a checkpoint that was kept elsewhere. Raises EvidenceError."""
        try:
            checkpoint = self._checkpoint(kept)
            entries = checkpoint.entries
            demand(
                entries in self.links,
                f"it is of entry {entries}, which this file does not reach or leaves out:"
                " entries may have been cut off; ask for a period that includes it",
            )
            told = f"entry {entries} was another one when the checkpoint was signed"
            demand(self.links[entries] == checkpoint.link, told)
        except CodedError as error:
            raise EvidenceError("the checkpoint that you kept", error.detail) from None
        text = (
            f"The checkpoint that you kept, signed on {_moment(checkpoint.iat * 1000)}, agrees:"
            f" nothing up to entry {entries} was changed, left out or put in since."
        )
        return Step("checkpoint", Role.SERVER, self._lineage.newest.key.kid, text)


def _verify_payment(
    part: JournalPart, payment: FiledPayment, trusted_server: str | None
) -> Verdict:
    try:
        return verify_evidence(payment.evidence(part.server), trusted_server)
    except EvidenceError as error:
        place = f"payment {payment.payment}, {error.place}"
        raise EvidenceError(place, error.detail) from None


def _match(part: JournalPart) -> list[Step]:
    """Entries and statements belong together. Raises EvidenceError."""
    waiting = {payment.payment: _digests(payment) for payment in part.payments}
    seen: dict[str, None] = {}
    if len(waiting) != len(part.payments):
        raise EvidenceError("payments", "one of them stands there twice")
    for run in part.runs:
        for seq, entry in enumerate(run.entries, start=run.first):
            seen[entry.payment] = None
            if entry.statement not in waiting.get(entry.payment, ()):
                detail = "its statement is not here, or was entered before"
                raise EvidenceError(f"entry {seq} of the journal", detail)
            waiting[entry.payment].remove(entry.statement)
    if list(seen) != list(waiting):
        raise EvidenceError("payments", "they do not stand in the order of their entries")
    return [_matched(waiting)]


def _matched(waiting: dict[str, list[str]]) -> Step:
    elsewhere = sum(len(digests) for digests in waiting.values())
    text = "Every entry is of a statement that is here, and none is entered twice."
    if elsewhere:
        text += (
            f" {elsewhere} statements of these payments have no entry in this file: they were"
            " entered before or after it, or not yet."
        )
    return Step(_SUBJECT, None, None, text, warning=bool(elsewhere))


def _digests(payment: FiledPayment) -> list[str]:
    """Of the payment's statements; the auth codes inside its confirmations are ones too."""
    digests = []
    for compact in payment.statements:
        auth_code = unverified_claims(compact).get("auth_code")
        digests += [digest(text) for text in (compact, auth_code) if isinstance(text, str)]
    return digests


def _moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
