"""The commands of the air's control channel: one JSON object per line, one answer per line. Pure.

===========================================================  ================================
request                                                      answer besides ``"ok": true``
===========================================================  ================================
``{"move": NAME, "x": METRES, "y": METRES}``                 nothing
``{"drive": NAME, "to": [X, Y], "speed_mps": SPEED}``        ``"arrives_in_s": SECONDS``
``{"mute": NAME}`` (neither heard nor hears)                 nothing
``{"unmute": NAME}``                                         nothing
``{"unplug": NAME}`` (gone for its host, as if pulled out)   nothing
``{"plug": NAME}``                                           nothing
``{"positions": true}``                                      ``"positions": {NAME: [X, Y], …}``
``{"deliver": NAME, "address": "AA:BB:CC:DD:EE:FF",          ``"heard": BOOL`` (its host scans)
"random": BOOL, "data": HEX, "rssi_dbm": DBM}``
===========================================================  ================================

A refused command changes nothing and is answered by
``{"ok": false, "code": CODE, "message": SENTENCE}`` with a code of ``Refusal``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

LINE_LIMIT_BYTES = 4096  # the longest command has under 200

_Metres = Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)]


class Refusal(StrEnum):
    """Why a command was refused."""

    MALFORMED = "malformed"
    UNKNOWN_COMMAND = "unknown_command"
    INVALID_VALUE = "invalid_value"
    UNKNOWN_CONTROLLER = "unknown_controller"


class CommandError(Exception):
    """A command that was refused. ``code`` is for programs, the text for people."""

    def __init__(self, code: Refusal, message: str) -> None:
        super().__init__(message)
        self.code = code


class _Command(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Move(_Command):
    """Put a controller somewhere else at once."""

    move: str
    x: _Metres
    y: _Metres


class Drive(_Command):
    """Let a controller drive straight from where it is, at constant speed."""

    # Strict mode takes a JSON array for a tuple only when told so.
    drive: str
    to: Annotated[tuple[_Metres, _Metres], Field(strict=False)]
    speed_mps: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class Mute(_Command):
    """Let a controller neither hear nor be heard."""

    mute: str


class Unmute(_Command):
    """Undo ``Mute``."""

    unmute: str


class Unplug(_Command):
    """Take a controller away from its host, and let none have it."""

    unplug: str


class Plug(_Command):
    """Undo ``Unplug``."""

    plug: str


class Positions(_Command):
    """Ask where every controller is now."""

    positions: Literal[True]


class Deliver(_Command):
    """Let a controller receive one non-connectable advert, from nowhere, at this level.

    ``data``: the whole advertising data, in hex. ``random``: what kind of address it is.
    """

    deliver: str
    address: Annotated[str, Field(pattern="^([0-9A-F]{2}:){5}[0-9A-F]{2}$")]
    random: bool
    data: Annotated[str, Field(pattern="^([0-9a-f]{2}){1,31}$")]
    rssi_dbm: Annotated[int, Field(ge=-127, le=127)]


_JSON_OBJECT = TypeAdapter(dict[str, Any])

Command = Move | Drive | Mute | Unmute | Unplug | Plug | Positions | Deliver

_COMMANDS: dict[str, type[Command]] = {
    "move": Move,
    "drive": Drive,
    "mute": Mute,
    "unmute": Unmute,
    "unplug": Unplug,
    "plug": Plug,
    "positions": Positions,
    "deliver": Deliver,
}


def parse(line: bytes) -> Command:
    """The command on one line. Raises CommandError for anything else."""
    try:
        fields = _JSON_OBJECT.validate_json(line)
    except ValidationError as error:
        raise CommandError(Refusal.MALFORMED, f"not a JSON object: {_problems(error)}") from error
    named = [kind for name, kind in _COMMANDS.items() if name in fields]
    if len(named) != 1:
        raise CommandError(
            Refusal.UNKNOWN_COMMAND, f"a command has exactly one of: {', '.join(_COMMANDS)}"
        )
    try:
        return named[0].model_validate(fields)
    except ValidationError as error:
        raise CommandError(Refusal.INVALID_VALUE, _problems(error)) from error


def _problems(error: ValidationError) -> str:
    return "; ".join(
        ": ".join((*map(str, problem["loc"]), problem["msg"])) for problem in error.errors()
    )
