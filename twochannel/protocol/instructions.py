"""What owners order about their payment methods and jacks (docs/protocol.md, Statements)."""

from __future__ import annotations

from typing import ClassVar

from twochannel.protocol.keys import Thumbprint
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
