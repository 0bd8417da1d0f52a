"""The commands about payments: what a person types where a till would ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from twochannel.console import json_option, say

COMMAND: Final = "payment-device"
NOT_PAID: Final = 3
#: One look at a payment is held back by the agent for at most this long.
_WAIT_S: Final = 50


def ask(
    state: Path, method: str, path: str, body: dict[str, object] | None = None
) -> dict[str, Any]:
    """One request to the running terminal."""
    from twochannel import control

    return control.ask(state, method, path, body, agent=COMMAND)


@click.command()
@click.argument("amount")
@click.argument("currency")
@click.option("--reference", required=True, help="The till's own name for this payment.")
@click.option("--description", default="", help="What is paid for, for the owner to read.")
@click.option("--manual", is_flag=True, help="Only hold the amount; take it with `capture`.")
@click.option("--jack", help="Handle of the jack to charge, as `jacks` lists it.")
@click.option("--wait/--no-wait", default=True, help="Wait for the outcome, or only until sent.")
@json_option
@click.pass_obj
def charge(
    state: Path,
    /,
    amount: str,
    currency: str,
    reference: str,
    description: str,
    manual: bool,
    jack: str | None,
    wait: bool,
    as_json: bool,
) -> None:
    """Charge the jack at this lane: AMOUNT as in 4.50, CURRENCY as in EUR.

    The same reference is never charged twice: after a power cut simply charge again. Exit code 0:
    paid (or held, with --manual); 3: declined, expired or refused by the card; 1: not asked.
    """
    body: dict[str, object] = {
        "amount": {"amount": amount, "currency": currency},
        "capture": "manual" if manual else "automatic",
        "reference": reference,
        "description": description,
        "jack": jack,
        "wait_s": _WAIT_S if wait else 0,
        "wait_for": "answer",
    }
    payment = ask(state, "POST", "/v1/payments", body)
    if wait and _is_open(payment) and not as_json:
        click.echo(_waiting(payment))
    while wait and _is_open(payment):
        payment = ask(state, "GET", f"/v1/payments/{payment['id']}?wait_s={_WAIT_S}")
    say(payment, _told(payment), as_json=as_json)
    if not payment["paid"] and (wait or not _is_open(payment)):
        raise SystemExit(NOT_PAID)


@click.command()
@click.argument("payment")
@click.argument("amount")
@click.argument("currency")
@json_option
@click.pass_obj
def capture(state: Path, payment: str, amount: str, currency: str, as_json: bool) -> None:
    """Take AMOUNT of a held PAYMENT, at most what was held; the rest is released."""
    body: dict[str, object] = {"amount": {"amount": amount, "currency": currency}}
    answer = ask(state, "POST", f"/v1/payments/{payment}/captures", body)
    say(answer, _told(answer), as_json=as_json)
    if answer["status"] != "captured":
        raise SystemExit(NOT_PAID)


@click.command()
@click.argument("payment")
@click.option("--reason", default="", help="For the records.")
@json_option
@click.pass_obj
def cancel(state: Path, payment: str, reason: str, as_json: bool) -> None:
    """End a pending PAYMENT, or release a held one."""
    answer = ask(state, "POST", f"/v1/payments/{payment}/cancellation", {"reason": reason})
    say(answer, _told(answer), as_json=as_json)
    if answer["status"] not in ("canceled", "voided") and answer["phase"] != "lapsed":
        raise SystemExit(NOT_PAID)


@click.command()
@click.argument("payment")
@click.argument("amount")
@click.argument("currency")
@click.option("--reference", help="The till's own name for this refund.  [default: refund-AMOUNT]")
@click.option("--reason", default="", help="For the records.")
@json_option
@click.pass_obj
def refund(
    state: Path,
    payment: str,
    amount: str,
    currency: str,
    reference: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Give AMOUNT of a captured PAYMENT back: all of it, or a part, several times.

    The same reference is never given back twice: after a power cut simply ask again. To give the
    same amount of the same payment back once more, name a reference of its own.
    """
    body: dict[str, object] = {
        "amount": {"amount": amount, "currency": currency},
        "reference": reference,
        "reason": reason,
    }
    answer = ask(state, "POST", f"/v1/payments/{payment}/refunds", body)
    given_back = answer["refund"]
    told = {"done": "refunded", "stored": "refund under way"}[given_back["phase"]]
    line = f"{told}  {given_back['amount_text']}  refund {given_back['id']}"
    say(answer, f"{line}\n{_told(answer)}", as_json=as_json)
    if given_back["phase"] != "done":
        raise SystemExit(NOT_PAID)


