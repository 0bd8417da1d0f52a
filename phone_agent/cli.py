"""The command ``phone-agent``. Each command imports only what it needs, when it runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from phone_agent.owner_commands import page, watch
from twochannel.console import (
    AgentCommands,
    CommandError,
    Failures,
    json_option,
    say,
    state_option,
    table,
    tell_ready,
)
from twochannel.control import ControlError, ask
from twochannel.doctor.command import doctor_options, run_doctor
from twochannel.state_folder import make

if TYPE_CHECKING:
    from phone_agent.config import PhoneSettings
    from phone_agent.database import Database
    from phone_agent.wallet import Wallet

_AGENT = "phone-agent"
_PREFIX = "PHONE_AGENT"
_RADIO_HELP = "Bluetooth adapter for where there is no Wi-Fi: bluez, bumble:usb:0, …"


def failures() -> Failures:
    """The phone's own errors whose text says what to do next."""
    from cigarjack.client import JackClientError, LabelError
    from phone_agent.agent import AgentError, NotEnrolledError
    from phone_agent.onboarding import AlreadyEnrolledError
    from phone_agent.pairing import JackNotFoundError
    from server.client import ServerUnreachableError

    return {
        NotEnrolledError: "not_enrolled",
        AgentError: "shut_out",
        AlreadyEnrolledError: "already_enrolled",
        JackClientError: "jack_unreachable",
        JackNotFoundError: "jack_not_found",
        LabelError: "label_unreadable",
        ServerUnreachableError: "server_unreachable",
    }


@click.group(cls=AgentCommands, failures=failures)
@state_option(_AGENT)
@click.version_option(package_name="cigarjack")
@click.pass_context
def main(ctx: click.Context, state: Path) -> None:
    """The owner's phone: pairs with a jack, and approves or declines payments.

    Begin with `enroll`, then `pair`, then `methods add`, then `run`.
    """
    ctx.obj = state


@main.command()
@click.argument("url")
@click.argument("code")
@json_option
@click.pass_obj
def enroll(state: Path, url: str, code: str, as_json: bool) -> None:
    """Enrol this phone at the server at URL with the operator's CODE (CE1:…)."""
    from phone_agent.onboarding import enrol

    make(state)
    with _wallet(state) as (_, wallet):
        result = asyncio.run(enrol(state, wallet, url, code, _settings(state).keys))
    text = f"Enrolled at {result['url']}. Next: phone-agent pair 'CJ1:…'"
    say(result, text, as_json=as_json)


@main.command()
@click.argument("label")
@click.option("--address", metavar="HOST:PORT", help="Where the jack's pairing listener is.")
@click.option("--radio", metavar="NAME", help=_RADIO_HELP)
@json_option
@click.pass_obj
def pair(state: Path, label: str, address: str | None, radio: str | None, as_json: bool) -> None:
    """Pair with the jack whose LABEL (CJ1:…) you have in hand, while its window is open.

    It is looked for on Wi-Fi and, with a radio, over Bluetooth. An agent that runs has the
    adapter: stop it before you pair over Bluetooth.
    """
    from cigarjack.client import parse_label
    from phone_agent import onboarding

    endpoint = _endpoint(address)
    parse_label(label)
    if endpoint is None:
        _tell_progress("Looking for the jack (up to a minute) …")
    with _wallet(state) as (_, wallet):
        settings = _settings(state, radio=radio)
        result = asyncio.run(
            onboarding.pair(state, wallet, label, endpoint, settings, _tell_progress)
        )
    _tell_agent(state)
    text = (
        "Paired. Next: phone-agent methods add --test-card, then phone-agent run"
        if result["registered"]
        else "Paired. The server does not know yet: the running agent will tell it."
    )
    say(result, text, as_json=as_json)


def _tell_progress(text: str) -> None:
    click.echo(text, err=True)


def _endpoint(address: str | None) -> tuple[str, int] | None:
    if address is None:
        return None
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise click.BadParameter("write it as HOST:PORT", param_hint="--address")
    return host.strip("[]"), int(port)


@main.group()
def methods() -> None:
    """Payment methods; the first one is the default."""


