"""``audit``: check everything that is stored against the invariants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from server.console import CommandError, echo_json, folder_of, json_option, plain_errors

if TYPE_CHECKING:
    from server.audit_records import Check, Records, Rows
    from server.config import ServerSettings


class UnreadableError(CommandError):
    """The audit could not be made, which is not the same as one that found something."""

    exit_code = 2


@click.command()
@json_option
@click.pass_context
def audit(context: click.Context, as_json: bool) -> None:
    """Check the database and the processor's books against the invariants.

    With Stripe, its books are all that it has of our payments.

    Reads only, and may be used while the server runs. Exit code 0: all hold; 1: something is
    wrong; 2: the files could not be read.
    """
    from server.auditor import audit as audit_records

    checks = audit_records(_records(context))
    ok = not any(check.findings for check in checks)
    if as_json:
        echo_json({"ok": ok, "checks": [asdict(check) for check in checks]})
    else:
        _print_checks(checks)
    context.exit(0 if ok else 1)


def _records(context: click.Context) -> Records:
    from server.audit_records import AuditError, read_records
    from twochannel.trace import wall_ms

    folder = folder_of(context)
    try:
        with plain_errors():
            settings, identity = folder.settings(), folder.lineage().text
            elsewhere = _stripe_books(settings) if settings.processor == "stripe" else None
        database, books = settings.database_at(folder.path), folder.path / "processor.sqlite3"
        return read_records(database, books, identity, wall_ms(), elsewhere)
    except AuditError as error:
        raise UnreadableError(f"{error}.", code="audit_unreadable") from None
    except CommandError as error:
        raise UnreadableError(error.message, code=error.code, next_step=error.next_step) from None


def _stripe_books(settings: ServerSettings) -> Callable[[], Rows]:
    """Reads them from Stripe, when it is called. Raises SettingsError, OSError."""
    from server.audit_records import AuditError
    from server.processors.choice import installed

    with installed():
        import stripe

        from server.processors.stripe_books import read_stripe_books
    key, url = settings.stripe_secret(), settings.stripe_url

    def read() -> Rows:
        try:
            return read_stripe_books(key, url)
        except (stripe.StripeError, LookupError, TypeError) as error:
            raise AuditError(
                f"cannot read what Stripe has booked: {type(error).__name__}"
            ) from None

    return read


def _print_checks(checks: list[Check]) -> None:
    for check in checks:
        mark = "✗" if check.findings else "✓"
        click.echo(f"{mark} {check.number:>2}  {check.title:<72} {check.objects:>6} checked")
        for finding in check.findings:
            click.echo(f"      ✗ {finding}")
        for note in check.notes:
            click.echo(f"      ! {note}")
    findings = sum(len(check.findings) for check in checks)
    click.echo("\nEverything holds." if not findings else f"\n{findings} findings.")
