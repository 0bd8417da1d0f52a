"""What a page says, in the reader's language: texts, amounts, moments.

English is in the code; every other language is one file, ``locale/<language>.po``. Amounts have the
decimals of ISO 4217, whatever the language would round them to.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path
from typing import Final, Literal

from babel import Locale
from babel.core import negotiate_locale
from babel.dates import format_datetime
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import (
    NumberPattern,
    get_decimal_symbol,
    get_group_symbol,
    parse_pattern,
)

from twochannel.protocol.money import DECIMALS, Amount, check_currency, parse_amount

FOLDER: Final = Path(__file__).with_name("locale")
#: The first one is spoken to everybody who asks for none of them.
LANGUAGES: Final = {"en": "English", "ko": "한국어"}
_LONGEST_HEADER: Final = 200
_GROUP: Final = ","
_GROUPED: Final = re.compile(r"[0-9]{1,3}(,[0-9]{3})+", re.ASCII)
_LETTER_THEN_DIGIT: Final = re.compile(r"(?<=[A-Za-z])(?=\d)")


@dataclass(frozen=True, slots=True)
class Words:
    """One language. ``language``: its code, as in the ``lang`` of a page."""

    language: str
    locale: Locale
    translations: NullTranslations

    def say(self, message: str, **values: object) -> str:
        """``message`` in this language, with ``values`` in the place of its ``{names}``."""
        text = self.translations.gettext(message)
        return text.format(**values) if values else text

    def count(self, one: str, many: str, number: int, **values: object) -> str:
        """The form for ``number``, which may stand in it as ``{number}``."""
        text = self.translations.ngettext(one, many, number)
        return text.format(number=number, **values)

    def money(self, value_minor: int, currency: str) -> str:
        """``450, "EUR"`` -> ``"€4.50"``."""
        decimals = DECIMALS[check_currency(currency)]
        pattern = _currency_pattern(self.language, decimals)
        number = Decimal(value_minor).scaleb(-decimals)
        text = pattern.apply(number, self.locale, currency=currency, currency_digits=False)
        # CLDR wants a space after a currency that is written in letters; Babel leaves it out.
        return _LETTER_THEN_DIGIT.sub("\N{NO-BREAK SPACE}", text)

    def read_amount(self, text: str, currency: str) -> Amount:
        """``"1,234.50", "EUR"`` as it is typed in this language; groups only where they belong.

        Raises StatementError.
        """
        group, point = get_group_symbol(self.locale), get_decimal_symbol(self.locale)
        whole, mark, fraction = text.strip().partition(point)
        if _GROUPED.fullmatch(whole.replace(group, _GROUP)):
            whole = whole.replace(group, "")
        return parse_amount(whole + ("." if mark else "") + fraction, currency)

    def moment(self, unix_ms: int, form: Literal["short", "medium"] = "medium") -> str:
        """Date and time of day, where this machine is."""
        local = datetime.fromtimestamp(unix_ms / 1000).astimezone()
        return format_datetime(local, form, locale=self.locale)


@cache
def words(language: str) -> Words:
    """The words of one of ``LANGUAGES``."""
    return Words(language, Locale.parse(language), _translations(language))


def choose(kept: str | None, accepted: str) -> Words:
    """``kept``: what the reader has chosen; ``accepted``: the browser's Accept-Language."""
    if kept in LANGUAGES:
        return words(kept)
    preferred = [part.partition(";")[0].strip() for part in accepted[:_LONGEST_HEADER].split(",")]
    found = negotiate_locale([p for p in preferred if p], list(LANGUAGES), sep="-")
    return words(found or next(iter(LANGUAGES)))


def _translations(language: str) -> NullTranslations:
    path = FOLDER / f"{language}.po"
    if not path.exists():
        return NullTranslations()
    with path.open("rb") as source:
        catalogue = read_po(source, locale=language)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return GNUTranslations(compiled)


@cache
def _currency_pattern(language: str, decimals: int) -> NumberPattern:
    standard = Locale.parse(language).currency_formats["standard"].pattern
    pattern = parse_pattern(standard)
    pattern.frac_prec = (decimals, decimals)
    return pattern
