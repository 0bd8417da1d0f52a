"""What every command of the server shares: its state folder, its output, its errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from server.state import StateFolder

T = TypeVar("T")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


class CommandError(click.ClickException):
    """A command that failed: one sentence on standard error, or JSON with ``--json``. Exit 1."""

    def __init__(self, detail: str, *, code: str = "failed", next_step: str = "") -> None:
        super().__init__(detail)
        self.code = code
        self.next_step = next_step
        context = click.get_current_context(silent=True)
        self.as_json = bool(context and context.params.get("as_json"))

    def show(self, file: IO[Any] | None = None) -> None:
        if self.as_json:
            error = {"code": self.code, "detail": self.message, "next_step": self.next_step}
            click.echo(json.dumps({"error": error}), err=True, file=file)
            return
        click.echo(f"{self.message}\n{self.next_step}".strip(), err=True, file=file)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn the errors that an operator can do something about into CommandError."""
    from server.database import DatabaseError
    from server.journal_export import JournalError
    from server.registry import RegistryError
    from server.reviews import ReviewError
    from server.store import StoreAwayError, StoreError
    from twochannel.keystore.port import KeyStoreError
    from twochannel.protocol.errors import PROBLEMS, CodedError
    from twochannel.settings import SettingsError
    from twochannel.state_folder import StateFolderError

    try:
        yield
    except CodedError as error:
        raise CommandError(
            error.detail, code=error.code.value, next_step=PROBLEMS[error.code].next_step
        ) from None
    except StoreAwayError as error:
        next_step = "Start PostgreSQL, or correct `database` in the settings, and try again."
        raise CommandError(str(error), code="database_away", next_step=next_step) from None
    except (
        DatabaseError,
        JournalError,
        KeyStoreError,
        OSError,
        RegistryError,
        ReviewError,
        SettingsError,
        StateFolderError,
        StoreError,
    ) as error:
        raise CommandError(str(error)) from None


def folder_of(context: click.Context) -> StateFolder:
    """The state folder that ``--state`` names."""
    from server.state import StateFolder

    return StateFolder(context.obj)


def read(context: click.Context, function: Callable[[Connection], T]) -> T:
    """Run a reading transaction on the server's database. Raises CommandError."""
    return _run(context, function, writes=False)


def write(context: click.Context, function: Callable[[Connection], T]) -> T:
    """Run a writing transaction, beside a running server or without one. Raises CommandError."""
    return _run(context, function, writes=True)


def _run(context: click.Context, function: Callable[[Connection], T], *, writes: bool) -> T:
    with plain_errors():
        store = folder_of(context).open_store()
        try:
            return store.write_now(function) if writes else store.read_now(function)
        finally:
            store.close_now()


def moment(at_ms: int) -> str:
    """Unix milliseconds as a person reads them, in UTC."""
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def echo_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))