@methods.command("add")
@click.option(
    "--test-card",
    "token",
    is_flag=False,
    flag_value="tok_success",
    required=True,
    type=click.Choice(["tok_success", "tok_decline", "tok_hang", "tok_lost_answer"]),
    metavar="[TOKEN]",
    help="A card of the simulated processor: tok_success (default), tok_decline, tok_hang,"
    " tok_lost_answer.",
)
@click.option("--label", default="Test card", show_default=True, help="What you call it.")
@json_option
@click.pass_obj
def add_method(state: Path, token: str, label: str, as_json: bool) -> None:
    """Register a payment method at the server."""
    from phone_agent import onboarding

    with _wallet(state) as (_, wallet):
        keys = _settings(state).keys
        method = asyncio.run(onboarding.add_method(state, wallet, token, label, keys))
    say({"id": method, "label": label}, f"Added {label!r} ({method}).", as_json=as_json)


@methods.command("list")
@json_option
@click.pass_obj
def list_methods(state: Path, as_json: bool) -> None:
    """List the payment methods."""
    with _wallet(state) as (_, wallet):
        default = wallet.default_method()
        items = [
            {
                "id": method.id,
                "label": method.label,
                "registered": method.registered,
                "default": method.id == default,
            }
            for method in wallet.methods()
        ]
    rows = [
        (str(i["label"]), str(i["id"]), "default" if i["default"] else "",
         "" if i["registered"] else "not at the server yet")
        for i in items
    ]  # fmt: skip
    empty = "No payment method yet: phone-agent methods add --test-card"
    say({"items": items}, table(("label", "id", "", ""), rows, empty), as_json=as_json)


@main.group()
def merchants() -> None:
    """Merchants whose payments are approved automatically, each up to your limit."""


@merchants.command("allow")
@click.argument("merchant_id")
@click.option("--limit", required=True, metavar='"20.00 EUR"', help="For one payment.")
@json_option
@click.pass_obj
def allow_merchant(state: Path, merchant_id: str, limit: str, as_json: bool) -> None:
    """Approve payments to MERCHANT_ID up to the limit when your jack hears the lane."""
    from phone_agent.wallet import Limit
    from twochannel.protocol.money import parse_amount

    value, _, currency = limit.strip().partition(" ")
    amount = parse_amount(value, currency.strip().upper())
    with _wallet(state) as (_, wallet):
        wallet.allow(Limit(merchant_id, amount))
    answer = {"merchant": merchant_id, "limit": amount.model_dump()}
    text = f"Payments to {merchant_id} up to {amount} are approved automatically."
    say(answer, text, as_json=as_json)


@merchants.command("list")
@json_option
@click.pass_obj
def list_merchants(state: Path, as_json: bool) -> None:
    """List the allowed merchants and their limits."""
    from phone_agent.ledger import Ledger

    with _wallet(state) as (database, wallet):
        names = Ledger(database).merchant_names()
        limits = wallet.limits()
    items = [
        {"merchant": i.merchant, "name": names.get(i.merchant), "limit": i.amount.model_dump()}
        for i in limits
    ]
    rows = [(i.merchant, names.get(i.merchant, "(not met yet)"), str(i.amount)) for i in limits]
    text = table(("merchant", "name", "limit"), rows, "You are asked about every payment.")
    say({"items": items}, text, as_json=as_json)


@merchants.command("forget")
@click.argument("merchant_id")
@json_option
@click.pass_obj
def forget_merchant(state: Path, merchant_id: str, as_json: bool) -> None:
    """Ask me again about every payment to MERCHANT_ID."""
    with _wallet(state) as (_, wallet):
        wallet.forget(merchant_id)
    text = f"You are asked about every payment to {merchant_id}."
    say({"merchant": merchant_id}, text, as_json=as_json)


@main.command()
@click.option("--interface", "interfaces", multiple=True, metavar="ADDRESS",
              help="Own address to look for jacks on; may be repeated.")  # fmt: skip
