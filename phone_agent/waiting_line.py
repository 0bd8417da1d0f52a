"""Which question the owner sees when several wait: one, and a summary of those behind it. Pure.

A terminal that asks again and again gets no second prompt on the screen: the oldest question stays
where the thumb is until it is answered, and what waits behind it is counted by merchant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from phone_agent.consent import Reason
from twochannel.protocol.payment import CaptureMode
from twochannel.protocol.statements import Challenge


@dataclass(frozen=True, slots=True)
class Asked:
    """A payment that has no answer yet.

    ``reason``: why the owner is asked, None while the jack and the policy are. ``presence``: the
    jack hears the lane, None while it has not said. ``ends_s``: when the question is declined
    (Unix seconds of the server); ``limit_s``: how long it was open at first.
    """

    challenge: Challenge
    reason: Reason | None
    presence: bool | None
    ends_s: float
    limit_s: float

    @property
    def payment(self) -> str:
        return self.challenge.sub

    @property
    def is_maximum(self) -> bool:
        """The amount is held, and what is taken is at most that."""
        return self.challenge.capture is CaptureMode.MANUAL


@dataclass(frozen=True, slots=True)
class Behind:
    """Questions of one merchant that wait behind the first one."""

    merchant: str
    payments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WaitingLine:
    """``front``: the question on the screen, None if there is none."""

    front: Asked | None
    behind: tuple[Behind, ...] = ()

    @property
    def count_behind(self) -> int:
        return sum(len(each.payments) for each in self.behind)


def arrange(waiting: Sequence[Asked]) -> WaitingLine:
    """The line of ``waiting``, which are in the order in which they came.

    What the owner is asked comes before what may need no owner.
    """
    if not waiting:
        return WaitingLine(None)
    front = next((asked for asked in waiting if asked.reason), waiting[0])
    groups: dict[tuple[str, str], list[str]] = {}
    for asked in waiting:
        if asked is not front:
            merchant = asked.challenge.merchant
            groups.setdefault((merchant.id, merchant.name), []).append(asked.payment)
    behind = (Behind(name, tuple(payments)) for (_, name), payments in groups.items())
    return WaitingLine(front, tuple(behind))
