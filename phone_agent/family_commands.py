"""``family``: other phones that pay with this phone's jack."""

from __future__ import annotations

from pathlib import Path

import click

from phone_agent.console import AGENT
from phone_agent.method_commands import only_jack
from twochannel.console import TakesDevice, json_option, qr_text, say, table
from twochannel.control import ask


@click.group()
def family() -> None:
    """Other phones that pay with your jack, each with its own cards and limits."""


@family.command("invite", cls=TakesDevice)
@click.argument("jack", required=False)
@json_option
@click.pass_obj
def invite(state: Path, jack: str | None, as_json: bool) -> None:
    """Let one other phone pair with JACK, within a minute and with the jack in reach.

    On the other phone, which is enrolled at the same server: phone-agent pair 'CJ1:…'
    """
    chosen = jack or only_jack(state)
    answer = ask(state, "POST", f"/v1/family/{chosen}/invitations", agent=AGENT)
    label, open_s = answer["label"], answer["open_s"]
    there = f"Within {open_s} s, on the other phone: phone-agent pair '{label}'"
    text = f"{qr_text(label)}\n{label}\n\n{there}"
    say(answer, text, as_json=as_json)


@family.command("list")
@json_option
@click.pass_obj
def list_phones(state: Path, as_json: bool) -> None:
    """List the phones of each jack. A member's phone is told of itself alone."""
    answer = ask(state, "GET", "/v1/family", agent=AGENT)
    rows = [
        (str(jack["jack"]), str(phone["phone"]), str(phone["label"]), _role(phone))
        for jack in answer["items"]
        for phone in jack["phones"]
    ]
    empty = "No jack yet: phone-agent pair 'CJ1:…'"
    say(answer, table(("jack", "phone", "name", ""), rows, empty), as_json=as_json)


def _role(phone: dict[str, object]) -> str:
    return "owner" if phone["owner"] else "member"


@family.command("remove", cls=TakesDevice)
@click.argument("phone", metavar="PHONE")
@click.argument("jack", required=False)
@json_option
@click.pass_obj
def remove(state: Path, phone: str, jack: str | None, as_json: bool) -> None:
    """Let PHONE pay with JACK no more, from now on."""
    chosen = jack or only_jack(state)
    answer = ask(state, "POST", f"/v1/family/{chosen}/removals/{phone}", agent=AGENT)
    text = f"{phone} is removed: it is asked for nothing more."
    if not answer["jack_told"]:
        text += " The jack is not in reach; this phone tells it when it is."
    say(answer, text, as_json=as_json)
