"""``jacks``, ``refunds``, and ``show`` of merchants and devices."""

from __future__ import annotations

from typing import Any

import click

from server.console import echo_json, json_option, moment, read
from server.party_history import recent_refunds, show_device, show_merchant, show_refund
from server.registry import list_devices
from twochannel.console import TakesDevice, table
from twochannel.protocol.money import format_minor
from twochannel.protocol.payment import RefundStatus
from twochannel.protocol.statements import Role


def show_command(role: Role) -> click.Command:
    """``show`` of a group of devices."""

    @click.command(
        "show", cls=TakesDevice, help=f"Show a {role}: what it is, and what it has taken part in."
    )
    @click.argument("device_id", metavar="ID")
    @json_option
    @click.pass_context
    def show(context: click.Context, device_id: str, as_json: bool) -> None:
        _print(read(context, lambda c: show_device(c, role, device_id)), as_json=as_json)

    return show


@click.command("show")
@click.argument("merchant")
@json_option
@click.pass_context
def show_merchant_command(context: click.Context, merchant: str, as_json: bool) -> None:
    """Show a MERCHANT (name or id) with its terminals and webhooks."""
    _print(read(context, lambda c: show_merchant(c, merchant)), as_json=as_json)


@click.group()
def jacks() -> None:
    """Jacks: the boxes in the cars. They come by being paired; end one with `revoke jack ID`."""


@jacks.command("list")
@json_option
@click.pass_context
def list_jacks(context: click.Context, as_json: bool) -> None:
    """List the jacks that were ever paired."""
    rows = read(context, lambda c: list_devices(c, Role.JACK))
    if as_json:
        echo_json({"items": rows})
        return
    if not rows:
        click.echo("None yet. A jack is registered when a phone pairs with it.", err=True)
        return
    columns = ("id", "phone_id", "epoch", "paired_ms", "revoked_ms")
    click.echo(table(_titles(columns), [[_cell(n, row[n]) for n in columns] for row in rows], ""))


jacks.add_command(show_command(Role.JACK))


@click.group()
def refunds() -> None:
    """Refunds of all payments. `payments refund` asks for one."""


@refunds.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--status", type=click.Choice([status.value for status in RefundStatus]))
@json_option
@click.pass_context
def list_refunds(context: click.Context, limit: int, status: str | None, as_json: bool) -> None:
    """List the newest refunds."""
    rows = read(context, lambda c: recent_refunds(c, limit, status=status))
    if as_json:
        echo_json({"items": rows})
        return
    if not rows:
        click.echo("No refunds.", err=True)
        return
    titles = ("refund", "payment", "status", "amount", "by", "reference", "reason")
    click.echo(table(titles, [_refund(row) for row in rows], ""))


def _refund(row: dict[str, Any]) -> list[str]:
    amount = f"{format_minor(row['amount_minor'], row['currency'])} {row['currency']}"
    names = (row["id"], row["payment_id"], row["status"])
    return [*names, amount, row["requested_by"], row["reference"], row["reason"] or ""]


@refunds.command("show")
@click.argument("refund_id", metavar="ID")
@json_option
@click.pass_context
def show_refund_command(context: click.Context, refund_id: str, as_json: bool) -> None:
    """Show a refund."""
    _print(read(context, lambda c: show_refund(c, refund_id)), as_json=as_json)


def _print(shown: dict[str, Any], *, as_json: bool) -> None:
    """Each member on a line; those of a list each on one of its own."""
    if as_json:
        echo_json(shown)
        return
    for name, value in shown.items():
        title = _titles((name,))[0]
        if isinstance(value, list):
            for item in value:
                cells = (f"{_titles((n,))[0]} {_cell(n, v)}" for n, v in item.items())
                click.echo(f"{title.removesuffix('s')}: {', '.join(cells)}")
        elif isinstance(value, dict):
            click.echo(f"{title}: " + (", ".join(f"{v} {n}" for n, v in value.items()) or "none"))
        else:
            click.echo(f"{title}: {_cell(name, value) or '-'}")


def _titles(columns: tuple[str, ...]) -> list[str]:
    return [name.removesuffix("_id").removesuffix("_ms") for name in columns]


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    return moment(value) if name.endswith("_ms") and isinstance(value, int) else str(value)
