"""``fieldkit trial start``, ``mark``, ``stop``, ``status``: told to the agents of this machine.

Any machine will do: what one agent has noted is put on the timeline of all (docs/recording.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import click

from twochannel.console import CommandError, json_option, say, table
from twochannel.control import SOCKET_NAME, ControlError, ask
from twochannel.protocol.errors import CodedError
from twochannel.state_folder import default_folder
from twochannel.trial_notes import MARKS_PATH, PATH

#: The agents that can be told: the server has no part in what happens at a lane.
AGENTS: Final = ("payment-device", "cigarjack", "phone-agent")

_states = click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="State folder of an agent that runs here; may be repeated.  [default: the usual ones"
    " of terminal, jack and phone]",
)


def running(states: Sequence[Path]) -> list[Path]:
    """The state folders of agents that run here. Raises CommandError if there is none."""
    asked = list(states) or [default_folder(agent, os.environ) for agent in AGENTS]
    found = [state for state in asked if (state / SOCKET_NAME).exists()]
    if not found:
        raise CommandError(
            "no_agent",
            f"no agent runs in {', '.join(map(str, asked))}",
            "Name the folder of one that does with --state, as the user who runs it.",
        )
    return found


def _tell(
    states: Sequence[Path], method: str, path: str, body: dict[str, object] | None = None
) -> list[dict[str, Any]]:
    """Ask each of them; what they answer. Raises CommandError after all have been asked."""
    answers, failures = [], []
    for state in running(states):
        try:
            answer = ask(state, method, path, body, agent="the agent", timeout_s=10)
            answers.append({"state": str(state)} | answer)
        except (CodedError, ControlError) as error:
            failures.append(f"{state}: {error}")
    if failures:
        told = f" {len(answers)} others were told." if answers else ""
        raise CommandError("not_told", "; ".join(failures), told.strip())
    return answers


def _command(name: str) -> Callable[[Callable[..., None]], click.Command]:
    return click.command(name, context_settings={"help_option_names": ["-h", "--help"]})


@_command("start")
@click.argument("name")
@_states
@json_option
def start(name: str, states: Sequence[Path], as_json: bool) -> None:
    """Call what is recorded from now on trial NAME.

    Agents record all the time; the name says which part of it `fieldkit collect` is to fetch. One
    machine is enough.
    """
    told = _tell(states, "POST", PATH, {"trial": name})
    say({"trial": name, "agents": told}, f"Trial {name} runs.", as_json=as_json)


@_command("stop")
@_states
@json_option
def stop(states: Sequence[Path], as_json: bool) -> None:
    """End the trial that runs."""
    told = _tell(states, "DELETE", PATH)
    names = ", ".join(sorted({answer["trial"] for answer in told}))
    say({"trial": names, "agents": told}, f"Trial {names} is over.", as_json=as_json)


@_command("mark")
@click.argument("text")
@click.option("--at-lane", "lane", help="The truth: at this lane ...")
@click.option("--jack", help="... stands the car with this jack.")
@click.option("--nobody", is_flag=True, help="... stands nobody with a jack.")
@_states
@json_option
def mark(
    text: str,
    lane: str | None,
    jack: str | None,
    nobody: bool,
    states: Sequence[Path],
    as_json: bool,
) -> None:
    """Note TEXT on the timeline: fieldkit trial mark "car arrives at lane 2".

    With --at-lane and --jack or --nobody it is ground truth, by which the report judges what the
    lane decided from then on.
    """
    body: dict[str, object] = {"text": text, "truth": _truth(lane, jack, nobody)}
    told = _tell(states, "POST", MARKS_PATH, body)
    say({"text": text, "agents": told}, "Noted.", as_json=as_json)


@_command("status")
@_states
@json_option
def status(states: Sequence[Path], as_json: bool) -> None:
    """Which trial runs, by agent."""
    told = _tell(states, "GET", PATH)
    rows = [(answer["state"], answer["trial"] or "none") for answer in told]
    say({"agents": told}, table(("agent", "trial"), rows, ""), as_json=as_json)


def _truth(lane: str | None, jack: str | None, nobody: bool) -> dict[str, object] | None:
    """Raises UsageError for half a truth."""
    if lane is None and jack is None and not nobody:
        return None
    if lane is None or (jack is None) is not nobody:
        raise click.UsageError("the truth is --at-lane LANE with --jack JACK, or with --nobody")
    return {"lane": lane, "jack": jack}


COMMANDS: Final = (start, mark, stop, status)
