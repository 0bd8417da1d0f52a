"""A server's signing keys over its life: each hands over to the next one (docs/protocol.md, Keys).

A *succession* is signed by the key in force and carries the identity statement of the next, signed
by that one itself: neither key alone can make it. The first identity and the successions after it
are the server's *lineage*; as text they are joined by ``~``. Whoever has pinned any key of it can
walk on from there, however much later. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, ClassVar, Final, Self, TypeVar

from pydantic import StringConstraints, model_validator

from twochannel.protocol.envelope import Statement, read_header, unverified_claims, verify
from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.keys import Thumbprint, VerifyingKey
from twochannel.protocol.statements import Compact, Identity, Role, Seconds, Uuid

#: Between the statements of a lineage; no statement has it in it.
SEPARATOR: Final = "~"
#: Without a clock a verifier takes the key in force and the one before it, no older ones.
_WITHOUT_CLOCK: Final = 2
_PART: Final = r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"
#: A lineage as text, in files.
LineageText = Annotated[str, StringConstraints(pattern=rf"^{_PART}(~{_PART})*$")]

S = TypeVar("S", bound=Statement)


class Succession(Statement):
    """Server to everybody, signed by its key in force: the key of ``identity`` comes after it.

    The server signs with the new key from ``begins`` on; the old one is believed until ``ends``.
    """

    TYP: ClassVar[str] = "succession+jwt"

    iss: Thumbprint
    jti: Uuid
    iat: Seconds
    identity: Compact
    begins: Seconds
    ends: Seconds

    @model_validator(mode="after")
    def _overlaps(self) -> Self:
        if not self.iat <= self.begins < self.ends:
            raise ValueError("a key is announced, begins, and the one before it ends after that")
        return self


@dataclass(frozen=True, slots=True)
class ServerKey:
    """One key of a server. ``begins_s``: it signs from then on; ``ends_s``: believed until then.

    None: since ever, and for now.
    """

    key: VerifyingKey
    identity: str
    begins_s: int | None = None
    ends_s: int | None = None


@dataclass(frozen=True, slots=True)
class Lineage:
    """The keys of ``server``, the oldest first. ``text``: what proves them."""

    server: str
    keys: tuple[ServerKey, ...]
    text: str

    @property
    def newest(self) -> ServerKey:
        """The last that is announced; it may not have begun."""
        return self.keys[-1]

    @property
    def steps(self) -> tuple[str, ...]:
        """The first identity, and each succession after it, compact."""
        return tuple(self.text.split(SEPARATOR))

    def signing(self, now_s: int) -> ServerKey:
        """The key that the server signs with at ``now_s``."""
        return [key for key in self.keys if (key.begins_s or 0) <= now_s][-1]

    def holds(self, kid: str) -> bool:
        """Whether a key was ever this server's."""
        return any(each.key.kid == kid for each in self.keys)

    def holds_first(self) -> bool:
        """Whether it is whole: it begins with the key after which the server is named.

        Only then does a key that is trusted vouch for those before it.
        """
        return self.keys[0].key.kid == self.server

    def succeed(self, compact: str) -> Lineage:
        """With one more key. What is known already changes nothing. Raises StatementError."""
        if compact in self.steps[1:]:
            return self
        before = self.newest
        succession = verify(compact, Succession, before.key)
        if succession.iss != self.server:
            raise StatementError(ErrorCode.ISSUER_WRONG, "the succession is of another server")
        new = _read_identity(succession.identity)
        _check_same(_read_identity(before.identity), new)
        key = VerifyingKey.from_jwk(new.key)
        if self.holds(key.kid):
            raise StatementError(ErrorCode.KEY_INVALID, "a key does not come back")
        ended = ServerKey(before.key, before.identity, before.begins_s, succession.ends)
        begun = ServerKey(key, succession.identity, succession.begins)
        text = SEPARATOR.join((self.text, compact))
        return Lineage(self.server, (*self.keys[:-1], ended, begun), text)

    def caught_up(self, steps: tuple[str, ...]) -> Lineage:
        """With what ``steps``, the whole or the rest of a lineage, has after it.

        Raises StatementError.
        """
        known = self
        for compact in steps:
            header = read_header(compact)
            if (header.typ, header.kid) == (Succession.TYP, known.newest.key.kid):
                known = known.succeed(compact)
        return known

    def after(self, kid: str) -> tuple[str, ...]:
        """The successions after a key: what whoever stopped at it has missed."""
        for number, each in enumerate(self.keys):
            if each.key.kid == kid:
                return self.steps[number + 1 :]
        return ()

    def recent(self) -> Lineage:
        """Only the last two keys: what is believed by whoever has no clock."""
        return replace(self, keys=self.keys[-_WITHOUT_CLOCK:])

    def verify(
        self,
        compact: str,
        model: type[S],
        *,
        audience: str | None = None,
        now_s: int | None = None,
        at_s: int | None = None,
    ) -> S:
        """``envelope.verify`` with whichever key of this server has signed.

        The key must not have been over when the statement was made, by its own word, nor at
        ``now_s`` or ``at_s``, which judges the key alone. Raises StatementError.
        """
        header = read_header(compact)
        if header.typ != model.TYP:
            raise StatementError(ErrorCode.STATEMENT_TYPE_WRONG, f"expected {model.TYP}")
        signer = self.signer(header.kid)
        statement = verify(compact, model, signer.key, audience=audience, now_s=now_s)
        for moment_s in (getattr(statement, "iat", None), now_s, at_s):
            if moment_s is not None and signer.ends_s is not None and moment_s >= signer.ends_s:
                raise StatementError(ErrorCode.KEY_UNKNOWN, "the server's key was over by then")
        return statement

    def signer(self, kid: str) -> ServerKey:
        """Raises StatementError (``key_unknown``)."""
        for each in self.keys:
            if each.key.kid == kid:
                return each
        raise StatementError(ErrorCode.KEY_UNKNOWN)


