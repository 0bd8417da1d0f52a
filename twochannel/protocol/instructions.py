"""What owners order about their payment methods and jacks (docs/protocol.md, Statements)."""

from __future__ import annotations

from typing import ClassVar

from twochannel.protocol.keys import Jwk, Thumbprint
from twochannel.protocol.statements import (
    Addressed,
    Compact,
    Counter,
    Digest,
    Nonce,
    Timed,
    Uuid,
)


class Instruction(Timed):
    """What a phone orders about ``sub``, a payment method or a jack of its own."""

    sub: str


class MethodDefault(Instruction):
    """Phone to server: ``sub`` is the payment method that its owner pays with."""

    TYP: ClassVar[str] = "method-default+jwt"

    sub: Uuid


class MethodRemoval(Instruction):
    """Phone to server: nothing more is charged to the payment method ``sub``."""

    TYP: ClassVar[str] = "method-removal+jwt"

    sub: Uuid


class CouplingChallenge(Timed):
    """Server to jack, by way of the phone: is it at hand, to couple the payment method ``sub``?"""

    TYP: ClassVar[str] = "coupling-challenge+jwt"

    sub: Uuid
    phone: Thumbprint
    nonce: Nonce


class CouplingAnswer(Addressed):
    """Jack to server, by way of the phone: it was at hand. ``prev`` names the challenge."""

    TYP: ClassVar[str] = "coupling-answer+jwt"

    sub: Uuid
    prev: Digest
    phone: Thumbprint
    epoch: Counter


class Coupling(Instruction):
    """Phone to server: the jack that has answered ``challenge`` is paid for with ``sub``."""

    TYP: ClassVar[str] = "coupling+jwt"

    sub: Uuid
    challenge: Compact
    answer: Compact


class Uncoupling(Instruction):
    """Phone to server: the payment method ``sub`` is not coupled to ``jack`` any more."""

    TYP: ClassVar[str] = "uncoupling+jwt"

    sub: Uuid
    jack: Thumbprint


class Release(Instruction):
    """Phone to server: its pairing with the jack ``sub``, of this ``epoch``, has ended."""

    TYP: ClassVar[str] = "release+jwt"

    sub: Thumbprint
    epoch: Counter


class MemberInvitation(Addressed):
    """Owner's phone to jack: whoever shows the secret with this SHA-256 may pair as a member.

    ``key``: the owner's, of which the jack knows the thumbprint alone.
    """

    TYP: ClassVar[str] = "member-invitation+jwt"

    key: Jwk
    epoch: Counter
    secret_sha256: Digest


class MemberRemoval(Instruction):
    """Owner's phone to server and jack: ``phone`` is a member of the jack ``sub`` no more.

    ``key``: as in the invitation.
    """

    TYP: ClassVar[str] = "member-removal+jwt"

    sub: Thumbprint
    key: Jwk
    phone: Thumbprint
    epoch: Counter
