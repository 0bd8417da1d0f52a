"""Fuel and what it costs, and how far a fuelling is. Pure.

A pump counts whole millilitres and never back. A price has more decimals than its currency, as at
every pump: 1.799 EUR for a litre. Nobody pays more than they agreed to, so the most that a pump
may give is rounded down; what was pumped is rounded as bills are, half up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final, Self

from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.limits import MAX_AMOUNT_MINOR
from twochannel.protocol.money import DECIMALS, check_currency

_ML_PER_LITRE: Final = 1000
_PRICE: Final = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,6})?) ([A-Z]{3})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Price:
    """Of a litre, in units (not minor ones) of ``currency``."""

    per_litre: Decimal
    currency: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """``"1.799 EUR"``. Raises StatementError."""
        found = _PRICE.fullmatch(text.strip())
        if found is None or not Decimal(found[1]):
            raise StatementError(
                ErrorCode.CLAIM_INVALID, "a price is of a litre and looks like 1.799 EUR"
            )
        return cls(Decimal(found[1]), check_currency(found[2]))

    def __str__(self) -> str:
        return f"{self.per_litre} {self.currency}"

    def cost_minor(self, volume_ml: int) -> int:
        """What so much costs, in minor units, half up."""
        return int(self._minor_per_ml * volume_ml + Fraction(1, 2))

    def most_ml(self, amount_minor: int) -> int:
        """The most that costs no more than ``amount_minor``."""
        # Half a minor unit more is where its cost would be rounded up beyond it.
        most = (amount_minor + Fraction(1, 2)) / self._minor_per_ml
        whole = int(most)
        return whole if whole < most else whole - 1

    @property
    def _minor_per_ml(self) -> Fraction:
        return Fraction(self.per_litre) * Fraction(pow(10, DECIMALS[self.currency]), _ML_PER_LITRE)


class Kind(StrEnum):
    """Who owes whom while the fuel runs."""

    PREPAY = "prepay"
    POSTPAY = "postpay"


class Phase(StrEnum):
    """How far a fuelling is.

    ``asked``: the owner is asked for the maximum; the pump is locked. ``open``: the pump is
    released. ``closed``: locked again, and what was pumped is known for good; it is being paid.
    ``paid``. ``released``: nothing was pumped, nothing is paid. ``failed``: the maximum was not
    agreed to, and the pump stayed locked. ``unpaid``: fuel has gone and nobody has paid for it;
    the owner is asked again, or the attendant has settled it (``settled``).
    """

    ASKED = "asked"
    OPEN = "open"
    CLOSED = "closed"
    PAID = "paid"
    RELEASED = "released"
    FAILED = "failed"
    UNPAID = "unpaid"
    SETTLED = "settled"


#: The pump is taken.
ACTIVE: Final = frozenset({Phase.ASKED, Phase.OPEN, Phase.CLOSED, Phase.UNPAID})


@dataclass(frozen=True, slots=True)
class Fuelling:
    """One customer at the pump.

    ``most_minor``: at most so much is taken. ``code``: of the jack that was recognised, hex.
    ``start_ml``: the pump's counter before. ``by_nozzle``: begun by lifting it. ``attempt``: how
    often the owner was asked. ``problem``: why it does not go on by itself, as an
    ErrorCode's value; else empty.
    """

    id: str
    kind: Kind
    reference: str
    price: Price
    most_minor: int
    phase: Phase
    jack: str | None = None
    code: str | None = None
    payment: str | None = None
    start_ml: int = 0
    pumped_ml: int = 0
    limit_ml: int = 0
    attempt: int = 1
    opened_s: int = 0
    problem: str = ""
    by_nozzle: bool = False

    @property
    def cost_minor(self) -> int:
        """Of what was pumped; never more than was agreed to."""
        return min(self.price.cost_minor(self.pumped_ml), self.most_minor)

    @property
    def charge_reference(self) -> str:
        """The till's reference of the payment: asked for again, it is another payment."""
        return self.reference if self.attempt == 1 else f"{self.reference}.{self.attempt}"

    @property
    def limit_total_ml(self) -> int:
        """Where the pump's counter has to stop."""
        return self.start_ml + self.limit_ml


@dataclass(frozen=True, slots=True)
class Reading:
    """The pump as it is. ``total_ml``: its counter. ``released``: it would give fuel."""

    total_ml: int
    nozzle_lifted: bool
    released: bool


def is_over(fuelling: Fuelling, reading: Reading, now_s: int, patience_s: int) -> bool:
    """Whether an open fuelling has ended: nozzle back, maximum reached, or nobody came."""
    pumped_ml = reading.total_ml - fuelling.start_ml
    if pumped_ml >= fuelling.limit_ml:
        return True
    if pumped_ml > 0 or fuelling.by_nozzle:
        return not reading.nozzle_lifted
    return not reading.nozzle_lifted and now_s - fuelling.opened_s >= patience_s


def most_without_limit(price: Price, litres: int) -> int:
    """What ``litres`` cost: the most that a fuelling without a hold may come to."""
    return min(price.cost_minor(litres * _ML_PER_LITRE), MAX_AMOUNT_MINOR)


def fuelling_view(fuelling: Fuelling) -> dict[str, Any]:
    """A fuelling for till and page. ``cost_minor``: of what was pumped so far."""
    return {
        "id": fuelling.id,
        "kind": fuelling.kind.value,
        "reference": fuelling.reference,
        "phase": fuelling.phase.value,
        "jack": fuelling.jack,
        "payment": fuelling.payment,
        "most_minor": fuelling.most_minor,
        "pumped_ml": fuelling.pumped_ml,
        "cost_minor": fuelling.cost_minor,
        "currency": fuelling.price.currency,
        "price": str(fuelling.price),
        "problem": fuelling.problem or None,
    }
