"""``evidence``: export what proves payments, and verify it anywhere."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from server.console import CommandError, echo_json, folder_of, json_option, plain_errors, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from server.evidence_chain import Verdict
    from server.evidence_file import Member
    from server.evidence_parties import Step
    from server.issuer import Issuer

T = TypeVar("T")

_MOMENTS = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])
_FILE = click.Path(dir_okay=False, path_type=Path)
_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)
#: The end of the year 9999: after everything.
_FOREVER_MS = 253_402_300_800_000


@click.group()
def evidence() -> None:
    """Evidence of payments: signed statements that anyone can verify offline."""


@evidence.command("export")
@click.argument("payment_id", metavar="[ID]", required=False)
@click.option("--from", "since", type=_MOMENTS, help="A period instead: entered at this time (UTC)")
@click.option("--until", type=_MOMENTS, help="or later, and before this time.")
@click.option("--journal", is_flag=True, help="Of payment ID also its place in the journal.")
@click.option("--out", type=_FILE, help="Write to this file.")
@click.pass_context
def export(
    context: click.Context,
    payment_id: str | None,
    since: datetime | None,
    until: datetime | None,
    journal: bool,
    out: Path | None,
) -> None:
    """Write the evidence of payment ID, or the journal of a period, to --out or standard output.

    The journal chains the statements of all payments. A period has every payment of which something
    was entered in it, and the server's signature over its end: nothing can be left out of it.
    """
    from server.evidence import gather
    from server.evidence_file import write

    period = since is not None or until is not None
    if period == (payment_id is not None):
        raise CommandError("Give either the ID of a payment, or --from and --until.")
    if payment_id is not None and not journal:
        with plain_errors():
            identity = folder_of(context).lineage().text
        content: Member = read(context, lambda c: gather(c, payment_id, identity))
    else:
        content = _journal_part(context, payment_id, (_ms(since, 0), _ms(until, _FOREVER_MS)))
    document = write(content)
    _check(document)
    if out is None:
        click.echo(document, nl=False)
        return
    with plain_errors():
        out.write_bytes(document)
    click.echo(f"Wrote {out}. Verify it with: cigarjack-server evidence verify {out}")


def _ms(moment: datetime | None, default: int) -> int:
    from datetime import UTC

    return default if moment is None else round(moment.replace(tzinfo=UTC).timestamp() * 1000)


def _journal_part(
    context: click.Context, payment_id: str | None, period_ms: tuple[int, int]
) -> Member:
    from server.journal_export import part_of_payment, part_of_period

    with plain_errors():
        identity = folder_of(context).lineage().text

    def gather_part(c: Connection, issuer: Issuer, now_ms: int) -> Member:
        if payment_id is not None:
            return part_of_payment(c, issuer, identity, payment_id, now_ms)
        return part_of_period(c, issuer, identity, period_ms, now_ms)

    return _of_journal(context, gather_part)


def _of_journal(context: click.Context, look: Callable[[Connection, Issuer, int], T]) -> T:
    """What ``look`` finds in a journal that has everything in it. Raises CommandError."""
    from server.agent import new_id
    from server.journal import Journal
    from twochannel.trace import wall_ms

    with plain_errors():
        folder = folder_of(context)
        issuer, store = folder.issuer(new_id), folder.open_store()
        try:
            Journal(store, issuer, wall_ms).catch_up()
            return store.read_now(lambda c: look(c, issuer, wall_ms()))
        finally:
            store.close_now()


def _check(document: bytes) -> None:
    """What does not hold is not handed out. Raises CommandError."""
    from server.evidence_file import EvidenceError

    try:
        _judge(document, None, None)
    except EvidenceError as error:
        detail = f"the evidence in the database does not hold: {error}."
        raise CommandError(detail, next_step="Run: cigarjack-server audit") from None


@evidence.command("checkpoint")
@click.option("--out", type=_FILE, help="Write to this file.")
@click.pass_context
def checkpoint(context: click.Context, out: Path | None) -> None:
    """Write the server's signature over the present end of its journal.

    Keep it where the server's operator cannot change it. A later export of a period that has this
    moment in it, verified with --checkpoint, shows that nothing before was changed or cut off.
    """
    from server.journal_export import checkpoint_now

    compact = _of_journal(context, checkpoint_now)
    if out is None:
        click.echo(compact)
        return
    with plain_errors():
        out.write_text(compact + "\n", encoding="ascii")
    click.echo(f"Wrote {out}.")


@evidence.command("verify")
@click.argument("file", type=_EXISTING)
@click.option("--server", metavar="THUMBPRINT", help="Trust only the server with this key.")
@click.option("--checkpoint", type=_EXISTING, help="Of a journal: an earlier one, kept elsewhere.")
@json_option
def verify(file: Path, server: str | None, checkpoint: Path | None, as_json: bool) -> None:
    """Verify an evidence FILE with public keys alone; needs no server and no network.

    The thumbprint of a server's key is the second part of its enrolment codes (CE1:THUMBPRINT:…).
    """
    from server.evidence_file import EvidenceError

    with plain_errors():
        document = file.read_bytes()
        kept = checkpoint.read_bytes().decode("ascii", "replace").strip() if checkpoint else None
    try:
        summary, steps, payments = _judge(document, server, kept)
    except EvidenceError as error:
        detail = f"The evidence does NOT hold. {error.place}: {error.detail}."
        step = "Ask the server's operator for a fresh export."
        raise CommandError(detail, code="evidence_invalid", next_step=step) from None
    if as_json:
        echo_json({"ok": True, **summary})
        return
    _print_steps(steps)
    for verdict in payments:
        _print_verdict(verdict, apart=bool(steps))
    warned = any(step.warning for step in (*steps, *(s for v in payments for s in v.steps)))
    if warned:
        click.echo("Mind the lines marked with an exclamation mark.")


def _judge(
    document: bytes, server: str | None, kept: str | None
) -> tuple[dict[str, object], Sequence[Step], Sequence[Verdict]]:
    """The verdict on a file of either format: as JSON, the journal's own steps, the payments.

    Raises EvidenceError.
    """
    from server.evidence_chain import verify_document
    from server.evidence_file import EvidenceError
    from server.journal_file import is_journal
    from server.journal_proof import verify_journal

    if is_journal(document):
        part = verify_journal(document, server, kept)
        return asdict(part), part.steps, part.payments
    if kept is not None:
        detail = "this file tells nothing of it; export a period, or with --journal"
        raise EvidenceError("the checkpoint that you kept", detail)
    verdict = verify_document(document, server)
    return asdict(verdict), (), (verdict,)


def _print_steps(steps: Sequence[Step]) -> None:
    for step in steps:
        click.echo(f"{'!' if step.warning else '✓'} {step.subject:<15} {step.text}")


def _print_verdict(verdict: Verdict, *, apart: bool) -> None:
    """``apart``: one of several, after what was said of the journal and its server."""
    from twochannel.protocol.money import format_minor

    if apart:
        click.echo(f"\nPayment {verdict.payment}")
    _print_steps(verdict.steps[1:] if apart else verdict.steps)
    taken = format_minor(verdict.captured_minor, verdict.currency)
    back = format_minor(verdict.refunded_minor, verdict.currency)
    given_back = f", {back} of it given back" if verdict.refunded_minor else ""
    click.echo(
        f"\nThe evidence holds: payment {verdict.payment} is {verdict.status},"
        f" {taken} {verdict.currency} taken{given_back}."
    )
