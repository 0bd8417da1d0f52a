"""Webhooks as Stripe sends them, and their way to a server."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import httpx
import stripe as library

from tests.server.bench import DEADLINE_S, Bench
from tests.server.devices import new_id
from tests.server.stripe_peer import SECRET, Wire

HOOKS: Final = "/v1/processor/stripe/events"


def event(payment: str | None = None, **changes: Any) -> bytes:
    """An event as Stripe sends it."""
    metadata = {"payment": payment} if payment else {}
    document = {
        "id": f"evt_{new_id().replace('-', '')}",
        "object": "event",
        "type": "payment_intent.succeeded",
        "data": {"object": {"id": "pi_1", "metadata": metadata, "amount": 1.5}},
    }
    return json.dumps(document | changes).encode()


async def told(
    bench: Bench, body: bytes, signature: str | None = None, kind: str = "application/json"
) -> httpx.Response:
    if signature is None:
        signature = library.WebhookSignature.generate_signature_header(
            body.decode(errors="replace"), SECRET
        )
    headers = {"content-type": kind, "stripe-signature": signature}
    return await bench.http.post(HOOKS, content=body, headers=headers)


async def of_payment(wire: Wire, payment: str) -> tuple[bytes, str]:
    """The webhook that localstripe sends about a payment; it speaks of others too."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            body, signature = await wire.hooks.get()
            if payment.encode() in body:
                return body, signature
