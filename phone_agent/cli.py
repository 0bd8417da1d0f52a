"""The command ``phone-agent``. Each command imports only what it needs, when it runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from phone_agent.console import AGENT, open_wallet, settings_of, tell_agent
from phone_agent.family_commands import family
from phone_agent.method_commands import jacks, methods
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
@state_option(AGENT)
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
    with open_wallet(state) as (_, wallet):
        result = asyncio.run(enrol(state, wallet, url, code, settings_of(state).keys))
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
    with open_wallet(state) as (_, wallet):
        settings = settings_of(state, radio=radio)
        result = asyncio.run(
            onboarding.pair(state, wallet, label, endpoint, settings, _tell_progress)
        )
    tell_agent(state)
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
    with open_wallet(state) as (_, wallet):
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

    with open_wallet(state) as (database, wallet):
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
    with open_wallet(state) as (_, wallet):
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

    settings = settings_of(
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

        payment = ask(state, "POST", f"/v1/payments/{payment_id}/{name}", agent=AGENT)
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
main.add_command(family)
main.add_command(jacks)
main.add_command(methods)
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
        items: list[dict[str, Any]] = ask(state, "GET", "/v1/payments", agent=AGENT)["items"]
    except ControlError:
        with open_wallet(state) as (database, _):
            return [payment_view(kept) for kept in Ledger(database).payments()]
    return items


@main.command()
@json_option
@click.pass_obj
def status(state: Path, as_json: bool) -> None:
    """Show the running agent: its server, its jacks, what waits for you."""
    from phone_agent.overview import status_text

    answer = ask(state, "GET", "/v1/status", agent=AGENT)
    say(answer, status_text(answer), as_json=as_json)


@main.command()
@doctor_options(
    "its Wi-Fi, its jacks, its server, its clock, voltage and disk, and its radio if it has one",
    "about 15 s more",
)
@click.pass_obj
def doctor(state: Path, quick: bool, as_json: bool) -> None:
    from phone_agent.doctor import examine

    settings = settings_of(state)
    run_doctor(
        AGENT,
        lambda progress: examine(settings, state, progress, quick=quick),
        as_json=as_json,
    )
