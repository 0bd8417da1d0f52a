"""The command line of the terminal.

A till may start ``charge`` for every customer, so this module loads nothing but click. Commands
that talk to the running agent use the standard library; the rest is imported where it is needed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from payment_device.payment_commands import COMMAND, PAYMENT_COMMANDS, ask
from payment_device.pump_commands import pump
from twochannel.console import (
    AgentCommands,
    Failures,
    json_option,
    listed,
    qr_text,
    say,
    state_option,
    tell_ready,
)
from twochannel.doctor.command import doctor_options, run_doctor

if TYPE_CHECKING:
    from payment_device.config import TerminalSettings


def failures() -> Failures:
    """The terminal's own errors whose text says what to do next."""
    from payment_device.calibration import CalibrationError
    from payment_device.enrolment import EnrolmentError
    from payment_device.neighbours import NeighboursError
    from server.client import ServerUnreachableError

    return {
        CalibrationError: "not_calibrated",
        EnrolmentError: "enrolment_unusable",
        NeighboursError: "neighbours_unusable",
        ServerUnreachableError: "server_unreachable",
    }


@click.group(cls=AgentCommands, failures=failures)
@state_option(COMMAND)
@click.version_option(package_name="cigarjack")
@click.pass_context
def main(context: click.Context, state: Path) -> None:
    """The terminal at a lane: hears the jack of a car and charges it.

    Begin with `payment-device enroll`, then keep `payment-device run` running; then `charge`.
    """
    context.obj = state


@main.command()
@click.argument("url")
@click.argument("code")
@json_option
@click.pass_obj
def enroll(state: Path, url: str, code: str, as_json: bool) -> None:
    """Enrol at the server at URL with the one-time CODE of its operator."""
    import asyncio

    from payment_device.agent import new_id
    from payment_device.enrolment import enrol
    from server.client import EnrolmentCode
    from twochannel import state_folder
    from twochannel.trace import wall_ms

    with state_folder.held(state):
        keys = read_settings(state, {}).keys
        parsed = EnrolmentCode.parse(code)
        enrolled = asyncio.run(enrol(state, url, parsed, new_id, wall_ms, keys))
    answer = {
        "terminal": enrolled.terminal,
        "server": enrolled.pin.server,
        "lane": enrolled.lane,
        "merchant": enrolled.merchant.model_dump(),
    }
    who = f"{enrolled.lane} of {enrolled.merchant.name}"
    say(answer, f"Enrolled as {who}.\nNow start: {COMMAND} run", as_json=as_json)


@main.command()
@click.option("--radio", help="Adapter, for example bumble:usb:0 or bumble:tcp-client:HOST:PORT.")
@click.option("--min-rssi", "min_rssi_dbm", type=float, help="A weaker jack is not at the lane.")
@click.option("--margin", "margin_db", type=float, help="Lead over the next jack that is needed.")
@click.pass_obj
def run(state: Path, /, **flags: Any) -> None:
    """Run the terminal in the foreground; stop it with Ctrl-C or SIGTERM.

    Settings come from config.toml in the state folder, then from PAYMENT_DEVICE_… variables, then
    from these flags. Prints one line of JSON once it is ready; logs go to standard error.
    """
    import asyncio

    from payment_device import agent
    from twochannel import logs

    settings = read_settings(state, flags)
    logs.configure(settings.log_level)
    asyncio.run(agent.run(settings, state, tell_ready))


@main.command("neighbours-key")
@click.argument("key", required=False)
@json_option
@click.pass_obj
def neighbours_key(state: Path, key: str | None, as_json: bool) -> None:
    """Print the key of this site's lanes, made if there is none; or take on the KEY of another.

    Lanes that hear the same cars share one, and are named in each other's settings (neighbours).
    Restart the terminal afterwards. docs/lane-decision.md tells what they tell each other.
    """
    from payment_device.neighbours import keep_key
    from twochannel import state_folder

    state_folder.make(state)
    kept = keep_key(state, key)
    say({"key": kept}, kept, as_json=as_json)


