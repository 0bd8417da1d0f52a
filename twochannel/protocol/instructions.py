"""What owners order about their payment methods and jacks (docs/protocol.md, Statements)."""

from __future__ import annotations

from typing import ClassVar

from twochannel.protocol.keys import Thumbprint
from twochannel.protocol.statements import Counter, Timed, Uuid


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


class Release(Instruction):
    """Phone to server: its pairing with the jack ``sub``, of this ``epoch``, has ended."""

    TYP: ClassVar[str] = "release+jwt"

    sub: Thumbprint
    epoch: Counter
