"""Becoming a terminal of a server: once, with the operator's code; pinned from then on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from server.client import EnrolmentCode, ServerClient, ServerPin, meet
from twochannel.keystore.file import write_private
from twochannel.keystore.port import FILE, KeyStore, KeyUse
from twochannel.keystore.stores import ensure, open_keystore
from twochannel.protocol.envelope import sign, unverified_claims
from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.keys import Signer
from twochannel.protocol.statements import Enrolment, Merchant, Role
from twochannel.protocol.wire import parse_object

KEY_NAME: Final = "signing"
_FILE_NAME: Final = "enrolment.json"
#: A statement whose answer did not come: the same code is tried again with the same statement.
_UNANSWERED_NAME: Final = "enrolment.jwt"


class EnrolmentError(Exception):
    """The terminal is not enrolled, or is already. The text says what to do next."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What a terminal knows since it is enrolled. ``lane``: what people are shown."""

    terminal: str
    pin: ServerPin
    lane: str
    merchant: Merchant

    def to_json(self) -> str:
        return json.dumps(
            {
                "terminal": self.terminal,
                "pin": json.loads(self.pin.to_json()),
                "lane": self.lane,
                "merchant": self.merchant.model_dump(),
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote. Raises EnrolmentError if it is damaged."""
        try:
            members = parse_object(text.encode())
            return cls(
                terminal=str(members["terminal"]),
                pin=ServerPin.from_json(json.dumps(members["pin"])),
                lane=str(members["lane"]),
                merchant=Merchant.model_validate(members["merchant"]),
            )
        except (KeyError, ValueError, StatementError):
            raise EnrolmentError(
                f"{_FILE_NAME} is damaged; restore it from a copy, or remove it and enrol again"
            ) from None


def keys_of(state: Path, keys: str = FILE) -> KeyStore:
    """``keys``: as in the settings. Raises KeyStoreError."""
    return open_keystore(keys, state / "keys")


def load(state: Path) -> Enrolled:
    """Raises EnrolmentError."""
    try:
        text = (state / _FILE_NAME).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise EnrolmentError(
            "this terminal is not enrolled; get a code from the operator of the server and run: "
            "payment-device enroll URL CODE"
        ) from None
    return Enrolled.from_json(text)


async def enrol(
    state: Path,
    url: str,
    code: EnrolmentCode,
    new_id: Callable[[], str],
    wall_ms: Callable[[], int],
    keys: str = FILE,
) -> Enrolled:
    """Make a key, pin the server at ``url`` and enrol there.

    Raises EnrolmentError, KeyStoreError, ServerUnreachableError, CodedError.
    """
    if (state / _FILE_NAME).exists():
        raise EnrolmentError("this terminal is enrolled already; use another --state for another")
    pin = await meet(url, code)
    signer = _signer(keys_of(state, keys))
    async with ServerClient(pin, signer, new_id=new_id, wall_ms=wall_ms) as client:
        await client.synchronise()
        compact = _unanswered(state, pin.server, code) or _statement(client, code)
        write_private(state / _UNANSWERED_NAME, compact.encode())
        answer = await client.send("/v1/enrolments", compact)
    enrolled = _enrolled(answer, signer.key.kid, pin)
    write_private(state / _FILE_NAME, enrolled.to_json().encode())
    (state / _UNANSWERED_NAME).unlink()
    return enrolled


def keep_pin(state: Path, pin: ServerPin) -> None:
    """The server has announced another key. Raises EnrolmentError, OSError."""
    enrolled = replace(load(state), pin=pin)
    write_private(state / _FILE_NAME, enrolled.to_json().encode())


def _signer(store: KeyStore) -> Signer:
    ensure(store, KEY_NAME, KeyUse.SIGNING)
    return store.signer(KEY_NAME)


def _unanswered(state: Path, server: str, code: EnrolmentCode) -> str | None:
    try:
        compact = (state / _UNANSWERED_NAME).read_text(encoding="ascii")
        enrolment = Enrolment.from_claims(unverified_claims(compact))
    except (FileNotFoundError, UnicodeDecodeError, StatementError):
        return None
    return compact if (enrolment.aud, enrolment.code) == (server, code.code) else None


def _statement(client: ServerClient, code: EnrolmentCode) -> str:
    key = client.signer.key.jwk
    enrolment = client.draft(Enrolment, role=Role.TERMINAL, key=key, code=code.code)
    return sign(enrolment, client.signer)


def _enrolled(answer: dict[str, object], terminal: str, pin: ServerPin) -> Enrolled:
    if answer.get("id") != terminal or answer.get("role") != Role.TERMINAL:
        raise StatementError(ErrorCode.ENROLMENT_CODE_REFUSED, "the code is not one for a terminal")
    try:
        merchant = Merchant.model_validate(answer.get("merchant"))
    except ValueError:
        raise StatementError(
            ErrorCode.MESSAGE_MALFORMED, "the server's answer names no merchant"
        ) from None
    return Enrolled(terminal, pin, str(answer.get("lane")), merchant)
