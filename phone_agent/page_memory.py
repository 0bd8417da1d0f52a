"""What the pages keep over restarts: the name and port that a browser knows, and its sessions."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from typing import Final

from phone_agent.database import Database, put_fact
from twochannel.pages.access import Pass

_FACT: Final = "page"
#: Bits of chance in the host's name. A cookie is shown to every port of its host, so that another
#: program on this machine gets it if it only learns the name.
_NAME_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class PageMemory:
    """``name``: the host under .localhost. ``port``: the last one, 0 if there was none."""

    name: str
    port: int
    sessions: list[Pass]


def recall(database: Database) -> PageMemory:
    """What was kept, or a fresh name."""
    text = database.fact(_FACT)
    if text is None:
        return PageMemory(f"phone-{secrets.token_hex(_NAME_BYTES)}", 0, [])
    kept = json.loads(text)
    return PageMemory(kept["name"], kept["port"], [Pass(**each) for each in kept["sessions"]])


def keep(database: Database, memory: PageMemory) -> None:
    with database.transaction() as db:
        put_fact(db, _FACT, json.dumps(asdict(memory)))
