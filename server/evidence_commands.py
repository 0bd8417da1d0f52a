"""``evidence``: export what proves a payment, and verify it anywhere."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from server.console import CommandError, echo_json, folder_of, json_option, plain_errors, read

if TYPE_CHECKING:
    from server.evidence_chain import Verdict


@click.group()
def evidence() -> None:
    """Evidence of payments: signed statements that anyone can verify offline."""


@evidence.command("export")
@click.argument("payment_id", metavar="ID")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
@click.pass_context
def export(context: click.Context, payment_id: str, out: Path | None) -> None:
    """Write the evidence file of a payment, to standard output or to --out FILE."""
    from server.evidence import gather
    from server.evidence_chain import verify_document
    from server.evidence_file import EvidenceError, write

    with plain_errors():
        identity = folder_of(context).identity()
    document = write(read(context, lambda c: gather(c, payment_id, identity)))
    try:
        verify_document(document)
    except EvidenceError as error:
        detail = f"the evidence in the database does not hold: {error}."
        raise CommandError(detail, next_step="Run: cigarjack-server audit") from None
    if out is None:
        click.echo(document, nl=False)
        return
    with plain_errors():
        out.write_bytes(document)
    click.echo(f"Wrote {out}. Verify it with: cigarjack-server evidence verify {out}")


@evidence.command("verify")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--server", metavar="THUMBPRINT", help="Trust only the server with this key.")
@json_option
def verify(file: Path, server: str | None, as_json: bool) -> None:
    """Verify an evidence FILE with public keys alone; needs no server and no network.

    The thumbprint of a server's key is the second part of its enrolment codes (CE1:THUMBPRINT:…).
    """
    from server.evidence_chain import verify_document
    from server.evidence_file import EvidenceError

    with plain_errors():
        document = file.read_bytes()
    try:
        verdict = verify_document(document, server)
    except EvidenceError as error:
        detail = f"The evidence does NOT hold. {error.place}: {error.detail}."
        step = "Ask the server's operator for a fresh export."
        raise CommandError(detail, code="evidence_invalid", next_step=step) from None
    if as_json:
        echo_json({"ok": True, **asdict(verdict)})
        return
    _print_verdict(verdict)


def _print_verdict(verdict: Verdict) -> None:
    from twochannel.protocol.money import format_minor

    for step in verdict.steps:
        click.echo(f"{'!' if step.warning else '✓'} {step.subject:<15} {step.text}")
    taken = format_minor(verdict.captured_minor, verdict.currency)
    back = format_minor(verdict.refunded_minor, verdict.currency)
    given_back = f", {back} of it given back" if verdict.refunded_minor else ""
    click.echo(
        f"\nThe evidence holds: payment {verdict.payment} is {verdict.status},"
        f" {taken} {verdict.currency} taken{given_back}."
    )
    if any(step.warning for step in verdict.steps):
        click.echo("Mind the lines marked with an exclamation mark.")
