"""The OpenAPI document of the till's API: every operation, its bodies, answers and problems."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from payment_device.orders import (
    CancelBody,
    CaptureBody,
    ChargeBody,
    FuelBody,
    PickBody,
    RefundBody,
)
from payment_device.till_schema import (
    MODELS,
    JacksShown,
    PaymentShown,
    PaymentsShown,
    PaymentWithRefund,
    ProblemShown,
    PumpShown,
    StatusShown,
)
from twochannel.pages.words import LANGUAGES
from twochannel.protocol.errors import PROBLEMS, ErrorCode
from twochannel.protocol.limits import MAX_WAIT_S

_REFERENCE: Final = "#/components/schemas/{model}"
_LIMITED: Final = 429


_ANYWHERE: Final = (
    ErrorCode.TOKEN_REQUIRED,
    ErrorCode.MESSAGE_MALFORMED,
    ErrorCode.MESSAGE_TOO_LARGE,
    ErrorCode.INTERNAL_ERROR,
)
_QUERY: Final = (ErrorCode.CLAIM_INVALID,)
#: What the server may answer to any statement of this terminal.
_SERVER: Final = (
    ErrorCode.CLAIM_INVALID,
    ErrorCode.CURRENCY_UNKNOWN,
    ErrorCode.KEY_UNKNOWN,
    ErrorCode.SIGNATURE_INVALID,
    ErrorCode.CLOCK_SKEW,
    ErrorCode.DEVICE_REVOKED,
    ErrorCode.STATEMENT_EXPIRED,
    ErrorCode.PAYMENT_CONFLICT,
    ErrorCode.PAYMENT_STATE,
    ErrorCode.TOO_MANY_REQUESTS,
    ErrorCode.SERVER_UNREACHABLE,
    ErrorCode.NOT_READY,
)
_CHARGE: Final = (
    *_SERVER,
    ErrorCode.NO_JACK_HEARD,
    ErrorCode.JACK_AMBIGUOUS,
    ErrorCode.CODE_UNKNOWN,
    ErrorCode.JACK_BUSY,
    ErrorCode.TERMINAL_BUSY,
    ErrorCode.JACK_PROMPTED,
    ErrorCode.TERMINAL_THROTTLED,
    ErrorCode.TOO_MANY_CODES,
)
_PUMP: Final = (*_CHARGE, ErrorCode.NOT_FOUND)
_LATER: Final = (*_SERVER, ErrorCode.PAYMENT_UNKNOWN, ErrorCode.AMOUNT_EXCEEDED)
_PAYMENT: Final = {
    "name": "payment",
    "in": "path",
    "required": True,
    "description": "The payment's id.",
    "schema": {"type": "string", "minLength": 1, "pattern": "^[0-9a-f-]+$"},
}


def _in_query(name: str, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": dict(schema)}


_WAIT: Final = _in_query(
    "wait_s",
    "Hold the answer back until the outcome is known, at most so many seconds.",
    {"type": "integer", "minimum": 0, "maximum": MAX_WAIT_S, "default": 0},
)
_CHOICE: Final = (
    _in_query(
        "limit",
        "At most so many.",
        {"type": "integer", "minimum": 0, "maximum": 200, "default": 20},
    ),
    _in_query("reference", "Only those that the till calls so.", {"type": "string"}),
    _in_query(
        "active",
        "Only those that are not over, or hold an amount.",
        {"type": "boolean", "default": False},
    ),
)
_PAPER: Final = (
    _PAYMENT,
    _in_query(
        "language",
        "Else as Accept-Language says, else English.",
        {"type": "string", "enum": list(LANGUAGES)},
    ),
)
_LAST_EVENT: Final = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The last id that was seen: then nothing that changed since is missed.",
    "schema": {"type": "string"},
}
_RETRY_AFTER: Final = {
    "description": "After so many seconds it may be tried again.",
    "schema": {"type": "integer", "minimum": 1},
}


@cache
def document() -> dict[str, Any]:
    """The whole document. The same object each time: do not change it."""
    one = "/v1/payments/{payment}"
    _, schemas = models_json_schema(
        [(model, "validation") for model in MODELS], ref_template=_REFERENCE
    )
    paths = {
        "/v1/payments": {
            "post": _operation("charge", ChargeBody, PaymentShown, _CHARGE),
            "get": _operation("list", None, PaymentsShown, _QUERY, _CHOICE),
        },
        one: {
            "get": _operation(
                "look_up", None, PaymentShown, (*_QUERY, *_LOOK_UP), (_PAYMENT, _WAIT)
            )
        },
        f"{one}/receipt": {
            "get": _operation("receipt", None, None, (ErrorCode.PAYMENT_UNKNOWN,), _PAPER)
        },
        f"{one}/captures": {
            "post": _operation("capture", CaptureBody, PaymentShown, _LATER, (_PAYMENT,))
        },
        f"{one}/cancellation": {
            "post": _operation("cancel", CancelBody, PaymentShown, _LATER, (_PAYMENT,))
        },
        f"{one}/refunds": {
            "post": _operation("refund", RefundBody, PaymentWithRefund, _LATER, (_PAYMENT,))
        },
        "/v1/pump": {"get": _operation("pump", None, PumpShown, (ErrorCode.NOT_FOUND,))},
        "/v1/pump/fuellings": {"post": _operation("fuel", FuelBody, PumpShown, _PUMP)},
        "/v1/pump/request": {"post": _operation("ask_again", PickBody, PumpShown, _PUMP)},
        "/v1/pump/stop": {"post": _operation("stop", None, PumpShown, _PUMP)},
        "/v1/pump/settlement": {"post": _operation("settle", None, PumpShown, _PUMP)},
        "/v1/jacks": {"get": _operation("jacks", None, JacksShown, ())},
        "/v1/status": {"get": _operation("status", None, StatusShown, ())},
        "/v1/events": {"get": _operation("events", None, None, _EVENTS, (_LAST_EVENT,))},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "CigarJack terminal, for tills",
            "version": version("cigarjack"),
            "description": "Served on loopback. Address and token are in till.json.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


_LOOK_UP: Final = (ErrorCode.PAYMENT_UNKNOWN, ErrorCode.SERVER_UNREACHABLE)
_EVENTS: Final = (ErrorCode.NOT_READY,)
_SUMMARIES: Final = {
    "charge": "Charge the jack at the lane, or with capture manual hold an amount. Asked again"
    " with the same reference it is the same payment, also after a crash.",
    "list": "The newest payments; of a reference; those that are not over.",
    "look_up": "One payment as it is now, or once its outcome is known.",
    "receipt": "The receipt for people, 42 columns wide, in their language.",
    "capture": "Take a held amount or a part of it; the rest is released.",
    "cancel": "End a payment that nobody has decided, or release a hold.",
    "refund": "Give a captured amount back, or a part of it.",
    "pump": "The pump and who fuels. Without a pump, `not_found`, as below.",
    "fuel": "Take the pump for one customer: pre-pay holds a maximum first, post-pay recognises"
    " the car and asks afterwards. The same reference is the same fuelling.",
    "ask_again": "Ask once more for fuel that nobody has paid for.",
    "stop": "Lock the pump now; what was pumped is due.",
    "settle": "Fuel that nobody had paid for was paid in another way.",
    "jacks": "The jacks that are heard now.",
    "status": "The terminal, its server, its radio.",
    "events": "Server-sent events: `payment` and `jacks`, with the bodies of those look-ups.",
}


#: Operations that do not answer JSON.
_TEXTS: Final = {"events": "text/event-stream", "receipt": "text/plain"}


def _operation(
    name: str,
    body: type[BaseModel] | None,
    answer: type[BaseModel] | None,
    codes: Iterable[ErrorCode],
    parameters: Iterable[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": name,
        "summary": _SUMMARIES[name],
        "parameters": [dict(each) for each in parameters],
        "responses": {"200": _success(name, answer)} | _problems([*codes, *_ANYWHERE]),
    }
    if body is not None:
        content = {"application/json": {"schema": _schema(body)}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _success(name: str, answer: type[BaseModel] | None) -> dict[str, Any]:
    if answer is None:
        kind = _TEXTS[name]
        content = {kind: {"schema": {"type": "string"}}}
        return {"description": _SUMMARIES[name], "content": content}
    summary = (answer.__doc__ or "").strip().partition("\n")[0]
    return {"description": summary, "content": {"application/json": {"schema": _schema(answer)}}}


def _problems(codes: Iterable[ErrorCode]) -> dict[str, Any]:
    by_status: dict[int, set[str]] = {}
    for code in codes:
        by_status.setdefault(PROBLEMS[code].status, set()).add(code.value)
    return {str(status): _problem(status, by_status[status]) for status in sorted(by_status)}


def _problem(status: int, codes: set[str]) -> dict[str, Any]:
    told = {"properties": {"code": {"enum": sorted(codes)}}}
    schema = {"allOf": [_schema(ProblemShown), told]}
    described: dict[str, Any] = {
        "description": ", ".join(f"`{code}`" for code in sorted(codes)),
        "content": {"application/problem+json": {"schema": schema}},
    }
    if status == _LIMITED or ErrorCode.JACK_BUSY in codes:
        described["headers"] = {"Retry-After": _RETRY_AFTER}
    return described
