"""The OpenAPI document: each door describes its statement, its answers and its problem codes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response

from server.answers import Problem
from twochannel.protocol.envelope import Statement
from twochannel.protocol.errors import PROBLEMS, ErrorCode
from twochannel.protocol.instructions import (
    Coupling,
    MemberRemoval,
    MethodDefault,
    MethodRemoval,
    Release,
    Uncoupling,
)
from twochannel.protocol.limits import MAX_STATEMENT_BYTES, MAX_WAIT_S
from twochannel.protocol.statements import (
    Cancel,
    Capture,
    Confirmation,
    Enrolment,
    Method,
    PairingAcceptance,
    PaymentRequest,
    Proof,
    Refund,
    Time,
)

_REFERENCE: Final = "#/components/schemas/{model}"
_LIMITED: Final = 429
_RETRY_AFTER: Final = {
    "description": "After so many seconds it may be tried again.",
    "required": True,
    "schema": {"type": "integer", "minimum": 1},
}
#: Refusals of another status that say when it may be tried again, at the latest.
_BUSY: Final = frozenset({ErrorCode.JACK_BUSY, ErrorCode.TERMINAL_BUSY})
_UUID: Final = {"type": "string", "format": "uuid"}

#: What any body can be refused for.
BODY_CODES: Final = (
    ErrorCode.MESSAGE_MALFORMED,
    ErrorCode.MESSAGE_TOO_LARGE,
    ErrorCode.MEDIA_TYPE_UNSUPPORTED,
)
#: What any signed statement can be refused for.
STATEMENT_CODES: Final = (
    *BODY_CODES,
    ErrorCode.STATEMENT_TYPE_WRONG,
    ErrorCode.CLAIM_INVALID,
    ErrorCode.KEY_UNKNOWN,
    ErrorCode.SIGNATURE_INVALID,
    ErrorCode.AUDIENCE_WRONG,
    ErrorCode.ISSUER_WRONG,
    ErrorCode.CLOCK_SKEW,
    ErrorCode.STATEMENT_EXPIRED,
    ErrorCode.STATEMENT_REPLAYED,
    ErrorCode.DEVICE_REVOKED,
)
#: What a request with a proof can be refused for.
PROOF_CODES: Final = (
    *(code for code in STATEMENT_CODES if code is not ErrorCode.MEDIA_TYPE_UNSUPPORTED),
    ErrorCode.PROOF_REQUIRED,
    ErrorCode.TOO_MANY_REQUESTS,
)
#: Schemas of the claims that bodies and proofs carry.
_STATEMENTS: Final[tuple[type[Statement], ...]] = (
    Cancel,
    Capture,
    Confirmation,
    Coupling,
    Enrolment,
    Method,
    MethodDefault,
    MemberRemoval,
    MethodRemoval,
    PairingAcceptance,
    PaymentRequest,
    Proof,
    Refund,
    Release,
    Time,
    Uncoupling,
)

PAYMENT_ID: Final[dict[str, Any]] = {
    "name": "payment_id",
    "in": "path",
    "required": True,
    "description": "The payment's id: the `jti` of its request.",
    "schema": _UUID,
}
REFUND_ID: Final[dict[str, Any]] = {
    "name": "refund_id",
    "in": "path",
    "required": True,
    "description": "The refund's id: the `jti` of its statement.",
    "schema": _UUID,
}
METHOD_ID: Final[dict[str, Any]] = {
    "name": "method_id",
    "in": "path",
    "required": True,
    "description": "The payment method's id: the `jti` of its registration.",
    "schema": _UUID,
}
PREFER: Final[dict[str, Any]] = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": (
        "`wait=N` (RFC 7240): hold the answer until the payment is settled and nothing is under "
        f"way, or the refund has ended, at most N seconds (at most {MAX_WAIT_S})."
    ),
    "schema": {"type": "string"},
    "example": "wait=30",
}


class Door(APIRoute):
    """A route whose function reads its whole request and builds its answer itself.

    What FastAPI would do around it (dependencies, validation, serialising) is left out.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.endpoint


def statement_body(model: type[Statement]) -> dict[str, Any]:
    """The request body of a door that takes one signed statement."""
    return {
        "required": True,
        "description": f"A compact JWS of type `{model.TYP}`; its claims are `x-claims`.",
        "content": {
            "application/jwt": {
                "schema": {
                    "type": "string",
                    "pattern": r"^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$",
                    "maxLength": MAX_STATEMENT_BYTES,
                    "x-claims": {"$ref": _REFERENCE.format(model=model.__name__)},
                }
            }
        },
    }


def door(
    operation_id: str,
    summary: str,
    *,
    body: dict[str, Any] | None = None,
    parameters: Iterable[dict[str, Any]] = (),
    answers: dict[int, type[BaseModel]] | None = None,
    codes: Iterable[ErrorCode] = (),
    proven: bool = False,
) -> dict[str, Any]:
    """Keyword arguments of a FastAPI route that describe it wholly.

    The route reads its request itself: statements and JSON are parsed more strictly than the
    framework would, and each answer is built once.
    """
    extra: dict[str, Any] = {"parameters": list(parameters)}
    if body is not None:
        extra["requestBody"] = body
    extra["security"] = [{"proof": []}] if proven else []
    responses: dict[int | str, dict[str, Any]] = {
        status: {"model": model, "description": (model.__doc__ or summary).strip().split("\n")[0]}
        for status, model in (answers or {}).items()
    }
    every_code = (
        *codes,
        *(PROOF_CODES if proven else ()),
        ErrorCode.NOT_READY,
        ErrorCode.INTERNAL_ERROR,
    )
    return {
        "operation_id": operation_id,
        "summary": summary,
        "status_code": min(answers) if answers else 200,
        "responses": responses | _problems(every_code),
        "openapi_extra": extra,
    }


def _problems(codes: Iterable[ErrorCode]) -> dict[int | str, dict[str, Any]]:
    by_status: dict[int | str, set[str]] = {}
    for code in codes:
        by_status.setdefault(PROBLEMS[code].status, set()).add(code.value)
    return {status: _problem(sorted(values)) for status, values in sorted(by_status.items())}


def _problem(codes: list[str]) -> dict[str, Any]:
    return {
        **_headers(codes),
        "description": ", ".join(f"`{code}`" for code in codes),
        "content": {
            "application/problem+json": {
                "schema": {
                    "allOf": [
                        {"$ref": _REFERENCE.format(model=Problem.__name__)},
                        {"properties": {"code": {"enum": codes}}},
                    ]
                }
            }
        },
    }


def _headers(codes: list[str]) -> dict[str, Any]:
    limited = PROBLEMS[ErrorCode(codes[0])].status == _LIMITED
    if not limited and _BUSY.isdisjoint(codes):
        return {}
    return {"headers": {"Retry-After": _RETRY_AFTER | {"required": limited}}}


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """The framework's document with statements, problems, security and common headers added."""
    components = document.setdefault("components", {})
    models = [(model, "validation") for model in (*_STATEMENTS, Problem)]
    _, schemas = models_json_schema(models, ref_template=_REFERENCE)  # type: ignore[arg-type]
    components.setdefault("schemas", {}).update(schemas["$defs"])
    components["securitySchemes"] = {
        "proof": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": Proof.TYP,
            "description": "A `proof+jwt` for this method, path and query; used once.",
        }
    }
    time_header = {
        "description": "The server's time when it answered, Unix milliseconds.",
        "schema": {"type": "integer"},
    }
    for path in document["paths"].values():
        for operation in path.values():
            for response in operation["responses"].values():
                response.setdefault("headers", {})["Cigarjack-Time"] = time_header
    return document
