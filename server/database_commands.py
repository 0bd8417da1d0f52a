"""``db``: moving all that the server knows to another database, or having it back from a copy."""

from __future__ import annotations

import sys

import click

from server.backup_commands import restored
from server.console import CommandError, echo_json, folder_of, json_option, plain_errors


@click.group()
def db() -> None:
    """The server's database: moving it, and saying that it is an older copy."""


db.add_command(restored)


@db.command()
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@json_option
@click.pass_context
def copy(context: click.Context, source: str, target: str, as_json: bool) -> None:
    """Copy the database FROM to the empty database TO, as from SQLite to PostgreSQL.

    Both are URLs: sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/NAME; without the
    password it comes from PGPASSWORD or ~/.pgpass. TO gets its tables here. No server may run on
    either. One transaction: a copy that is cut off leaves TO empty. Every row is compared. Then set
    `database` in the settings to TO, and run `audit`.
    """
    folder = folder_of(context)
    with plain_errors():
        folder.identity()
        with folder.locked():
            counts = _copy(source, target, quiet=as_json)
    if as_json:
        echo_json({"rows": counts})
        return
    click.echo(f"{sum(counts.values())} rows in {len(counts)} tables are copied and compared.")
    click.echo("Next: set `database` in the settings to TO, then run: cigarjack-server audit")


def _copy(source: str, target: str, *, quiet: bool) -> dict[str, int]:
    from server.database import check_version, migrate
    from server.database_copy import copy_database, count_rows
    from server.occupancy import alone
    from server.store import Store

    if source == target:
        raise CommandError("FROM and TO are the same database.", code="database_unknown")
    try:
        stores = Store(source), Store(target)
    except ValueError as error:
        raise CommandError(f"{error}.", code="database_unknown") from None
    try:
        with alone(source), alone(target):
            check_version(stores[0])
            migrate(stores[1])
            total = sum(count_rows(stores[0]).values())
            with click.progressbar(
                length=total, label="Copying", file=sys.stderr, hidden=quiet
            ) as bar:
                return copy_database(stores[0], stores[1], bar.update)
    finally:
        for store in stores:
            store.close_now()
