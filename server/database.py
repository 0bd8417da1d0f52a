"""Making and checking the database: migrations run by ``init``, checked by everything else.

Alembic is loaded by migrations alone: it would be a tenth of a running server's memory.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from sqlalchemy import Connection, inspect

from server.store import Store

#: Revisions of the schema, the oldest first (``server/migrations/versions``).
REVISIONS: Final = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "0006",
    "0007",
    "0008",
    "0009",
    "0010",
    "0011",
    "0012",
    "0013",
    "0014",
)


class DatabaseError(Exception):
    """The database cannot be used by this version. The text says what to do next."""


def migrate(store: Store, revision: str = "head") -> None:
    """Bring the schema up to this version, or an older ``revision``, in one transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files("server") / "migrations"))

    def upgrade(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    store.write_now(upgrade)


def check_version(store: Store) -> None:
    """Raises DatabaseError if the schema is not this version's."""
    current = store.read_now(revision_of)
    if current == REVISIONS[-1]:
        return
    if current is None or current in REVISIONS:
        raise DatabaseError("the database is of an older version; run: cigarjack-server migrate")
    raise DatabaseError(
        f"the database is of a newer version ({current}); start the server that made it"
    )


def revision_of(connection: Connection) -> str | None:
    """What Alembic has noted in the database; None before the first migration."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    query = "SELECT version_num FROM alembic_version"
    revision: str | None = connection.exec_driver_sql(query).scalar()
    return revision
