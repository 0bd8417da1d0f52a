"""Pages of payments, newest first; the cursor names the last one that was shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, select, tuple_

from server.payments import view
from server.schema.payments import ACTIVE, payments
from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.statements import Role

_DEFAULT_LIMIT: Final = 20
_MAX_LIMIT: Final = 100
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}", re.ASCII)
_CURSOR = re.compile(r"([0-9]{1,15})\.([0-9a-f-]{36})", re.ASCII)

PARAMETERS: Final[tuple[dict[str, Any], ...]] = (
    {
        "name": "limit",
        "in": "query",
        "description": "How many, newest first.",
        "schema": {
            "type": "integer",
            "minimum": 1,
            "maximum": _MAX_LIMIT,
            "default": _DEFAULT_LIMIT,
        },
    },
    {
        "name": "cursor",
        "in": "query",
        "description": "`next_cursor` of the page before.",
        "schema": {"type": "string", "pattern": f"^{_CURSOR.pattern}$"},
    },
    {
        "name": "reference",
        "in": "query",
        "description": "Only those with this reference of the merchant.",
        "schema": {"type": "string", "pattern": f"^{_REFERENCE.pattern}$"},
    },
    {
        "name": "active",
        "in": "query",
        "description": "`true`: only those that are not over: pending, confirmed, unknown or held.",
        "schema": {"type": "string", "enum": ["true"]},
    },
)


@dataclass(frozen=True, slots=True)
class Page:
    """Which payments are asked for: ``before`` (created_ms, id), at most ``limit``."""

    limit: int = _DEFAULT_LIMIT
    before: tuple[int, str] | None = None
    reference: str | None = None
    active: bool = False


def read_page(query: Mapping[str, str]) -> Page:
    """Read the parameters. Raises StatementError (``message_malformed``)."""
    limit, cursor = query.get("limit", str(_DEFAULT_LIMIT)), query.get("cursor")
    reference, active = query.get("reference"), query.get("active")
    match = _CURSOR.fullmatch(cursor) if cursor is not None else None
    if not re.fullmatch(r"[0-9]{1,3}", limit, re.ASCII) or not 1 <= int(limit) <= _MAX_LIMIT:
        raise StatementError(ErrorCode.MESSAGE_MALFORMED, f"limit is a number to {_MAX_LIMIT}")
    if cursor is not None and match is None:
        raise StatementError(ErrorCode.MESSAGE_MALFORMED, "cursor is not one of this server's")
    if reference is not None and not _REFERENCE.fullmatch(reference):
        raise StatementError(ErrorCode.MESSAGE_MALFORMED, "reference is not one that payments have")
    if active not in (None, "true"):
        raise StatementError(ErrorCode.MESSAGE_MALFORMED, "active is true, or left out")
    before = (int(match[1]), match[2]) if match else None
    return Page(int(limit), before, reference, active is not None)


def list_payments(
    connection: Connection, role: Role, device_id: str, page: Page
) -> dict[str, object]:
    """One page of a terminal's or phone's payments, as the API shows it."""
    rows = connection.execute(page_query(role, device_id, page)).all()
    shown = rows[: page.limit]
    more = len(rows) > page.limit
    return {
        "items": [view(row) for row in shown],
        "next_cursor": f"{shown[-1].created_ms}.{shown[-1].id}" if more else None,
    }


def page_query(role: Role, device_id: str, page: Page) -> Select[Any]:
    """The rows of a page, and one more if there is another page."""
    owner = payments.c.terminal_id if role is Role.TERMINAL else payments.c.phone_id
    place = tuple_(payments.c.created_ms, payments.c.id)
    query = select(payments).where(owner == device_id)
    if page.reference is not None:
        query = query.where(payments.c.reference == page.reference)
    if page.active:
        query = query.where(ACTIVE)
    if page.before is not None:
        query = query.where(place < tuple_(*page.before))
    query = query.order_by(payments.c.created_ms.desc(), payments.c.id.desc())
    return query.limit(page.limit + 1)
