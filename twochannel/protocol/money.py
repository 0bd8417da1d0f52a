"""Money: integer minor units of a known currency, and nothing else (ISO 4217)."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator

from twochannel.protocol.errors import ErrorCode, StatementError
from twochannel.protocol.limits import MAX_AMOUNT_MINOR

_NO_DECIMALS = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE_DECIMALS = "BHD IQD JOD KWD LYD OMR TND"
_TWO_DECIMALS = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF "
    "CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD "
    "HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA "
    "MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN "
    "QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP "
    "TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG"
)

#: Active currency codes and the decimals of their minor unit. Source: ISO 4217 list one.
DECIMALS: Final[dict[str, int]] = (
    dict.fromkeys(_NO_DECIMALS.split(), 0)
    | dict.fromkeys(_TWO_DECIMALS.split(), 2)
    | dict.fromkeys(_THREE_DECIMALS.split(), 3)
)

MinorUnits = Annotated[int, Field(strict=True, ge=0, le=MAX_AMOUNT_MINOR)]


def check_currency(currency: str) -> str:
    """Return the code if it is an active one. Raises StatementError (``currency_unknown``)."""
    if currency not in DECIMALS:
        raise StatementError(
            ErrorCode.CURRENCY_UNKNOWN,
            "the currency code is not known; it has three capital letters",
        )
    return currency


class Amount(BaseModel):
    """A positive amount: ``value`` in minor units (cents), ``currency`` as ISO 4217 code."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    value: Annotated[int, Field(gt=0, le=MAX_AMOUNT_MINOR)]
    currency: str

    _known_currency = field_validator("currency")(check_currency)

    def __str__(self) -> str:
        return f"{format_minor(self.value, self.currency)} {self.currency}"


def format_minor(value: int, currency: str) -> str:
    """``450, "EUR"`` -> ``"4.50"``. Decimals as the currency has them, always a point."""
    decimals = DECIMALS[check_currency(currency)]
    sign, digits = ("-" if value < 0 else ""), str(abs(value)).rjust(decimals + 1, "0")
    return sign + (f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits)


def parse_amount(text: str, currency: str) -> Amount:
    """``"4.50", "EUR"`` -> ``Amount(450, "EUR")``: the way a person types it, without guessing.

    Raises StatementError: ``currency_unknown``, or ``claim_invalid`` for anything that is not a
    positive decimal number with at most the currency's decimals.
    """
    decimals = DECIMALS[check_currency(currency)]
    match = re.fullmatch(r"([0-9]{1,13})(?:\.([0-9]+))?", text, re.ASCII)
    fraction = (match[2] or "") if match else ""
    if match is None or len(fraction) > decimals:
        kind = f"a number with at most {decimals} decimals" if decimals else "a whole number"
        example = format_minor(450 * 10 ** max(decimals - 2, 0), currency)
        raise StatementError(
            ErrorCode.CLAIM_INVALID, f"an amount in {currency} is {kind}, such as {example}"
        )
    value = int(match[1] + fraction.ljust(decimals, "0"))
    if not 0 < value <= MAX_AMOUNT_MINOR:
        raise StatementError(ErrorCode.CLAIM_INVALID, "the amount is out of range")
    return Amount(value=value, currency=currency)
