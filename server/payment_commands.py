"""``payments``: what the server knows about them."""

from __future__ import annotations

import click

from server.console import echo_json, json_option, moment, read
from server.payment_history import recent_payments, show_payment
from twochannel.console import table
from twochannel.protocol.money import format_minor


@click.group()
def payments() -> None:
    """Payments: list them, show one with its history."""


@payments.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@json_option
@click.pass_context
def list_recent(context: click.Context, limit: int, as_json: bool) -> None:
    """List the newest payments."""
    items = read(context, lambda c: recent_payments(c, limit))
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
    for order in found["outbox"]:
        click.echo(f"  {order['operation']}  {order['state']}  {order['outcome'] or ''}")


def _row(payment: dict[str, object]) -> list[str]:
    amount = payment["amount"]
    if not isinstance(amount, dict):
        raise TypeError("an amount has value and currency")
    shown = f"{format_minor(amount['value'], amount['currency'])} {amount['currency']}"
    reason = str(payment["reason"] or "").replace("_", " ")
    return [str(payment["id"]), str(payment["status"]), shown, str(payment["lane"]), reason]
