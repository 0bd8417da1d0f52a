"""The kernel's table of wireless interfaces, and what is said of a level."""

from __future__ import annotations

from pathlib import Path

import pytest

from phone_agent.owners_view import signal_text
from phone_agent.signal_level import parse_levels, wifi_level_dbm

#: As Linux 6.1 prints it.
TABLE = """\
Inter-| sta-|   Quality        |   Discarded packets               | Missed | WE
 face | tus | link level noise |  nwid  crypt   frag  retry   misc | beacon | 22
{}: 0000   56.  {}.  -256        0      0      0      0      0        0
"""


@pytest.mark.parametrize(
    ("table", "levels_dbm"),
    [
        (TABLE.format(" wlan0", "-54"), {"wlan0": -54}),
        (TABLE.format("wlx001122334455", "-80"), {"wlx001122334455": -80}),
        (TABLE.format(" wlan0", "78"), {}),
        (TABLE.format(" wlan0", ""), {}),
        ("\n".join(TABLE.splitlines()[:2]), {}),
        ("", {}),
        (":::\nwlan0:\nwlan1: 1 2", {}),
    ],
)
def test_levels_of_the_table(table: str, levels_dbm: dict[str, int]) -> None:
    assert parse_levels(table) == levels_dbm


def test_only_the_interface_that_leads_to_the_jack_counts(tmp_path: Path) -> None:
    table = tmp_path / "wireless"
    assert wifi_level_dbm("127.0.0.1", table) is None
    table.write_text(TABLE.format("lo", "-61"))
    assert wifi_level_dbm("127.0.0.1", table) == -61
    table.write_text(TABLE.format("wlan9", "-61"))
    assert wifi_level_dbm("127.0.0.1", table) is None


@pytest.mark.parametrize(
    ("level_dbm", "text"), [(-40, "good"), (-67, "good"), (-68, "weak"), (-95, "very weak")]
)
def test_what_is_said_of_a_level(level_dbm: int, text: str) -> None:
    assert signal_text(level_dbm) == text
