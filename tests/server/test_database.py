"""The schema by migration is the schema in the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from server.database import REVISIONS, DatabaseError, check_version, migrate
from server.schema.tables import metadata
from server.store import Store


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    yield store
    store.close_now()


def definitions(store: Store) -> dict[str, list[str]]:
    """Each table and index as the sorted lines of its definition."""

    def read(connection: Connection) -> dict[str, list[str]]:
        if connection.dialect.name == "postgresql":
            return _catalogue(connection)
        query = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
        rows = connection.exec_driver_sql(query)
        # SQLite quotes the name of a table that was made anew and renamed.
        plain = ((name, sql.replace('"', "")) for name, sql in rows)
        return {name: sorted(re.findall(r"[^\n,]+", sql)) for name, sql in plain}

    found = store.read_now(read)
    found.pop("sqlite_sequence", None)
    found.pop("alembic_version", None)
    # SQLite writes a column that was added on the line that ends the table.
    plain = {name: [line.strip(" \t)") for line in lines] for name, lines in found.items()}
    return {name: sorted(filter(None, lines)) for name, lines in plain.items()}


def _catalogue(connection: Connection) -> dict[str, list[str]]:
    """The same from what PostgreSQL says of columns, constraints and indices."""
    queries = (
        "SELECT table_name, column_name || ' ' || data_type || ' ' || is_nullable || ' '"
        " || coalesce(column_default, '') FROM information_schema.columns"
        " WHERE table_schema = 'public'",
        "SELECT conrelid::regclass::text, conname || ' ' || pg_get_constraintdef(oid)"
        " FROM pg_constraint WHERE connamespace = 'public'::regnamespace",
        "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    )
    found: dict[str, list[str]] = {}
    for query in queries:
        for table, line in connection.exec_driver_sql(query):
            found.setdefault(table, []).append(line)
    return found


def test_migrations_from_nothing_give_the_schema(store: Store, empty_database: str) -> None:
    migrate(store)
    differences = store.read_now(
        lambda c: compare_metadata(MigrationContext.configure(c), metadata)
    )
    assert differences == []
    direct = Store(empty_database)
    direct.write_now(metadata.create_all)
    # Alembic's comparison passes over CHECK constraints.
    assert definitions(store) == definitions(direct)
    direct.close_now()


def test_the_revisions_are_those_of_the_migrations() -> None:
    script = ScriptDirectory(str(files("server") / "migrations"))
    assert tuple(r.revision for r in reversed(list(script.walk_revisions()))) == REVISIONS


def test_migrating_again_changes_nothing(store: Store) -> None:
    migrate(store)
    before = definitions(store)
    migrate(store)
    check_version(store)
    assert definitions(store) == before


def test_an_older_or_empty_database_is_refused(store: Store) -> None:
    with pytest.raises(DatabaseError, match="cigarjack-server migrate"):
        check_version(store)


def test_a_newer_database_is_refused(store: Store) -> None:
    migrate(store)
    store.write_now(lambda c: c.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match="newer version"):
        check_version(store)


def fill(connection: Connection, status: str) -> None:
    """A payment as revision 0002 has it."""
    connection.exec_driver_sql("INSERT INTO merchants VALUES ('m', 'M', 'prefer', 1)")
    connection.exec_driver_sql("INSERT INTO terminals VALUES ('t', '{}', 'm', 'L', 1, NULL)")
    connection.exec_driver_sql("INSERT INTO phones VALUES ('h', '{}', 'P', 1, NULL)")
    connection.exec_driver_sql("INSERT INTO jacks VALUES ('j', '{}', '{}', 1, 'h', 0, 1, NULL)")
    connection.exec_driver_sql("INSERT INTO pairings VALUES (1, 'j', 1, 'h', 'd', 'c', 1)")
    connection.exec_driver_sql(
        "INSERT INTO payments (id, status, capture, currency, amount_minor, merchant_id,"
        " merchant_name, presence, terminal_id, jack_id, epoch, phone_id, lane, lane_digest,"
        f" reference, description, match_code, created_ms, expires_s) VALUES ('p', {status!r},"
        " 'automatic', 'EUR', 450, 'm', 'M', 'prefer', 't', 'j', 1, 'h', 'L', 'l', 'r', '',"
        " '42', 1, 2)"
    )


def test_orders_of_before_refunds_outlive_the_migration(store: Store) -> None:
    migrate(store, "0002")

    def order_a_charge(connection: Connection) -> None:
        fill(connection, "captured")
        row = "1, 'p', 'charge', 1, 450, 'EUR', 'p:charge:1', 'done', 1, NULL, 1, 1, 2, 'succeeded'"
        connection.exec_driver_sql(f"INSERT INTO outbox VALUES ({row}, 'sim_1', NULL)")

    store.write_now(order_a_charge)
    migrate(store)
    (order,) = store.read_now(lambda c: list(c.exec_driver_sql("SELECT * FROM outbox").mappings()))
    assert (order["idempotency_key"], order["outcome"]) == ("p:charge:1", "succeeded")
    assert (order["processor_reference"], order["refund_id"]) == ("sim_1", None)
    check_version(store)


@pytest.mark.parametrize(
    ("status", "typ", "reason"),
    [
        ("voided", "cancel+jwt", "canceled_by_terminal"),
        ("voided", "receipt+jwt", "hold_expired"),
        ("captured", "receipt+jwt", None),
    ],
)
def test_it_is_said_who_released_the_holds_of_before(
    store: Store, status: str, typ: str, reason: str | None
) -> None:
    migrate(store, "0002")

    def settle(connection: Connection) -> None:
        fill(connection, status)
        row = f"'p', 1, '{typ}', 'k', 'i', 'd', 'c'"
        connection.exec_driver_sql(f"INSERT INTO statements VALUES ({row})")

    store.write_now(settle)
    migrate(store)
    query = "SELECT reason FROM payments"
    assert store.read_now(lambda c: c.exec_driver_sql(query).scalar_one()) == reason
