"""The command ``doctor`` that agents share: progress on standard error, the report on standard out.

Loads nothing but click before it is called, like ``twochannel.console``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import click

from twochannel.console import json_option, say, table

if TYPE_CHECKING:
    from twochannel.doctor.examination import Progress
    from twochannel.doctor.findings import Row

#: Whether the agent runs, and what was found.
Findings = tuple[bool, "list[Row]"]

_HELP: Final = """Examine this machine: {what}.

A row for each check: what was found and, unless it is fine, what to do. With the radio measured
it takes {seconds}; while the agent runs it is asked, and its radio left alone. Works without
root, and says what it could not read. docs/doctor.md explains every check, and the JSON.

Exit code 0: nothing fails; 1: something fails, or could not be examined; 2: wrong usage.
"""


def doctor_options(what: str, seconds: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--quick``, ``--json`` and the help of a doctor that looks at ``what``."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        command.__doc__ = _HELP.format(what=what, seconds=seconds)
        quick = click.option("--quick", is_flag=True, help="Leave out whatever takes time.")
        return quick(json_option(command))

    return decorate


def run_doctor(
    agent: str, examine: Callable[[Progress], Awaitable[Findings]], *, as_json: bool
) -> None:
    """Examine, tell, and end with the exit code. ``agent``: the name of its command."""
    import asyncio
    import logging

    from twochannel.doctor import findings
    from twochannel.doctor.steps import accompanied

    # What a radio or mDNS would log, the rows tell.
    logging.basicConfig(handlers=[logging.NullHandler()])
    running, rows = asyncio.run(accompanied(examine, quiet=as_json))
    say(findings.members(agent, running, rows), shown(running, rows), as_json=as_json)
    raise SystemExit(findings.exit_code(rows))


def shown(running: bool, rows: list[Row]) -> str:
    """The report for people."""
    from twochannel.doctor import findings

    seen = findings.applicable(rows)
    cells = [findings.cells(row) for row in seen]
    titles, *lines = table(("state", "check", "found"), cells, "").splitlines()
    told = [titles]
    for line, row in zip(lines, seen, strict=True):
        told += [line, *(f"         {advice}" for advice in findings.advice(row))]
    told += ["", *findings.left_out(rows), "", findings.summary(rows)]
    if running:
        told.append("The agent runs: its radio was asked about, not measured.")
    return "\n".join(told)
