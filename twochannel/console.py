"""What every agent's command line shares: its state folder, its answers, how it fails.

A command answers in text for people or, with ``--json``, as one JSON object on standard output. It
fails with exit code 1 and a sentence that says what to do next on standard error; with ``--json``
that is ``{"error": {"code", "detail", "next_step"}}``. Wrong usage is exit code 2, as click has it.

Loads nothing but click: a till may start a command for every customer.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

FAILED: Final = 1
#: The id of a device: the hash of its key in base64url, and so one in 64 begins as an option does.
_HYPHENATED_ID: Final = re.compile(r"-[A-Za-z0-9_-]{42}", re.ASCII)
_AS_JSON: Final = "twochannel.console.as_json"

Command = TypeVar("Command", bound=Callable[..., Any])
#: Errors whose text is a sentence for a person, with the code that programs are told.
Failures = Mapping[type[Exception], str]


class CommandError(Exception):
    """A command failed. ``detail``: what happened; ``next_step``: what to do, or empty."""

    def __init__(self, code: str, detail: str, next_step: str = "") -> None:
        self.code = code
        self.detail = detail
        self.next_step = next_step
        super().__init__(detail)


class TakesDevice(click.Command):
    """A command whose last argument is the id of a device, which may begin with a hyphen."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" not in args:
            ids = [arg for arg in args if _HYPHENATED_ID.fullmatch(arg)]
            rest = [arg for arg in args if arg not in ids]
            args = [*rest, "--", *ids]
        return super().parse_args(ctx, args)


class AgentCommands(click.Group):
    """The commands of one agent; turns every expected failure into a sentence and exit code 1.

    ``failures``: gives the agent's own errors. It is asked when something has failed, for to
    import them takes time. What nobody expects is a defect, and passes through.
    """

    def __init__(self, *arguments: Any, failures: Callable[[], Failures], **options: Any) -> None:
        options.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        super().__init__(*arguments, **options)
        self._failures = failures

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            failure = _read(error, _shared_failures) or _read(error, self._failures)
            if failure is None:
                raise
            _tell(failure, as_json=bool(ctx.find_root().meta.get(_AS_JSON)))
            ctx.exit(FAILED)


def state_option(agent: str) -> Callable[[Command], Command]:
    """``--state`` of the command ``agent``: the folder of all that it must not forget."""
    variable = f"{agent.upper().replace('-', '_')}_STATE"

    def default() -> Path:
        from twochannel.state_folder import default_folder

        return default_folder(agent, os.environ)

    return click.option(
        "--state",
        type=click.Path(file_okay=False, path_type=Path),
        envvar=variable,
        default=default,
        help=f"Folder of keys and memory.  [default: /var/lib/{agent} for root, else "
        f"~/.local/state/{agent}; environment: {variable}]",
    )


def json_option(command: Command) -> Command:
    """The ``--json`` of every command that prints a result."""

    def remember(context: click.Context, _option: click.Parameter, value: bool) -> bool:
        context.find_root().meta[_AS_JSON] = value
        return value

    return click.option(
        "--json", "as_json", is_flag=True, callback=remember, help="Answer as one JSON object."
    )(command)


def say(answer: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """The answer of a command: ``answer`` for programs, ``text`` for people."""
    click.echo(json.dumps(answer) if as_json else text)


def tell_ready(line: Mapping[str, object]) -> None:
    """The one line of a running agent, once it is ready; flushed."""
    click.echo(json.dumps(line))


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> str:
    """Aligned columns, or the sentence ``empty`` if there are no rows."""
    if not rows:
        return empty
    lines = [[title.upper() for title in titles], *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )
    return "\n".join(line.rstrip() for line in padded)


def listed(members: Mapping[str, object]) -> str:
    """One member a line, as a status is shown."""
    width = max(map(len, members), default=0)
    return "\n".join(f"{name:{width}}  {_shown(value)}" for name, value in members.items())


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return str(value.get("name", value))
    return "-" if value is None else str(value)


def _shared_failures() -> Failures:
    from twochannel.control import ControlError
    from twochannel.database import DatabaseError
    from twochannel.keystore.port import KeyStoreError
    from twochannel.radio.port import RadioError
    from twochannel.settings import SettingsError
    from twochannel.state_folder import StateFolderError

    return {
        ControlError: "agent_not_running",
        DatabaseError: "database_unusable",
        KeyStoreError: "keys_unusable",
        RadioError: "radio_unusable",
        SettingsError: "settings_unusable",
        StateFolderError: "state_unusable",
        OSError: "system_error",
    }


def _read(error: Exception, failures: Callable[[], Failures]) -> CommandError | None:
    """The failure as a person reads it; None for a defect, and for click's own errors."""
    from twochannel.protocol.errors import PROBLEMS, CodedError

    if isinstance(error, CommandError):
        return error
    if isinstance(error, CodedError):
        return CommandError(error.code.value, error.detail, PROBLEMS[error.code].next_step)
    codes = (code for kind, code in failures().items() if isinstance(error, kind))
    code = next(codes, None)
    return None if code is None else CommandError(code, str(error))


def _tell(error: CommandError, *, as_json: bool) -> None:
    members = {"code": error.code, "detail": error.detail, "next_step": error.next_step}
    text = f"{error.detail}\n{error.next_step}".strip()
    click.echo(json.dumps({"error": members}) if as_json else text, err=True)


def qr_text(text: str) -> str:
    """``text`` as a QR code of block characters, for a terminal."""
    import io

    import segno

    drawn = io.StringIO()
    segno.make(text, error="m").terminal(drawn, compact=True)
    return drawn.getvalue().rstrip("\n")
