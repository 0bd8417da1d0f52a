"""Stripe as a peer over HTTP: localstripe as a process of its own, what it lacks, and a bad wire.

localstripe keeps payment intents, customers and refunds, and decides. In front of it stands
``_Gate``, which adds what our adapter relies on and localstripe has not (docs/decisions, Stripe):
idempotency keys, lists of one customer, amounts received, refunds bounded by what was captured. In
front of that is ``Wire``, which loses, holds up or garbles an answer when it is told to.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from twochannel.serving import Address, serve

KEY: Final = f"sk_test_{token_hex()}"
SECRET: Final = f"whsec_{token_hex()}"
DEADLINE_S: Final = 30
#: localstripe as it is, but for its file in /tmp, which every run of this machine would share.
_LOCALSTRIPE: Final = """
import socket
from aiohttp import web
from localstripe import resources, server
resources.Store.dump_to_disk = lambda store: None
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
web.run_app(server.app, sock=listener, print=None, access_log=None)
"""


@contextmanager
def localstripe() -> Iterator[str]:
    """The address of a localstripe that runs while the block does."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _LOCALSTRIPE], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.terminate()


async def empty(stripe: str) -> None:
    """Nobody has ever paid there."""
    async with httpx.AsyncClient(base_url=stripe, trust_env=False) as http:
        (await http.delete("/_config/data")).raise_for_status()


async def asking_its_owner(stripe: str) -> str:
    """A card whose bank wants to hear of each charge from its owner.

    localstripe, unlike Stripe, lets such a charge wait although the owner is not there.
    """
    card = {"number": "4000002500003155", "exp_month": "12", "exp_year": "2030", "cvc": "123"}
    form = {"type": "card"} | {f"card[{name}]": value for name, value in card.items()}
    async with httpx.AsyncClient(base_url=stripe, auth=(KEY, ""), trust_env=False) as http:
        return str((await http.post("/v1/payment_methods", data=form)).json()["id"])


async def charged_at_stripe(stripe: str, payment: str) -> list[dict[str, Any]]:
    """Every payment intent that localstripe has of the payment."""
    return await _at_stripe(stripe, "/v1/payment_intents", payment)


async def refunded_at_stripe(stripe: str, payment: str) -> list[dict[str, Any]]:
    """Every refund that localstripe has of the payment."""
    return await _at_stripe(stripe, "/v1/refunds", payment)


async def _at_stripe(stripe: str, path: str, payment: str) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(base_url=stripe, auth=(KEY, ""), trust_env=False) as http:
        items = (await http.get(path, params={"limit": 100_000})).json()["data"]
    return [item for item in items if item["metadata"].get("payment") == payment]


