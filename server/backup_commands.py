"""``backup``, ``restore`` and ``db restored``: losing a machine without losing money."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from server.console import CommandError, echo_json, folder_of, json_option, moment, plain_errors
from twochannel.trace import wall_ms

if TYPE_CHECKING:
    from server.issuer import Issuer
    from server.state import StateFolder
    from server.store import Store

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("target", type=_FOLDER)
@json_option
@click.pass_context
def backup(context: click.Context, target: Path, as_json: bool) -> None:
    """Write a backup into the new folder TARGET; the server may run.

    It has the server's keys, settings and, on SQLite, its database: keep it as safe as the state
    folder. On PostgreSQL dump the database itself with pg_dump. The processor's books are its own.
    """
    from server.backup import make_backup
    from server.journal import Journal
    from server.journal_export import JournalError, checkpoint_now

    with plain_errors():
        folder = folder_of(context)
        issuer, store, now_ms = _issuer(folder), folder.open_store(), wall_ms()
        try:
            Journal(store, issuer, wall_ms).catch_up()
            checkpoint = store.read_now(lambda c: checkpoint_now(c, issuer, now_ms))
        except JournalError:
            checkpoint = None
        finally:
            store.close_now()
        made = make_backup(folder, target, issuer.server_id, now_ms, checkpoint)
    if as_json:
        echo_json({"server": made.server, "made_ms": made.made_ms, "database": made.database})
        return
    click.echo(f"Backed up {len(made.files)} files into {target}.")
    if not made.database:
        click.echo("The database is not among them; dump it with: pg_dump --format=custom")


@click.command()
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option
@click.pass_context
def restore(context: click.Context, source: Path, as_json: bool) -> None:
    """Bring the backup SOURCE back into an empty state folder (--state).

    Every order to the processor that is open in it is asked about before anything is charged. What
    was done after the backup is not in it: run `audit` before the first payment.
    """
    from server.backup import distrust_orders, finish_restore, read_backup, restore_files

    with plain_errors():
        folder, manifest = folder_of(context), read_backup(source)
        restore_files(source, folder, manifest)
        with folder.locked():
            orders = 0
            if manifest.database:
                issuer = _issuer_of_backup(folder, source)
                with _store_alone(folder) as store:
                    orders = distrust_orders(store, issuer, wall_ms())
            finish_restore(source, folder)
    if as_json:
        echo_json({"server": manifest.server, "made_ms": manifest.made_ms, "orders": orders})
        return
    click.echo(f"Server {manifest.server} is as it was on {moment(manifest.made_ms)}.")
    click.echo(f"{orders} open orders will be asked about at the processor before anything else.")
    if not manifest.database:
        click.echo("Restore the database with pg_restore, then run: cigarjack-server db restored")
    click.echo("Next: cigarjack-server audit")


@click.command("restored")
@json_option
@click.pass_context
def restored(context: click.Context, as_json: bool) -> None:
    """Say that the database is an older copy; no server of it may run.

    Every open order is then asked about at the processor before anything is charged. `restore` does
    so by itself; after pg_restore, or a copied file, this has to be said.
    """
    from server.backup import distrust_orders

    folder = folder_of(context)
    with plain_errors():
        issuer = _issuer(folder)
        with folder.locked(), _store_alone(folder) as store:
            orders = distrust_orders(store, issuer, wall_ms())
    if as_json:
        echo_json({"orders": orders})
        return
    click.echo(f"{orders} open orders will be asked about at the processor before anything else.")
    click.echo("Next: cigarjack-server audit")


def _issuer(folder: StateFolder) -> Issuer:
    from server.agent import new_id

    return folder.issuer(new_id)


def _issuer_of_backup(folder: StateFolder, source: Path) -> Issuer:
    """The issuer of a folder that has no identity yet. Raises CommandError, KeyStoreError."""
    from server.agent import new_id

    try:
        return folder.issuer(new_id, (source / "identity.jwt").read_text(encoding="ascii"))
    except OSError as error:
        raise CommandError(f"the backup has no identity: {error}") from None


@contextmanager
def _store_alone(folder: StateFolder) -> Iterator[Store]:
    """The database, of whatever version it is, and nobody else at it.

    Raises SettingsError, DatabaseError, StoreError.
    """
    from server.occupancy import alone
    from server.store import Store

    url = folder.settings().database_at(folder.path)
    store = Store(url)
    try:
        with alone(url):
            yield store
    finally:
        store.close_now()