@click.command("payment")
@click.argument("payment")
@json_option
@click.pass_obj
def show_payment(state: Path, payment: str, as_json: bool) -> None:
    """Show one PAYMENT."""
    answer = ask(state, "GET", f"/v1/payments/{payment}")
    say(answer, _told(answer), as_json=as_json)


@click.command()
@click.argument("payment")
@click.option("--language", help="For example ko.  [default: English]")
@json_option
@click.pass_obj
def receipt(state: Path, payment: str, language: str | None, as_json: bool) -> None:
    """Print the receipt of PAYMENT for people."""
    from payment_device.paper import receipt_text
    from twochannel.pages.words import choose

    told = ask(state, "GET", f"/v1/payments/{payment}")
    merchant = ask(state, "GET", "/v1/status")["merchant"]["name"]
    text = receipt_text(told, merchant, choose(language, ""))
    say({"payment": told, "text": text}, text.rstrip("\n"), as_json=as_json)


@click.command()
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True)
@click.option("--reference", help="Only those that the till calls so.")
@click.option("--active", is_flag=True, help="Only those that are not over.")
@json_option
@click.pass_obj
def payments(state: Path, limit: int, reference: str | None, active: bool, as_json: bool) -> None:
    """List the newest payments of this terminal."""
    from urllib.parse import urlencode

    query = {"limit": str(limit)}
    query |= {"reference": reference} if reference is not None else {}
    query |= {"active": "true"} if active else {}
    answer = ask(state, "GET", f"/v1/payments?{urlencode(query)}")
    lines = [
        f"{item['id']}  {_status(item):10}  {item['amount_text']:>12}  {item['reference']}"
        for item in answer["items"]
    ]
    say(answer, "\n".join(lines) or "No payments yet.", as_json=as_json)


def _is_open(payment: dict[str, Any]) -> bool:
    return payment["phase"] in ("stored", "pending", "processing")


def _waiting(payment: dict[str, Any]) -> str:
    code = payment.get("match_code")
    if code is None:
        return f"Payment {payment['id']}: asking the server …"
    return f"Match code {code}: the owner's phone shows the same. Waiting for the owner …"


def _status(payment: dict[str, Any]) -> str:
    """The server's word once it is proven; before that, how far the payment is from here."""
    return str(payment["status"] if payment["phase"] == "settled" else payment["phase"])


def _told(payment: dict[str, Any]) -> str:
    lines = [f"{_status(payment)}  {payment['amount_text']}  payment {payment['id']}"]
    if payment["phase"] == "settled" and payment.get("reason"):
        lines.append(f"Reason: {payment['reason'].replace('_', ' ')}.")
    if payment["code"]:
        lines.append(f"It came to nothing: {payment['code'].replace('_', ' ')}.")
    if back_minor := payment.get("refunded_minor"):
        lines.append(f"Given back: {_minor(back_minor, payment)}.")
    if match_code := payment.get("match_code"):
        lines.append(f"Match code {match_code}.")
    if total_ms := payment["legs"].get("total"):
        lines.append(f"It took {total_ms:.0f} ms.")
    return "\n".join(lines)


def _minor(value: int, payment: dict[str, Any]) -> str:
    from twochannel.protocol.money import format_minor

    currency = payment["amount"]["currency"]
    return f"{format_minor(value, currency)} {currency}"


PAYMENT_COMMANDS: Final = (charge, capture, cancel, refund, show_payment, payments, receipt)
