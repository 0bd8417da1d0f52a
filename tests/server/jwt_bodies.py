"""Has schemathesis (4.32) send and read a JWT as plain text: it takes it for a kind of JSON."""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis import Case
from schemathesis.core import NotSet


@schemathesis.hook
def before_call(
    _context: schemathesis.HookContext, case: Case[Any], kwargs: dict[str, Any]
) -> None:
    if case.media_type == "application/jwt" and not isinstance(case.body, NotSet):
        kwargs.setdefault("data", str(case.body).encode("utf-8", "replace"))


@schemathesis.deserializer("application/json")
def _from_text(_context: schemathesis.DeserializationContext, response: Any) -> Any:
    jwt = response.headers["content-type"] == ["application/jwt"]
    return str(response.content, "ascii") if jwt else response.json()
