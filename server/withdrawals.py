"""A phone of several that will not decide leaves the payment to the others.

A phone that is not in the car cannot get an auth code, and declines when its time is over; one
whose rules refuse speaks for its own owner alone. Neither may end what somebody in the car wants to
pay.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, func, select, update

from server.payments import PaymentRow
from server.prepared import Prepared
from server.schema.payments import challenges
from twochannel.protocol.statements import Confirmation, DecidedBy

_WITHDRAW = Prepared(
    update(challenges).where(
        challenges.c.payment_id == bindparam("payment"), challenges.c.phone_id == bindparam("phone")
    )
)
_LEFT = Prepared(
    select(func.count()).where(
        challenges.c.payment_id == bindparam("payment"), challenges.c.withdrawn_ms.is_(None)
    )
)


def others_may_decide(
    connection: Connection, row: PaymentRow, decline: Confirmation, now_ms: int
) -> bool:
    """Note that a phone has withdrawn; whether others are left, so that the payment goes on.

    False as well for a person who declines at the jack: that is a decision.
    """
    if row.asked is None:
        return False
    if decline.decided_by is DecidedBy.OWNER and decline.auth_code is not None:
        return False
    phone = {"payment": row.id, "phone": decline.iss, "withdrawn_ms": now_ms}
    _WITHDRAW.count(connection, phone)
    return bool(_LEFT.scalar(connection, {"payment": row.id}))
