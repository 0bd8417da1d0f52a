"""Where merchants are told: endpoints and their secrets.

A secret is kept as it is, for every message is signed with it; it is shown once. Who can read the
database can forge messages of it, but not the server's receipts inside them.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from server.kinds import DeliveryState, EndpointState
from server.registry import RegistryError, find_merchant
from server.schema.webhooks import QUEUED, webhook_deliveries, webhook_endpoints

#: Longer ones are a mistake.
_MAX_URL_LENGTH: Final = 2000
_LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")

_FIND: Final = select(webhook_endpoints).where(
    webhook_endpoints.c.id == bindparam("endpoint"),
    webhook_endpoints.c.state != EndpointState.REMOVED.value,
)
_CHANGE: Final = update(webhook_endpoints).where(webhook_endpoints.c.id == bindparam("endpoint"))
_DROP: Final = (
    update(webhook_deliveries)
    .where(webhook_deliveries.c.endpoint_id == bindparam("endpoint"), QUEUED)
    .values(state=DeliveryState.DROPPED.value)
)


def check_endpoint_url(url: str, *, loopback: bool) -> None:
    """https, to a host by name or address, without a password. Raises RegistryError.

    ``loopback``: http to this machine is allowed too.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise RegistryError(f"{url} is not a URL") from None
    local = parts.scheme == "http" and parts.hostname in _LOCAL_NAMES
    if parts.scheme != "https" and not (loopback and local):
        raise RegistryError("an endpoint's URL begins with https://")
    if not parts.hostname or parts.username or parts.password or parts.fragment:
        raise RegistryError("an endpoint's URL has a host, no user, no password, no fragment")
    if len(url) > _MAX_URL_LENGTH or not url.isascii() or not url.isprintable() or " " in url:
        raise RegistryError("an endpoint's URL has at most 2000 ASCII characters and no spaces")


def add_endpoint(
    connection: Connection, endpoint_id: str, merchant: str, url: str, secret: str, now_ms: int
) -> dict[str, object]:
    """``merchant``: name or id. Raises RegistryError."""
    values = {
        "id": endpoint_id,
        "merchant_id": find_merchant(connection, merchant).id,
        "url": url,
        "secret": secret,
        "state": EndpointState.ENABLED.value,
        "created_ms": now_ms,
    }
    connection.execute(insert(webhook_endpoints), values)
    return view(get_endpoint(connection, endpoint_id))


def get_endpoint(connection: Connection, endpoint_id: str) -> Row[Any]:
    """Raises RegistryError."""
    row = connection.execute(_FIND, {"endpoint": endpoint_id}).one_or_none()
    if row is None:
        raise RegistryError(
            f"there is no endpoint {endpoint_id}; run: cigarjack-server webhook list"
        )
    return row


def view(row: Row[Any]) -> dict[str, object]:
    """An endpoint without its secrets."""
    return {
        "id": row.id,
        "merchant_id": row.merchant_id,
        "url": row.url,
        "state": row.state,
        "former_until_ms": row.former_until_ms,
        "created_ms": row.created_ms,
    }


def list_endpoints(connection: Connection) -> list[dict[str, object]]:
    """Those that were not removed, the oldest first."""
    query = (
        select(webhook_endpoints)
        .where(webhook_endpoints.c.state != EndpointState.REMOVED.value)
        .order_by(webhook_endpoints.c.created_ms, webhook_endpoints.c.id)
    )
    return [view(row) for row in connection.execute(query)]


def rotate_secret(
    connection: Connection, endpoint_id: str, secret: str, former_until_ms: int
) -> dict[str, object]:
    """Sign with ``secret``, and with the one before too until then. Raises RegistryError."""
    row = get_endpoint(connection, endpoint_id)
    values = {"secret": secret, "former_secret": row.secret, "former_until_ms": former_until_ms}
    connection.execute(_CHANGE, {"endpoint": endpoint_id, **values})
    return view(get_endpoint(connection, endpoint_id))


def end_endpoint(connection: Connection, endpoint_id: str, state: EndpointState) -> int:
    """Disable or remove it, and drop what was queued for it; how much. Raises RegistryError."""
    get_endpoint(connection, endpoint_id)
    connection.execute(_CHANGE, {"endpoint": endpoint_id, "state": state.value})
    return connection.execute(_DROP, {"endpoint": endpoint_id}).rowcount


def enable_endpoint(connection: Connection, endpoint_id: str) -> None:
    """Tell it again what happens from now on. Raises RegistryError."""
    get_endpoint(connection, endpoint_id)
    connection.execute(_CHANGE, {"endpoint": endpoint_id, "state": EndpointState.ENABLED.value})