@dataclass
class Wire:
    """Bytes between the adapter and the gate. ``faults``: one is used up by each answer.

    ``requests``: first lines of what came through, for tests that count them. ``hooks``: body and
    signature of each webhook of localstripe.
    """

    port: int = 0
    faults: list[Callable[[asyncio.StreamWriter, bytes], Any]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    hooks: asyncio.Queue[tuple[bytes, str]] = field(default_factory=asyncio.Queue)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: int
    ) -> None:
        from_gate, to_gate = await asyncio.open_connection("127.0.0.1", gate)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._ask(reader, to_gate))
                group.create_task(self._answer(from_gate, writer))
        finally:
            for end in (to_gate, writer):
                end.close()
                with suppress(ConnectionError):
                    await end.wait_closed()

    async def _ask(self, reader: asyncio.StreamReader, to_gate: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            line = data.split(b"\r\n", 1)[0]
            if line.endswith(b"HTTP/1.1"):
                self.requests.append(line.decode().removesuffix(" HTTP/1.1"))
            to_gate.write(data)
        to_gate.close()

    async def _answer(self, from_gate: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                data = await _whole(from_gate)
                if self.faults:
                    await self.faults.pop(0)(writer, data)
                else:
                    writer.write(data)
        writer.close()


async def _whole(answers: asyncio.StreamReader) -> bytes:
    """The next answer: a head and so many bytes as it names."""
    head = await answers.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    return head + await answers.readexactly(int(length[1]) if length else 0)


async def lost(writer: asyncio.StreamWriter, _: bytes) -> None:
    """The answer was on its way when the connection broke."""
    writer.transport.abort()


def held_up(until: asyncio.Event) -> Callable[[asyncio.StreamWriter, bytes], Any]:
    """The answer comes when ``until`` is set."""

    async def act(writer: asyncio.StreamWriter, data: bytes) -> None:
        await until.wait()
        with suppress(ConnectionError):
            writer.write(data)

    return act


def instead(body: bytes, status: str = "200 OK") -> Callable[[asyncio.StreamWriter, bytes], Any]:
    """Another answer than Stripe's."""

    async def act(writer: asyncio.StreamWriter, _: bytes) -> None:
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)

    return act


def altered(**members: object) -> Callable[[asyncio.StreamWriter, bytes], Any]:
    """Stripe's answer, or what it lists, with other ``members``."""

    async def act(writer: asyncio.StreamWriter, data: bytes) -> None:
        document = json.loads(data.partition(b"\r\n\r\n")[2])
        for item in document.get("data", [document]):
            item |= members
        await instead(json.dumps(document).encode())(writer, data)

    return act


class _Gate:
    """What localstripe lacks of Stripe."""

    def __init__(self, localstripe: str) -> None:
        self._http = httpx.AsyncClient(
            base_url=localstripe, auth=(KEY, ""), timeout=DEADLINE_S, trust_env=False
        )
        self._known: dict[str, tuple[str, bytes, int, dict[str, Any]]] = {}

    async def close(self) -> None:
        await self._http.aclose()

    async def subscribe(self, port: int) -> None:
        """Have localstripe's webhooks sent here, past the wire."""
        settings = {"url": f"http://127.0.0.1:{port}/hooks", "secret": SECRET}
        answer = await self._http.post(f"/_config/webhooks/{port}", json=settings)
        answer.raise_for_status()

    async def answer(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return _error(401, "invalid_request_error", None)
        if request.method == "GET":
            status, document = await self._get(request.url.path, dict(request.query_params))
            return JSONResponse(document, status)
        path, body = request.url.path, await request.body()
        key = request.headers.get("idempotency-key", "")
        if known := self._known.get(key):
            if known[:2] != (path, body):
                return _error(400, "idempotency_error", None)
            return JSONResponse(known[3], known[2], {"idempotent-replayed": "true"})
        status, document = await self._post(path, dict(parse_qsl(body.decode())))
        if key and status in (200, 402):
            self._known[key] = (path, body, status, document)
        return JSONResponse(document, status)

    async def _post(self, path: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if path == "/v1/payment_intents":
            form = {n: v for n, v in form.items() if not n.startswith("automatic_payment_methods")}
        if path == "/v1/refunds" and not await self._refundable(form):
            return 400, _problem("invalid_request_error", "charge_already_refunded")
        answer = await self._http.post(
            path, content=urlencode(form), headers={"content-type": _FORM}
        )
        document = answer.json()
        if answer.status_code == 400:
            document = _problem("invalid_request_error", "payment_intent_unexpected_state")
        return answer.status_code, await self._completed(document)

    async def _get(self, path: str, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if path == "/v1/payment_intents":
            return 200, await self._list(path, query, "customer")
        if path == "/v1/refunds":
            return 200, await self._list(path, query, "payment_intent")
        answer = await self._http.get(path, params=query)
        if answer.status_code == 404:
            return 404, _problem("invalid_request_error", "resource_missing")
        return answer.status_code, await self._completed(answer.json())

    async def _list(self, path: str, query: dict[str, str], of: str) -> dict[str, Any]:
        """Newest first, of one customer or intent, in pages."""
        every = (await self._http.get(path, params={"limit": "100000"})).json()["data"]
        items = [
            item for item in reversed(every) if item[of] and query.get(of, item[of]) == item[of]
        ]
        after = (
            [item["id"] for item in items].index(query["starting_after"]) + 1
            if ("starting_after" in query)
            else 0
        )
        page = items[after : after + int(query["limit"])]
        return {
            "object": "list",
            "url": path,
            "has_more": len(items) > after + len(page),
            "data": [await self._completed(item) for item in page],
        }

    async def _refundable(self, form: dict[str, str]) -> bool:
        _, intent = await self._get(f"/v1/payment_intents/{form['payment_intent']}", {})
        query = {"payment_intent": form["payment_intent"], "limit": "1000"}
        refunds = (await self._list("/v1/refunds", query, "payment_intent"))["data"]
        given = sum(int(refund["amount"]) for refund in refunds)
        return int(form["amount"]) + given <= int(intent["amount_received"])

    async def _completed(self, document: dict[str, Any]) -> dict[str, Any]:
        """A payment intent as Stripe shows it."""
        if document.get("object") != "payment_intent":
            return document
        charge = document["latest_charge"]
        received = 0
        if document["status"] == "succeeded":
            refunds = (await self._http.get("/v1/refunds", params={"charge": charge["id"]})).json()
            # A capture in part releases the rest by a refund that nobody asked for.
            own = [refund for refund in refunds["data"] if not refund["payment_intent"]]
            received = charge["amount"] - sum(refund["amount"] for refund in own)
        return {n: v for n, v in document.items() if n != "charges"} | {
            "amount_received": received,
            "latest_charge": charge and charge["id"],
        }


_FORM: Final = "application/x-www-form-urlencoded"


def _problem(kind: str, code: str | None) -> dict[str, Any]:
    return {"error": {"type": kind, "code": code, "message": "as Stripe would say"}}


def _error(status: int, kind: str, code: str | None) -> Response:
    return JSONResponse(_problem(kind, code), status)


def charge_by_stripe(state: Path, wire: Wire) -> None:
    """Settings of a process. The key is in a file, for the environment may be anybody's."""
    key, config = state / "stripe.key", state / "config.toml"
    key.write_text(KEY)
    chosen = f'processor = "stripe"\nstripe_key_file = "{key}"\nstripe_url = "{wire.url}"\n'
    text = config.read_text()
    assert 'processor = "simulated"\n' in text
    config.write_text(text.replace('processor = "simulated"\n', chosen))


@asynccontextmanager
async def stripe_wire(localstripe: str) -> AsyncIterator[Wire]:
    """The way to a localstripe, with its gate, while the block runs."""
    gate, wire = _Gate(localstripe), Wire()

    async def hook(request: Request) -> Response:
        await wire.hooks.put((await request.body(), request.headers["stripe-signature"]))
        return Response()

    routes = [
        Route("/hooks", hook, methods=["POST"]),
        Route("/{path:path}", gate.answer, methods=["GET", "POST"]),
    ]
    app = Starlette(routes=routes)
    async with serve(app, Address("127.0.0.1", 0)) as served:
        server = await asyncio.start_server(
            lambda r, w: wire.carry(r, w, int(served.port or 0)), "127.0.0.1", 0
        )
        wire.port = server.sockets[0].getsockname()[1]
        async with server:
            await gate.subscribe(int(served.port or 0))
            yield wire
    await gate.close()
