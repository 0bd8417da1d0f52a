"""What looks like the number of a card, which no statement may carry (docs/protocol.md, Server).

The check digit is Luhn's (ISO/IEC 7812-1, annex B), which all card schemes use. It is written out
here: it is three lines, and python-stdnum, which has it, knows some 200 other kinds of numbers that
nobody here asks for. Most of this module is where a number may hide.
"""

from __future__ import annotations

import re
from itertools import combinations
from typing import Final

#: Of all card schemes in use: Maestro has the shortest, ISO/IEC 7812-1 the longest.
MIN_DIGITS: Final = 12
MAX_DIGITS: Final = 19
#: Digits of any script, in groups with anything but letters between them.
_GROUPS: Final = re.compile(r"\d+(?:[\W_]+\d+)*")
#: What a digit counts for when it is doubled: the sum of its digits.
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def holds_card_number(text: str) -> bool:
    """Whether ``text`` holds 12 to 19 digits that a card may have as its number.

    They may be in groups. A group is not taken apart: one in ten long numbers would be refused for
    each place at which it could begin.
    """
    return any(_holds(match.group()) for match in _GROUPS.finditer(text))


def _holds(groups: str) -> bool:
    """Whether some groups in a row make up a number."""
    digits = [_ascii(group) for group in re.findall(r"\d+", groups)]
    ends = range(len(digits) + 1)
    return any(_is_number("".join(digits[a:b])) for a, b in combinations(ends, 2))


def _ascii(group: str) -> str:
    return "".join(str(int(digit)) for digit in group)


def _is_number(digits: str) -> bool:
    return MIN_DIGITS <= len(digits) <= MAX_DIGITS and _luhn_sum(digits) % 10 == 0


def _luhn_sum(digits: str) -> int:
    backwards = [int(digit) for digit in reversed(digits)]
    return sum(backwards[0::2]) + sum(_DOUBLED[digit] for digit in backwards[1::2])
