"""Stripe's webhooks: whether Stripe has signed one, and which payment it is about.

Nothing else of an event is read: what became of an order is asked of Stripe itself.
"""

from __future__ import annotations

import json
from typing import Annotated, Final

import stripe
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from server.processor_events import ProcessorEvent
from twochannel.protocol.errors import CodedError, ErrorCode
from twochannel.protocol.statements import Uuid

#: Stripe signs each delivery anew; an older one was recorded by somebody.
_TOLERANCE_S: Final = 300

_Text = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.]{1,255}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class _Metadata(_Part):
    payment: Uuid | None = None


class _Object(_Part):
    metadata: _Metadata | None = None


class _Data(_Part):
    object: _Object


class _Event(_Part):
    id: _Text
    type: _Text
    data: _Data


class StripeEvents:
    """Reads webhooks that were signed with ``secret`` (``whsec_…``)."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def read(self, payload: bytes, signature: str) -> ProcessorEvent:
        """Raises CodedError: ``message_malformed``, ``signature_invalid``."""
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            raise CodedError(ErrorCode.MESSAGE_MALFORMED, "an event is UTF-8") from None
        # The library compares text, and fails in a way of its own on what is no ASCII.
        if not signature.isascii():
            raise CodedError(ErrorCode.SIGNATURE_INVALID)
        try:
            stripe.WebhookSignature.verify_header(text, signature, self._secret, _TOLERANCE_S)
        except stripe.SignatureVerificationError:
            detail = "the event is not signed with the webhook's secret, or too long ago"
            raise CodedError(ErrorCode.SIGNATURE_INVALID, detail) from None
        try:
            event = _Event.model_validate(json.loads(text))
        except (ValueError, RecursionError, ValidationError):
            raise CodedError(ErrorCode.MESSAGE_MALFORMED, "this is no event") from None
        about = event.data.object.metadata
        return ProcessorEvent(event.id, event.type, about.payment if about else None)