@click.option("--radio", metavar="NAME", help=_RADIO_HELP)
@click.option("--prompt-s", type=float, help="How long a question stays open, in seconds.")
@click.option("--log-level", help="DEBUG, INFO, WARNING or ERROR.")
@click.pass_obj
def run(
    state: Path,
    interfaces: tuple[str, ...],
    radio: str | None,
    prompt_s: float | None,
    log_level: str | None,
) -> None:
    """Run in the foreground until stopped: answer challenges, keep the jack's clock right.

    With a terminal, questions appear on it. Without, use `approve` and `decline`.
    """
    from phone_agent.agent import run as run_agent
    from twochannel.logs import configure

    settings = _settings(
        state,
        interfaces=interfaces or None,
        radio=radio,
        prompt_s=prompt_s,
        log_level=log_level,
    )
    configure(settings.log_level)
    asyncio.run(
        run_agent(state, settings, lambda phone: tell_ready({"event": "ready", "phone": phone}))
    )


def _answer_command(name: str, help_text: str) -> click.Command:
    @click.argument("payment_id")
    @json_option
    @click.pass_obj
    def command(state: Path, payment_id: str, as_json: bool) -> None:
        from phone_agent.overview import refusal_of

        payment = ask(state, "POST", f"/v1/payments/{payment_id}/{name}", agent=_AGENT)
        text = f"{name.capitalize()}d. The payment is {payment['status']}."
        if payment["closed"] is None:
            text = "Kept. It is sent as soon as the server can be reached."
        say(payment, text, as_json=as_json)
        if (refusal := refusal_of(payment)) is not None:
            why = f"the server did not take it: {refusal.title}"
            raise CommandError("answer_refused", why, refusal.next_step)

    return click.command(name, help=help_text)(command)


main.add_command(_answer_command("approve", "Approve the payment PAYMENT_ID that asks for you."))
main.add_command(_answer_command("decline", "Decline the payment PAYMENT_ID."))
main.add_command(page)
main.add_command(watch)


@main.command()
@json_option
@click.pass_obj
def payments(state: Path, as_json: bool) -> None:
    """List the payments that this phone was asked for, the newest first."""
    from phone_agent.overview import payment_row

    items = _payments(state)
    titles = ("id", "merchant", "lane", "amount", "status", "answer")
    text = table(titles, [payment_row(item) for item in items], "No payment so far.")
    for item in items:
        if item["question"]:
            text += f"\n\n{item['question']}\nAnswer: phone-agent approve|decline {item['id']}"
    say({"items": items}, text, as_json=as_json)


def _payments(state: Path) -> list[dict[str, Any]]:
    from phone_agent.ledger import Ledger
    from phone_agent.local_api import payment_view

    try:
        items: list[dict[str, Any]] = ask(state, "GET", "/v1/payments", agent=_AGENT)["items"]
    except ControlError:
        with _wallet(state) as (database, _):
            return [payment_view(kept) for kept in Ledger(database).payments()]
    return items


@main.command()
@json_option
@click.pass_obj
def status(state: Path, as_json: bool) -> None:
    """Show the running agent: its server, its jacks, what waits for you."""
    from phone_agent.overview import status_text

    answer = ask(state, "GET", "/v1/status", agent=_AGENT)
    say(answer, status_text(answer), as_json=as_json)


@main.command()
@doctor_options(
    "its Wi-Fi, its jacks, its server, its clock, voltage and disk, and its radio if it has one",
    "about 15 s more",
)
@click.pass_obj
def doctor(state: Path, quick: bool, as_json: bool) -> None:
    from phone_agent.doctor import examine

    settings = _settings(state)
    run_doctor(
        _AGENT,
        lambda progress: examine(settings, state, progress, quick=quick),
        as_json=as_json,
    )


def _settings(state: Path, **flags: object) -> PhoneSettings:
    from phone_agent.config import PhoneSettings
    from twochannel.settings import load

    return load(
        PhoneSettings,
        file=state / "config.toml",
        environment=os.environ,
        prefix=_PREFIX,
        flags=flags,
    )


@contextmanager
def _wallet(state: Path) -> Iterator[tuple[Database, Wallet]]:
    from phone_agent.database import FILE_NAME, Database
    from phone_agent.wallet import Wallet

    make(state)
    with Database.open(state / FILE_NAME) as database:
        yield database, Wallet(database)


def _tell_agent(state: Path) -> None:
    """A running agent takes the wallet's change in now; otherwise at its start."""
    try:
        ask(state, "POST", "/v1/refresh", agent=_AGENT)
    except ControlError:
        return