@lru_cache(maxsize=64)
def read_lineage(text: str) -> Lineage:
    """Verify a lineage: its first identity by its own key, all others one by the other.

    Raises StatementError.
    """
    first, *successions = text.split(SEPARATOR)
    identity = _read_identity(first)
    key = VerifyingKey.from_jwk(identity.key)
    lineage = Lineage(identity.iss, (ServerKey(key, first),), first)
    for compact in successions:
        lineage = lineage.succeed(compact)
    return lineage


def lineage_from(kid: str, steps: tuple[str, ...]) -> Lineage:
    """The lineage from the key ``kid`` on, which is all that is trusted. Raises StatementError.

    ``steps``: the whole lineage.
    """
    identities = [steps[0], *(_carried(compact) for compact in steps[1:])]
    for number, compact in enumerate(identities):
        if read_header(compact).kid == kid:
            return read_lineage(compact).caught_up(steps[number + 1 :])
    raise StatementError(ErrorCode.KEY_UNKNOWN)


def _carried(compact: str) -> str:
    return Succession.from_claims(unverified_claims(compact)).identity


def _read_identity(compact: str) -> Identity:
    """Of a server, verified with the key that it states itself."""
    claimed = Identity.from_claims(unverified_claims(compact))
    identity = verify(compact, Identity, VerifyingKey.from_jwk(claimed.key))
    if identity.role is not Role.SERVER:
        detail = f"the identity is that of a {identity.role}, not of a server"
        raise StatementError(ErrorCode.ISSUER_WRONG, detail)
    return identity


def _check_same(before: Identity, after: Identity) -> None:
    """Nothing but the signing key changes: codes and certificate stay what they are."""
    if after.model_copy(update={"jti": before.jti, "key": before.key}) != before:
        raise StatementError(ErrorCode.CHAIN_BROKEN, "the next identity is not of the same server")
