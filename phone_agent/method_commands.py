"""``methods`` and ``jacks``: what the owner pays with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from phone_agent.console import AGENT, open_wallet, settings_of, tell_agent
from twochannel.console import CommandError, TakesDevice, json_option, say, table
from twochannel.control import ask

if TYPE_CHECKING:
    from phone_agent.instructions import Instructions
    from phone_agent.wallet import KeptInstruction


@click.group()
def methods() -> None:
    """Payment methods; the first one is the default."""


@methods.command("add")
@click.option(
    "--test-card",
    is_flag=False,
    flag_value="tok_success",
    type=click.Choice(["tok_success", "tok_decline", "tok_hang", "tok_lost_answer"]),
    metavar="[TOKEN]",
    help="A card of the simulated processor: tok_success (default), tok_decline, tok_hang,"
    " tok_lost_answer.",
)
@click.option("--token", help="What another processor has made of a card, such as pm_….")
@click.option("--label", default="Test card", show_default=True, help="What you call it.")
@json_option
@click.pass_obj
def add_method(
    state: Path, test_card: str | None, token: str | None, label: str, as_json: bool
) -> None:
    """Register a payment method at the server. Never give it a card number."""
    from phone_agent import onboarding

    if (test_card is None) == (token is None):
        raise click.UsageError("Give one of --test-card and --token.")
    chosen = str(test_card or token)
    with open_wallet(state) as (_, wallet):
        keys = settings_of(state).keys
        method = asyncio.run(onboarding.add_method(state, wallet, chosen, label, keys))
    say({"id": method, "label": label}, f"Added {label!r} ({method}).", as_json=as_json)


@methods.command("list")
@json_option
@click.pass_obj
def list_methods(state: Path, as_json: bool) -> None:
    """List the payment methods."""
    with open_wallet(state) as (_, wallet):
        default = wallet.default_method()
        items = [
            {
                "id": method.id,
                "label": method.label,
                "registered": method.registered,
                "default": method.id == default,
                "jacks": [
                    kept.pin.jack
                    for kept in wallet.jacks()
                    if method.id in wallet.couplings(kept.pin.jack)
                ],
            }
            for method in wallet.methods()
        ]
    rows = [(str(i["label"]), str(i["id"]), _standing(i)) for i in items]
    empty = "No payment method yet: phone-agent methods add --test-card"
    say({"items": items}, table(("label", "id", ""), rows, empty), as_json=as_json)


def _standing(method: dict[str, object]) -> str:
    parts = {
        "default": method["default"],
        "coupled": method["jacks"],
        "not at the server yet": not method["registered"],
    }
    return ", ".join(name for name, holds in parts.items() if holds)


@methods.command("default")
@click.argument("method_id", metavar="ID")
@json_option
@click.pass_obj
def choose_method(state: Path, method_id: str, as_json: bool) -> None:
    """Pay with the payment method ID from now on."""
    told = _instruct(state, lambda instructions: instructions.choose(method_id))
    say({"id": method_id, "told": told}, f"{method_id} pays from now on.", as_json=as_json)


@methods.command("remove")
@click.argument("method_id", metavar="ID")
@json_option
@click.pass_obj
def remove_method(state: Path, method_id: str, as_json: bool) -> None:
    """Pay with the payment method ID no more, and have the server charge nothing to it.

    What you approved before is still taken.
    """
    told = _instruct(state, lambda instructions: instructions.remove(method_id))
    say({"id": method_id, "told": told}, f"{method_id} is removed.", as_json=as_json)


@methods.command("couple", cls=TakesDevice)
@click.argument("method_id", metavar="ID")
@click.argument("jack", required=False)
@json_option
@click.pass_obj
def couple_method(state: Path, method_id: str, jack: str | None, as_json: bool) -> None:
    """Pay for JACK with the payment method ID, while the jack is at hand.

    JACK may be left out if there is one. From then on it is paid for with coupled methods only. The
    running agent asks the jack.
    """
    chosen = jack or only_jack(state)
    answer = ask(state, "POST", f"/v1/methods/{method_id}/couplings/{chosen}", agent=AGENT)
    say(answer, f"{chosen} is paid for with {method_id}.", as_json=as_json)


@methods.command("uncouple", cls=TakesDevice)
@click.argument("method_id", metavar="ID")
@click.argument("jack", required=False)
@json_option
@click.pass_obj
def uncouple_method(state: Path, method_id: str, jack: str | None, as_json: bool) -> None:
    """Pay for JACK with the payment method ID in particular no more."""
    chosen = jack or only_jack(state)
    told = _instruct(state, lambda instructions: instructions.uncouple(method_id, chosen))
    text = f"{method_id} is not coupled to {chosen} any more."
    say({"id": method_id, "jack": chosen, "told": told}, text, as_json=as_json)


def only_jack(state: Path) -> str:
    """The jack that need not be named. Raises CommandError if there are others, or none."""
    with open_wallet(state) as (_, wallet):
        jacks = [kept.pin.jack for kept in wallet.jacks()]
    if len(jacks) != 1:
        detail = f"this phone has {len(jacks)} jacks"
        raise CommandError("jack_not_named", detail, "Name one: phone-agent jacks list")
    return jacks[0]


@click.group()
def jacks() -> None:
    """Jacks that this phone answers for."""


@jacks.command("list")
@json_option
@click.pass_obj
def list_jacks(state: Path, as_json: bool) -> None:
    """List the jacks, whether they are near or not."""
    with open_wallet(state) as (_, wallet):
        items = [
            {"jack": kept.pin.jack, "epoch": kept.pin.epoch, "registered": kept.registered}
            for kept in wallet.jacks()
        ]
    rows = [(str(i["jack"]), "" if i["registered"] else "not at the server yet") for i in items]
    empty = "No jack yet: phone-agent pair 'CJ1:…'"
    say({"items": items}, table(("jack", ""), rows, empty), as_json=as_json)


@jacks.command("release", cls=TakesDevice)
@click.argument("jack", metavar="ID")
@json_option
@click.pass_obj
def release_jack(state: Path, jack: str, as_json: bool) -> None:
    """Let the jack ID go, say with a car that is sold: nothing is charged with it until it is
    paired anew."""
    told = _instruct(state, lambda instructions: instructions.release(jack))
    say({"jack": jack, "told": told}, f"{jack} is released.", as_json=as_json)


def _instruct(state: Path, order: Callable[[Instructions], KeptInstruction]) -> bool:
    """Carry an order out here, and tell the server; whether it knows."""
    from phone_agent import onboarding

    with open_wallet(state) as (_, wallet):
        keys = settings_of(state).keys
        told = asyncio.run(onboarding.instruct(state, wallet, order, _tell_progress, keys))
    tell_agent(state)
    return told


def _tell_progress(text: str) -> None:
    click.echo(text, err=True)
