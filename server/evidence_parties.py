"""Who takes part in a payment, proven by what they signed: server, jack, phone, terminal. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from server.evidence_file import Evidence, EvidenceError
from twochannel.protocol.envelope import unverified_claims, verify
from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.keys import VerifyingKey
from twochannel.protocol.statements import Identity, Pairing, PairingAcceptance, Role
from twochannel.protocol.succession import Lineage, read_lineage


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that the evidence shows. ``warning``: true, but not what one would wish for."""

    subject: str
    signer: Role | None
    kid: str | None
    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Parties:
    """Their keys. ``server_id`` outlives the server's keys; the other ids are their keys'."""

    server_id: str
    server: Lineage
    jack: VerifyingKey
    phone: VerifyingKey
    terminal: VerifyingKey
    epoch: int

    def kid_of(self, role: Role) -> str:
        """Whose key has said something; of a server the one that it has now."""
        if role is Role.SERVER:
            return self.server.newest.key.kid
        key: VerifyingKey = getattr(self, role.value)
        return key.kid


def short(kid: str) -> str:
    """Enough of a thumbprint to tell keys apart in a sentence."""
    return f"{kid[:8]}…"


def demand(holds: bool, detail: str) -> None:
    """Raise StatementError (``chain_broken``) unless ``holds``."""
    if not holds:
        raise StatementError(ErrorCode.CHAIN_BROKEN, detail)


def meet(evidence: Evidence, trusted_server: str | None) -> tuple[Parties, list[Step]]:
    """The parties of ``evidence``, and the steps that prove who they are. Raises EvidenceError."""
    lineage, first = meet_server(evidence.server, trusted_server)
    server_id = lineage.server
    try:
        terminal = VerifyingKey.from_jwk(evidence.keys.terminal)
        phone = VerifyingKey.from_jwk(evidence.keys.phone)
    except StatementError as error:
        raise EvidenceError("keys", error.detail) from None
    try:
        jack, pairing = _paired(evidence.pairing, server_id, phone)
    except StatementError as error:
        raise EvidenceError("pairing", error.detail) from None
    text = (
        f"Jack {short(jack.kid)} and phone {short(phone.kid)} both signed that they belong"
        f" together (pairing {pairing.epoch} of this jack)."
    )
    if pairing.owner is not None:
        text += f" The owner's phone {short(pairing.owner)} had invited it as a member."
    parties = Parties(server_id, lineage, jack, phone, terminal, pairing.epoch)
    return parties, [first, Step("pairing", Role.PHONE, phone.kid, text)]


def meet_server(text: str, trusted_server: str | None) -> tuple[Lineage, Step]:
    """The server whose lineage this is, and the step that says so. Raises EvidenceError."""
    try:
        lineage = read_lineage(text)
        # A key's identity is public and names none before it: anybody could put one of their own
        # in front. The first one is known by the server's id.
        demand(lineage.holds_first(), "it does not begin with the first key of this server")
        return lineage, _trust(lineage, trusted_server)
    except StatementError as error:
        raise EvidenceError("server", error.detail) from None


def _identity(compact: str, role: Role) -> Identity:
    """An identity statement, verified with the key that it states itself."""
    claimed = Identity.from_claims(unverified_claims(compact))
    identity = verify(compact, Identity, VerifyingKey.from_jwk(claimed.key))
    demand(identity.role is role, f"the identity is that of a {identity.role}, not of a {role}")
    return identity


def _trust(lineage: Lineage, trusted_server: str | None) -> Step:
    key, others = lineage.newest.key, len(lineage.keys) - 1
    handed = (
        f" Its key was replaced {others} times, each time with the word of the one before."
        if others
        else ""
    )
    if trusted_server is None:
        text = (
            f"The server is {key.kid}.{handed} That is the file's own word: compare it with the"
            " thumbprint in the server's enrolment codes, or give it with --server."
        )
        return Step("server", Role.SERVER, key.kid, text, warning=True)
    demand(
        lineage.holds(trusted_server), "the file was made by another server than the trusted one"
    )
    text = f"The server is {short(lineage.server)}, and its key is the one that you trust.{handed}"
    return Step("server", Role.SERVER, key.kid, text)


def _paired(compact: str, server_id: str, phone: VerifyingKey) -> tuple[VerifyingKey, Pairing]:
    """The jack's key, and its word that it and ``phone`` belong together."""
    acceptance = verify(compact, PairingAcceptance, phone, audience=server_id)
    demand(acceptance.iss == phone.kid, "the acceptance comes from another phone")
    claimed = Pairing.from_claims(unverified_claims(acceptance.pairing))
    identity = _identity(claimed.identity, Role.JACK)
    jack = VerifyingKey.from_jwk(identity.key)
    pairing = verify(acceptance.pairing, Pairing, jack, audience=server_id)
    demand(identity.iss == jack.kid, "the jack's id is not the thumbprint of its key")
    demand(pairing.iss == jack.kid, "the pairing comes from another jack")
    demand(pairing.sub == phone.kid, "the jack was paired with another phone")
    demand(acceptance.sub == jack.kid, "the phone accepted another jack")
    return jack, pairing
