"""``python overheard.py FILE COMMAND…``: fieldkit, and in FILE what its agents' commands said.

So a test knows the secrets that were used up on the way: labels of jacks, enrolment codes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from fieldkit.cli import main
from fieldkit.stage import Stage

_SAID = Path(sys.argv.pop(1))
_say = Stage.say


async def _overheard(
    stage: Stage, agent: str, *arguments: str, expect: Sequence[int] = (0,)
) -> tuple[int, str]:
    code, output = await _say(stage, agent, *arguments, expect=expect)
    _note(output)
    return code, output


def _note(output: str) -> None:
    with _SAID.open("a", encoding="utf-8") as said:
        said.write(f"{json.dumps(output)}\n")


setattr(Stage, "say", _overheard)  # noqa: B010  # with a plain one mypy is not content
main()
