"""What a site keeps over restarts: the name and port that a browser knows, and its sessions."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Final, Self

from twochannel.pages.access import Pass

#: Bits of chance in the host's name. A cookie is shown to every port of its host, so that another
#: program on this machine gets it if it only learns the name.
_NAME_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class PageMemory:
    """``name``: the host under .localhost. ``port``: the last one, 0 if there was none."""

    name: str
    port: int
    sessions: list[Pass]

    @classmethod
    def fresh(cls, party: str) -> Self:
        return cls(f"{party}-{secrets.token_hex(_NAME_BYTES)}", 0, [])

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote."""
        kept = json.loads(text)
        return cls(kept["name"], kept["port"], [Pass(**each) for each in kept["sessions"]])

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass(slots=True)
class Remembering:
    """The memory as it is now; ``keep`` puts the text of every change on disk."""

    memory: PageMemory
    keep: Callable[[str], None]

    @classmethod
    def recall(cls, text: str | None, party: str, keep: Callable[[str], None]) -> Self:
        """From what was kept, or with a fresh name that begins with ``party``."""
        return cls(PageMemory.from_json(text) if text else PageMemory.fresh(party), keep)

    def keep_sessions(self, sessions: list[Pass]) -> None:
        self._become(replace(self.memory, sessions=sessions))

    def keep_port(self, port: int) -> None:
        self._become(replace(self.memory, port=port))

    def _become(self, memory: PageMemory) -> None:
        self.memory = memory
        self.keep(memory.to_json())