@main.command(context_settings={"show_default": True})
@click.option("--radio", help="Adapter, as for `run`.")
@click.option("--here", type=click.IntRange(1, 20), default=3, help="Places here.")
@click.option("--away", type=click.IntRange(0, 20), default=2, help="Places away from here.")
@click.option("--seconds", type=click.FloatRange(2, 120), default=10, help="At each place.")
@click.option("--dry-run", is_flag=True, help="Tell the thresholds and change no setting.")
@json_option
@click.pass_obj
def calibrate(
    state: Path,
    /,
    radio: str | None,
    here: int,
    away: int,
    seconds: float,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Measure this lane with a car and set its thresholds; the terminal must not be running.

    Asks for a car with a jack at one marked place after the other: first here, where customers
    stand, then away, where a car must not be charged: the next lane, the next in the queue. Each
    is measured for --seconds. Writes min_rssi_dbm and margin_db into config.toml of the state
    folder, and says how often they will be wrong. docs/lane-decision.md tells how to choose the
    places.
    """
    from payment_device import calibrating
    from twochannel import state_folder

    with state_folder.locked(state):
        settings = read_settings(state, {"radio": radio})
        found = calibrating.measure(settings.radio, here, away, seconds)
        if not dry_run:
            calibrating.write(found, state / "config.toml")
    answer = calibrating.members(found) | {"written": not dry_run}
    say(answer, calibrating.told(found, None if dry_run else state), as_json=as_json)


def read_settings(state: Path, flags: dict[str, Any]) -> TerminalSettings:
    """The settings from file, environment and flags. Raises SettingsError."""
    from payment_device.config import ENVIRONMENT_PREFIX, TerminalSettings
    from twochannel.settings import load

    return load(
        TerminalSettings,
        file=state / "config.toml",
        environment=os.environ,
        prefix=ENVIRONMENT_PREFIX,
        flags=flags,
    )


@main.command()
@json_option
@click.pass_obj
def jacks(state: Path, as_json: bool) -> None:
    """List the jacks that are heard now, the nearest first."""
    answer = ask(state, "GET", "/v1/jacks")
    rows = [f"{'JACK':6}{'LEVEL':>9}{'AGE':>9}  STATE"]
    rows += [
        f"{item['handle']:6}{item['rssi_dbm']:>5} dBm{item['age_ms']:>6} ms  {item['state']}"
        for item in answer["items"]
    ]
    if answer["reason"]:
        rows.append(f"No jack is chosen: {answer['reason'].replace('_', ' ')}.")
    say(answer, "\n".join(rows), as_json=as_json)


@main.command()
@json_option
@click.pass_obj
def page(state: Path, as_json: bool) -> None:
    """Print a link, and its QR code, that opens the lane page in one browser.

    It works once, within five minutes, on the machine where the terminal runs.
    """
    answer = ask(state, "POST", "/v1/page")
    say(answer, f"{qr_text(answer['url'])}\n{answer['url']}", as_json=as_json)


@main.command()
@json_option
@click.pass_obj
def status(state: Path, as_json: bool) -> None:
    """Show the running terminal: lane, server, radio, open payment."""
    answer = ask(state, "GET", "/v1/status")
    say(answer, listed(answer), as_json=as_json)


@main.command()
@doctor_options("its radio, its server, its clock, voltage and disk", "about 15 s")
@click.option("--radio", help="Adapter to examine instead of the one in the settings.")
@click.pass_obj
def doctor(state: Path, radio: str | None, quick: bool, as_json: bool) -> None:
    from payment_device.doctor import examine

    settings = read_settings(state, {"radio": radio})
    run_doctor(
        COMMAND,
        lambda progress: examine(settings, state, progress, quick=quick),
        as_json=as_json,
    )


for command in (*PAYMENT_COMMANDS, pump):
    main.add_command(command)
