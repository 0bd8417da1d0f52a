"""``audit``: check everything that is stored against the invariants."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from server.console import CommandError, echo_json, folder_of, json_option, plain_errors

if TYPE_CHECKING:
    from server.audit_records import Check, Records


class UnreadableError(CommandError):
    """The audit could not be made, which is not the same as one that found something."""

    exit_code = 2


@click.command()
@json_option
@click.pass_context
def audit(context: click.Context, as_json: bool) -> None:
    """Check the database and the processor's books against the invariants.

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
            database = folder.settings().database_at(folder.path)
            identity = folder.identity()
        return read_records(database, folder.path / "processor.sqlite3", identity, wall_ms())
    except AuditError as error:
        raise UnreadableError(f"{error}.", code="audit_unreadable") from None
    except CommandError as error:
        raise UnreadableError(error.message, code=error.code, next_step=error.next_step) from None


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
