"""``reviews``: orders that no program may decide, and what a person makes of them."""

from __future__ import annotations

from typing import Any

import click

from server.console import (
    CommandError,
    echo_json,
    folder_of,
    json_option,
    moment,
    plain_errors,
    read,
    write,
)
from server.kinds import ReviewDecision
from server.reviews import list_reviews, show_review
from twochannel.console import table
from twochannel.protocol.money import format_minor
from twochannel.trace import wall_ms

_MAX_TEXT = 200
_HELP = {
    ReviewDecision.NOT_CARRIED_OUT: "The processor has not done it, and never will.",
    ReviewDecision.LOOK_AGAIN: "Let the server ask the processor once more.",
    ReviewDecision.NOTED: "It is settled: the processor agrees, or it was put right.",
}


@click.group()
def reviews() -> None:
    """Reviews: orders whose outcome a person must find out at the processor.

    An order comes here when the processor's answer contradicts it, or when nobody can find out what
    became of it while it may be repeated. Until it is decided its payment stays `unknown`. One
    that is settled comes here if the processor says otherwise by now; its payment stays as it is.
    """


@reviews.command("list")
@click.option("--decided", is_flag=True, help="Those that were decided, the newest first.")
@json_option
@click.pass_context
def list_waiting(context: click.Context, decided: bool, as_json: bool) -> None:
    """List what waits for a person, the oldest first."""
    items = read(context, lambda c: list_reviews(c, decided=decided))
    if as_json:
        echo_json({"items": items})
        return
    if not items:
        click.echo("Nothing was decided yet." if decided else "Nothing waits.", err=True)
        return
    titles = ("id", "payment", "order", "amount", "since", "why")
    click.echo(table(titles, [_row(item) for item in items], ""))


@reviews.command("show")
@click.argument("review_id", metavar="ID", type=int)
@json_option
@click.pass_context
def show(context: click.Context, review_id: int, as_json: bool) -> None:
    """Show what is known of an order, and what to look for at the processor."""
    found = read(context, lambda c: show_review(c, review_id))
    if as_json:
        echo_json(found)
        return
    _print(found)
    if found["decision"] is None:
        click.echo(_next_step(found), err=True)


@reviews.command("settle")
@click.argument("review_id", metavar="ID", type=int)
@click.option(
    "--carried-out",
    "reference",
    metavar="REFERENCE",
    help="The processor has done all of it, and calls it so.",
)
@click.option("--not-carried-out", is_flag=True, help=_HELP[ReviewDecision.NOT_CARRIED_OUT])
@click.option("--look-again", is_flag=True, help=_HELP[ReviewDecision.LOOK_AGAIN])
@click.option("--noted", is_flag=True, help=_HELP[ReviewDecision.NOTED])
@click.option("--by", required=True, help="Who says so.")
@click.option("--why", required=True, help="What was seen at the processor.")
@json_option
@click.pass_context
def settle(
    context: click.Context,
    /,
    review_id: int,
    reference: str | None,
    by: str,
    why: str,
    as_json: bool,
    **flags: bool,
) -> None:
    """Say what became of an order, having looked at the processor. Choose one of the first four.

    The payment ends accordingly, with a receipt. Who said it and why is kept, and `audit` compares
    it with the outcome.
    """
    from server.agent import new_id
    from server.review_decisions import Verdict, decide

    chosen = [ReviewDecision(name) for name, given in flags.items() if given]
    if reference is not None:
        chosen.append(ReviewDecision.CARRIED_OUT)
    if len(chosen) != 1:
        raise CommandError(
            "Give one of --carried-out REFERENCE, --not-carried-out, --look-again and --noted."
        )
    for text, what in ((by, "--by"), (why, "--why"), (reference or "-", "--carried-out")):
        _check_text(text, what)
    verdict = Verdict(chosen[0], by, why, reference)
    with plain_errors():
        issuer = folder_of(context).issuer(new_id)
    found = write(context, lambda c: decide(c, review_id, verdict, issuer, wall_ms()))
    if as_json:
        echo_json(found)
        return
    _print(found)


def _check_text(text: str, what: str) -> None:
    if not text.strip() or len(text) > _MAX_TEXT or not text.isprintable():
        raise CommandError(f"{what} takes 1 to {_MAX_TEXT} printable characters.")


def _next_step(review: dict[str, Any]) -> str:
    command = f"cigarjack-server reviews settle {review['id']}"
    if not review["undecided"]:
        return (
            f"It is settled. See that the processor agrees or put it right, then: {command} --noted"
        )
    subject = review["charge"] or review["payment"]
    return f"Look for {subject} at the processor, then: {command} --help"


def _print(review: dict[str, Any]) -> None:
    click.echo("  ".join(_row(review)))
    lines = {
        "payment is": review["status"],
        "order is": review["state"],
        "merchant calls it": review["reference"],
        "ordered under": review["idempotency_key"],
        "at": moment(review["ordered_ms"]),
        "of": review["charge"],
        "refund": review["refund"],
        "decided": review["decision"] and f"{review['decision']} by {review['decided_by']}",
        "because": review["why"],
        "processor calls it": review["processor_reference"],
    }
    for name, value in lines.items():
        if value:
            click.echo(f"  {name:<18}  {value}")
    for event in review["processor_events"]:
        click.echo(f"  processor told      {event['kind']}, {moment(event['received_ms'])}")


def _row(review: dict[str, Any]) -> list[str]:
    amount = review["amount"]
    shown = f"{format_minor(amount['value'], amount['currency'])} {amount['currency']}"
    since = moment(review["opened_ms"])
    order = str(review["operation"])
    return [str(review["id"]), review["payment"], order, shown, since, review["cause"]]
