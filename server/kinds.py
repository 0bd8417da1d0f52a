"""The words that stand in the server's tables: kinds of orders, outcomes, events, failures."""

from __future__ import annotations

from enum import StrEnum


class Operation(StrEnum):
    """What the outbox asks of the processor."""

    CHARGE = "charge"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"


class RequestedBy(StrEnum):
    """Who signed for a refund: the payment's terminal, or the server for its operator."""

    TERMINAL = "terminal"
    OPERATOR = "operator"


class OutboxState(StrEnum):
    """``queued`` -> ``calling`` -> ``done``, or ``unknown`` until the reconciler knows more."""

    QUEUED = "queued"
    CALLING = "calling"
    DONE = "done"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """What the processor did about an operation, once it is known."""

    SUCCEEDED = "succeeded"
    REFUSED = "refused"


class ReviewDecision(StrEnum):
    """What a person made of an order, having looked at the processor.

    ``look_again`` gives it back to the reconciler; ``noted`` is for one that was settled otherwise.
    """

    CARRIED_OUT = "carried_out"
    NOT_CARRIED_OUT = "not_carried_out"
    LOOK_AGAIN = "look_again"
    NOTED = "noted"


class EndpointState(StrEnum):
    """``disabled``: its merchant answered that it is gone, or the operator said so."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    REMOVED = "removed"


class DeliveryState(StrEnum):
    """``queued`` until the merchant has it. ``failed``: tried for too long; ``dropped``: its
    endpoint takes nothing any more."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    FAILED = "failed"
    DROPPED = "dropped"


class FailureKind(StrEnum):
    """What is counted by ``subject``: a terminal, a phone, an address, a name to log in by."""

    CODE = "code"
    CONFIRMATION = "confirmation"
    ENROLMENT = "enrolment"
    LOGIN = "login"


class PhoneEventKind(StrEnum):
    CHALLENGE = "challenge"
    PAYMENT = "payment"
