"""The command line of the jack."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cigarjack.config import COMMAND, ENVIRONMENT_PREFIX, StateFolder
from twochannel.console import (
    AgentCommands,
    CommandError,
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
    from cigarjack.config import JackSettings


def failures() -> Failures:
    """The jack's own errors whose text says what to do next."""
    from cigarjack.identity import IdentityError
    from cigarjack.memory import StorageError

    return {IdentityError: "identity_unusable", StorageError: "memory_unusable"}


@click.group(cls=AgentCommands, failures=failures)
@state_option(COMMAND)
@click.version_option(package_name="cigarjack")
@click.pass_context
def main(context: click.Context, state: Path) -> None:
    """The jack: broadcasts the car's code and mints auth codes for its owner's phone.

    Begin with `cigarjack init`, then keep `cigarjack run` running, then pair the phone with the
    label that init printed.
    """
    context.obj = StateFolder(state)


@main.command()
@json_option
@click.pass_obj
def init(folder: StateFolder, as_json: bool) -> None:
    """Make the keys of a new jack and print its pairing label."""
    from cigarjack.identity import initialise

    made = initialise(folder, read_settings(folder, {}))
    text = "Scan this label with the owner's phone while the jack runs: cigarjack run"
    text = f"{made}\n{qr_text(str(made))}\n{text}"
    say({"label": str(made), "jack": made.thumbprint}, text, as_json=as_json)


@main.command()
@json_option
@click.pass_obj
def label(folder: StateFolder, as_json: bool) -> None:
    """Print the pairing label, as text and QR code, as long as its claim secret is unused."""
    from cigarjack.identity import load
    from cigarjack.label import Label
    from cigarjack.memory import Memory

    with Memory(folder.memory) as memory:
        secret = memory.pairing_state().claim_secret
    jack = load(folder, read_settings(folder, {})).jack
    if secret is None:
        step = "Get a new one with: cigarjack pair open"
        raise CommandError("label_used", "the label has been used", step)
    text = str(Label(jack, secret))
    say({"label": text, "jack": jack}, f"{text}\n{qr_text(text)}", as_json=as_json)


@main.command()
@click.option("--radio", help="Adapter, for example bumble:usb:0 or bumble:tcp-client:HOST:PORT.")
@click.option("--host", help="Address to listen on for phones.  [default: every address]")
@click.option("--port", type=int, help="Port for the paired phone.  [default: any free one]")
@click.option("--interface", "interfaces", multiple=True, help="Own address to announce on.")
@click.option("--gatt/--no-gatt", default=None, help="Let phones come over GATT as well.")
@click.option("--tx-power", "tx_power_dbm", type=int, help="RSSI at 0 m that the beacon states.")
@click.pass_obj
def run(folder: StateFolder, /, **flags: Any) -> None:
    """Run the jack in the foreground; stop it with Ctrl-C or SIGTERM.

    Settings come from config.toml in the state folder, then from CIGARJACK_… variables, then
    from these flags. Prints one line of JSON once it is ready; logs go to standard error.
    """
    import asyncio

    from cigarjack import agent
    from twochannel import logs

    settings = read_settings(folder, flags)
    logs.configure(settings.log_level)
    asyncio.run(agent.run(settings, folder, tell_ready))


@main.group()
def pair() -> None:
    """Open the pairing window, or unlock it."""


@pair.command("open")
@json_option
@click.pass_obj
def pair_open(folder: StateFolder, as_json: bool) -> None:
    """Open the pairing window of the running jack for 60 s and print the label to scan."""
    answer = ask(folder, "POST", "/v1/pairing-window")
    text = f"Scan this label with the phone within {answer['open_s']} s."
    text = f"{answer['label']}\n{qr_text(answer['label'])}\n{text}"
    say(answer, text, as_json=as_json)


@pair.command("reset")
@json_option
@click.pass_obj
def pair_reset(folder: StateFolder, as_json: bool) -> None:
    """Unlock pairing after too many wrong claim secrets."""
    from cigarjack import pairing
    from cigarjack.memory import Memory

    with Memory(folder.memory) as memory:
        pairing.reset(memory)
    text = "Pairing is unlocked. Open it with: cigarjack pair open"
    say({"locked": False}, text, as_json=as_json)


@main.command()
@json_option
@click.pass_obj
def status(folder: StateFolder, as_json: bool) -> None:
    """Show what the running jack does: clock, beacon, radio, owner."""
    answer = ask(folder, "GET", "/v1/status")
    say(answer, listed(answer), as_json=as_json)


@main.command()
@doctor_options("its radio, Wi-Fi and mDNS, its clock, voltage and disk", "about 20 s")
@click.option("--radio", help="Adapter to examine instead of the one in the settings.")
@click.pass_obj
def doctor(folder: StateFolder, radio: str | None, quick: bool, as_json: bool) -> None:
    from cigarjack.doctor import examine

    settings = read_settings(folder, {"radio": radio})
    run_doctor(
        COMMAND,
        lambda progress: examine(settings, folder, progress, quick=quick),
        as_json=as_json,
    )


def read_settings(folder: StateFolder, flags: dict[str, Any]) -> JackSettings:
    """The settings from file, environment and flags. Raises SettingsError."""
    from cigarjack.config import JackSettings
    from twochannel.settings import load

    return load(
        JackSettings,
        file=folder.settings,
        environment=os.environ,
        prefix=ENVIRONMENT_PREFIX,
        flags=flags | {"interfaces": flags.get("interfaces") or None},
    )


def ask(folder: StateFolder, method: str, path: str) -> dict[str, Any]:
    """One request to the running jack."""
    from twochannel import control

    return control.ask(folder.path, method, path, agent=COMMAND)
