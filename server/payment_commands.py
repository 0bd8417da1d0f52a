"""``payments``: what the server knows about them."""

from __future__ import annotations

from typing import Any

import click

from server.console import (
    echo_json,
    folder_of,
    json_option,
    moment,
    plain_errors,
    read,
    write,
)
from server.payment_history import recent_payments, show_payment
from twochannel.console import table
from twochannel.protocol.money import format_minor, parse_amount
from twochannel.protocol.statements import Refund
from twochannel.trace import wall_ms


@click.group()
def payments() -> None:
    """Payments: list them, show one with its history, refund or cancel in a terminal's place."""


@payments.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--reference", help="Only those that a merchant calls so.")
@click.option("--active", is_flag=True, help="Only those that are not over.")
@json_option
@click.pass_context
def list_recent(
    context: click.Context, limit: int, reference: str | None, active: bool, as_json: bool
) -> None:
    """List the newest payments."""
    items = read(context, lambda c: recent_payments(c, limit, reference=reference, active=active))
    if as_json:
        echo_json({"items": items})
        return
    if not items:
        click.echo("No payments yet.", err=True)
        return
    titles = ("payment", "status", "amount", "lane", "reason")
    click.echo(table(titles, [_row(item) for item in items], ""))


@payments.command("show")
@click.argument("payment_id", metavar="ID")
@json_option
@click.pass_context
def show(context: click.Context, payment_id: str, as_json: bool) -> None:
    """Show a payment: its state, its history, who signed what, what the processor was asked."""
    found = read(context, lambda c: show_payment(c, payment_id))
    if as_json:
        echo_json(found)
        return
    click.echo("  ".join(cell for cell in _row(found["payment"]) if cell))
    for event in found["history"]:
        at = moment(event["at_ms"])
        click.echo(f"  {at}  {event['from']} -> {event['to']}  ({event['event']})")
    for statement in found["statements"]:
        click.echo(f"  {statement['position']}  {statement['typ']}  signed by {statement['kid']}")
    for refund in found["refunds"]:
        click.echo(f"  {_refund_line(refund)}")
    for order in found["outbox"]:
        click.echo(f"  {order['operation']}  {order['state']}  {order['outcome'] or ''}")


@payments.command("refund")
@click.argument("payment_id", metavar="ID")
@click.argument("amount")
@click.argument("currency")
@click.option(
    "--reference", help="Name of this refund; each serves once.  [default: refund-AMOUNT]"
)
@click.option("--reason", default="", help="For the records.")
@json_option
@click.pass_context
def refund(
    context: click.Context,
    payment_id: str,
    amount: str,
    currency: str,
    reference: str | None,
    reason: str,
    as_json: bool,
) -> None:
    """Give AMOUNT of a captured payment back, where its terminal cannot.

    The server's key signs for it, and the evidence says so. Terminals refund their own payments
    with `payment-device refund`. The running server carries it out; `payments show` tells how it
    went.
    """
    from server.agent import new_id
    from server.operator_orders import order_refund

    with plain_errors():
        value = parse_amount(amount, currency)
        issuer, now_ms = folder_of(context).issuer(new_id), wall_ms()
    name = reference or Refund.usual_reference(value)
    answer = write(
        context, lambda c: order_refund(c, issuer, payment_id, value, name, reason, now_ms)
    )
    if as_json:
        echo_json(answer)
        return
    click.echo(_refund_line(answer))


@payments.command("cancel")
@click.argument("payment_id", metavar="ID")
@click.option("--reason", default="", help="For the records.")
@json_option
@click.pass_context
def cancel(context: click.Context, payment_id: str, reason: str, as_json: bool) -> None:
    """End a pending payment or release a hold, where its terminal cannot.

    The server's key signs for it, and the evidence says so.
    """
    from server.agent import new_id
    from server.operator_orders import order_cancel

    with plain_errors():
        issuer, now_ms = folder_of(context).issuer(new_id), wall_ms()
    answer = write(context, lambda c: order_cancel(c, issuer, payment_id, reason, now_ms))
    if as_json:
        echo_json(answer)
        return
    click.echo("  ".join(cell for cell in _row(answer) if cell))


def _refund_line(refund: dict[str, Any]) -> str:
    amount = refund["amount"]
    shown = f"{format_minor(amount['value'], amount['currency'])} {amount['currency']}"
    reason = str(refund["reason"] or "").replace("_", " ")
    cells = ("refund", refund["id"], refund["status"], shown, refund["reference"], reason)
    return "  ".join(cell for cell in cells if cell)


def _row(payment: dict[str, object]) -> list[str]:
    amount = payment["amount"]
    if not isinstance(amount, dict):
        raise TypeError("an amount has value and currency")
    shown = f"{format_minor(amount['value'], amount['currency'])} {amount['currency']}"
    reason = str(payment["reason"] or "").replace("_", " ")
    return [str(payment["id"]), str(payment["status"]), shown, str(payment["lane"]), reason]
