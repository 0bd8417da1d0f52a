"""What the operator orders for a payment: refund and cancel, signed with the server's own key.

For a terminal that is lost, broken or revoked. Whoever has the state folder has that key; the
evidence shows that it was not the terminal. Captures stay the terminal's: only there is it known
what was delivered.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from server.issuer import Issuer
from server.operations import SignedOrder, accept_order
from server.payments import get_payment, statement_of
from server.refunds import SignedRefund, accept_refund
from twochannel.protocol.envelope import sign
from twochannel.protocol.limits import REQUEST_LIFETIME_S
from twochannel.protocol.money import Amount
from twochannel.protocol.statements import Cancel, PaymentRequest, Refund


def order_refund(
    connection: Connection,
    issuer: Issuer,
    payment_id: str,
    amount: Amount,
    reference: str,
    reason: str,
    now_ms: int,
) -> dict[str, object]:
    """Refund a payment of whichever terminal; the refund as the API shows it. Raises CodedError."""
    claims = _claims(connection, issuer, payment_id, now_ms)
    told = {"amount": amount.model_dump(), "reference": reference, "reason": reason}
    refund = Refund.from_claims(claims | told)
    signed = SignedRefund(refund, sign(refund, issuer.signer), issuer.signer.key.kid)
    return accept_refund(connection, payment_id, signed, now_ms, issuer).refund


def order_cancel(
    connection: Connection, issuer: Issuer, payment_id: str, reason: str, now_ms: int
) -> dict[str, object]:
    """Cancel a payment of whichever terminal; the payment as it is then. Raises CodedError."""
    claims = _claims(connection, issuer, payment_id, now_ms)
    cancel = Cancel.from_claims(claims | {"reason": reason})
    signed = SignedOrder(cancel, sign(cancel, issuer.signer), issuer.signer.key.kid)
    return accept_order(connection, payment_id, signed, now_ms, issuer).payment


def _claims(connection: Connection, issuer: Issuer, payment_id: str, now_ms: int) -> dict[str, Any]:
    """The claims that all orders have. Raises PaymentError (``payment_unknown``)."""
    get_payment(connection, payment_id)
    return {
        "iss": issuer.server_id,
        "aud": issuer.server_id,
        "jti": issuer.new_id(),
        "sub": payment_id,
        "prev": statement_of(connection, payment_id, PaymentRequest.TYP).digest,
        "iat": now_ms // 1000,
        "exp": now_ms // 1000 + REQUEST_LIFETIME_S,
    }
