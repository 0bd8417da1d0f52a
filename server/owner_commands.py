"""``owners``: what the operator is asked about when one of them calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import click

from server.console import echo_json, json_option, moment, read
from server.owners import list_owners, show_owner
from twochannel.console import TakesDevice, table
from twochannel.protocol.money import format_minor

#: Columns of a terminal; only what is longer by itself goes beyond.
_WIDTH: Final = 80
_TITLES: Final = ("id", "state", "jacks", "members", "methods")


@click.group()
def owners() -> None:
    """Owners: the phones that have or had a jack, or were invited to one."""


@owners.command("list")
@json_option
@click.pass_context
def list_all_owners(context: click.Context, as_json: bool) -> None:
    """List the owners, each with how many jacks, members and methods are in force."""
    rows = read(context, list_owners)
    if as_json:
        echo_json({"items": rows})
        return
    if not rows:
        click.echo(
            "None yet. A phone is an owner once it has paired with a jack, or has joined one"
            " to which it was invited.",
            err=True,
        )
        return
    cells = [[str(row[name]) for name in _TITLES] for row in rows]
    head, *lines = table(_TITLES, cells, "").splitlines()
    click.echo(f"  {head}")
    for row, line in zip(rows, lines, strict=True):
        click.echo(f"{row['label']}\n  {line}")


@owners.command("show", cls=TakesDevice)
@click.argument("phone_id", metavar="ID")
@json_option
@click.pass_context
def show(context: click.Context, phone_id: str, as_json: bool) -> None:
    """Show an owner by the phone's ID: jacks, members, payment methods, payments.

    The phone was last heard when it signed something that is kept: not when it only listened.
    """
    shown = read(context, lambda c: show_owner(c, phone_id))
    if as_json:
        echo_json(shown)
        return
    for line in _lines(shown):
        click.echo(line)


def _lines(owner: dict[str, Any]) -> Iterator[str]:
    yield f"owner: {owner['label']}"
    yield f"id: {owner['id']}"
    yield _line("state", [owner["state"], _when("since", owner["revoked_ms"])])
    yield f"enrolled: {moment(owner['enrolled_ms'])}"
    yield f"last heard: {moment(owner['heard_ms'])}"
    for jack in owner["jacks"]:
        yield _line("jack", _jack(jack))
        yield from (_line("  member", _member(member)) for member in jack["members"])
    yield from (_line("member of", _membership(one)) for one in owner["memberships"])
    yield from (_line("method", _method(method)) for method in owner["methods"])
    counts = [f"{count} {status}" for status, count in owner["payments"].items()]
    yield _line("payments", counts or ["none"])
    shown = {payment["id"] for payment in owner["open_payments"]}
    yield from (_line("open payment", _payment(one)) for one in owner["open_payments"])
    over = (one for one in owner["recent_payments"] if one["id"] not in shown)
    yield from (_line("last payment", _payment(one)) for one in over)


def _jack(jack: dict[str, Any]) -> list[str]:
    state = _words(jack["state"])
    times = [_when("since", jack["paired_ms"]), _when("until", jack["ended_ms"])]
    return [jack["jack"], state, f"epoch {jack['epoch']}", *times]


def _member(member: dict[str, Any]) -> list[str]:
    return [member["label"], member["phone"], _when("since", member["joined_ms"])]


def _membership(one: dict[str, Any]) -> list[str]:
    owner, state = one["owner"], _words(one["state"])
    times = [_when("since", one["joined_ms"]), _when("until", one["ended_ms"])]
    return [owner["label"], owner["phone"], f"jack {one['jack']}", state, *times]


def _method(method: dict[str, Any]) -> list[str]:
    default = "default" if method["default"] else ""
    coupled = [f"coupled to jack {jack}" for jack in method["jacks"]] or ["not coupled"]
    return [method["label"], default, *coupled]


def _payment(payment: dict[str, Any]) -> list[str]:
    amount = payment["amount"]
    shown = f"{format_minor(amount['value'], amount['currency'])} {amount['currency']}"
    reason = _words(payment["reason"] or "")
    place = [payment["merchant"]["name"], payment["lane"], moment(payment["created_ms"])]
    return [payment["id"], payment["status"], reason, shown, *place]


def _words(code: str) -> str:
    return code.replace("_", " ")


def _when(word: str, at_ms: int | None) -> str:
    return "" if at_ms is None else f"{word} {moment(at_ms)}"


def _line(title: str, cells: list[str]) -> str:
    """The cells that say something, folded between them so that ids stay whole."""
    first, *rest = filter(None, cells)
    lines = [f"{title}: {first}"]
    for cell in rest:
        if len(lines[-1]) + len(f", {cell},") > _WIDTH:
            lines[-1] += ","
            lines.append(f"    {cell}")
        else:
            lines[-1] += f", {cell}"
    return "\n".join(lines)
