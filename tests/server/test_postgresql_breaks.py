"""The way to PostgreSQL breaks, before and after every single message of a transaction.

Whatever is told, it is so: done once, or not at all; only a commit may leave nobody the wiser.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from typing import Any, Final

import pytest
from sqlalchemy import Connection, bindparam, insert, select

from server.prepared import Prepared
from server.schema.parties import merchants
from server.schema.tables import metadata
from server.store import Store, StoreAwayError
from server.transaction import Function, Outcome
from tests.postgresql import Postgresql

pytestmark = pytest.mark.postgresql

_ADD: Final = Prepared(insert(merchants).inline())
_FIND: Final = Prepared(select(merchants).where(merchants.c.id == bindparam("id")))


class BreakingWay:
    """A way to PostgreSQL that breaks at its ``at``-th message, before or after that arrives."""

    def __init__(self, port: int, at: int, *, arrives: bool) -> None:
        self._port = port
        self._at = at
        self._arrives = arrives
        self._passed = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.armed = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def broke(self) -> bool:
        return self._passed >= self._at

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                for end in (near, far):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for carry in (self._ask, self._answer):
                    threading.Thread(target=carry, args=(near, far), daemon=True).start()

    def _ask(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while message := near.recv(65536):
                self._passed += self.armed
                if self.armed and self._passed == self._at:
                    if self._arrives:
                        far.sendall(message)
                        # It has arrived when it is answered; the answer does not.
                        far.recv(65536)
                    break
                far.sendall(message)
        _break(near, far)

    def _answer(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            # A peek leaves to ``_ask`` what comes after the break.
            while far.recv(1, socket.MSG_PEEK):
                if self.armed and self._passed == self._at:
                    return
                near.sendall(far.recv(65536))
        _break(near, far)


def _break(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


@contextmanager
def breaking(server: Postgresql, url: str, at: int, *, arrives: bool) -> Iterator[Any]:
    """A store whose connection has been made already, and its way."""
    way = BreakingWay(server.port, at, arrives=arrives)
    store = Store(url.replace(f":{server.port}/", f":{way.port}/") + "?sslmode=disable")
    store.write_now(lambda _: None)
    way.armed = True
    yield store, way
    way.armed = False
    store.write_now(lambda _: None)
    store.close_now()
    way.close()


def adding(name: str) -> Function:
    def add(connection: Connection) -> str:
        assert _FIND.first(connection, {"id": name}) is None
        values = {"id": name, "name": name, "presence": "prefer", "created_ms": 1}
        _ADD.count(connection, values)
        row = connection.execute(select(merchants.c.name).where(merchants.c.id == name))
        return str(row.scalar_one())

    return add


def failing(name: str) -> Function:
    def fail(connection: Connection) -> None:
        adding(name)(connection)
        raise LookupError(name)

    return fail


def wrapping(name: str) -> Function:
    """Makes an error of its own of whatever happens."""

    def wrap(connection: Connection) -> str:
        try:
            return str(adding(name)(connection))
        except Exception as error:
            raise LookupError(name) from error

    return wrap


BATCHES: Final[dict[str, tuple[Callable[[str], Function], ...]]] = {
    "one": (adding,),
    "one that fails": (failing,),
    "three": (adding, failing, adding),
    "two that wrap": (wrapping, adding),
}


@pytest.fixture(scope="module")
def url(postgresql: Postgresql) -> str:
    url = postgresql.new_database()
    store = Store(url)
    store.write_now(metadata.create_all)
    store.close_now()
    return url


def names_in(url: str, prefix: str) -> set[str]:
    store = Store(url)
    query = select(merchants.c.id).where(merchants.c.id.startswith(prefix))
    found = store.read_now(lambda c: set(c.scalars(query)))
    store.close_now()
    return found


@pytest.mark.parametrize("arrives", [False, True])
@pytest.mark.parametrize("batch", BATCHES)
def test_what_is_told_is_so(postgresql: Postgresql, url: str, batch: str, *, arrives: bool) -> None:
    points = unsure = 0
    for at in count(1):
        prefix = f"{batch} {arrives} {at}"
        names = [f"{prefix} {number}" for number in range(len(BATCHES[batch]))]
        functions = [make(name) for make, name in zip(BATCHES[batch], names, strict=True)]
        succeed = [make is not failing for make in BATCHES[batch]]
        wanted = {name for name, succeeds in zip(names, succeed, strict=True) if succeeds}
        with breaking(postgresql, url, at, arrives=arrives) as (store, way):
            try:
                outcomes: list[Outcome] = store._database.write(partial(list, functions))
            except StoreAwayError:
                unsure += 1
                assert names_in(url, prefix) in (set(), wanted)
            else:
                assert [outcome.error is None for outcome in outcomes] == succeed
                assert names_in(url, prefix) == wanted
            if not way.broke:
                break
        points += 1
    assert points >= 5
    # Only the commit, where there is one, leaves nobody the wiser.
    assert unsure == bool(wanted)
