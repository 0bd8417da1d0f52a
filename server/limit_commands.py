"""``limits``: who has failed so often that it counts, and letting them try again."""

from __future__ import annotations

import click

from server.allowances import lift, list_failures
from server.console import CommandError, echo_json, json_option, moment, read, write
from twochannel.console import TakesDevice, table
from twochannel.trace import wall_ms


@click.group()
def limits() -> None:
    """Limits on failures: whose are counted, and letting somebody try again."""


@limits.command("list")
@json_option
@click.pass_context
def list_counted(context: click.Context, as_json: bool) -> None:
    """List the terminals, phones and addresses whose failures count at present."""
    items = read(context, lambda c: list_failures(c, wall_ms()))
    if as_json:
        echo_json({"items": items})
        return
    if not items:
        click.echo("Nobody has failed of late.", err=True)
        return
    rows = [
        [
            str(item["kind"]),
            str(item["count"]),
            moment(int(str(item["last_ms"]))),
            str(item["subject"]),
        ]
        for item in items
    ]
    click.echo(table(("failed", "times", "last", "who"), rows, ""))


@limits.command("lift", cls=TakesDevice)
@click.argument("subject", metavar="WHO")
@json_option
@click.pass_context
def lift_for(context: click.Context, subject: str, as_json: bool) -> None:
    """Forget the failures of WHO, as `limits list` shows it: the server refuses it no more.

    A terminal that was refused asks the server again within 30 seconds.
    """
    forgotten = write(context, lambda c: lift(c, subject))
    if not forgotten:
        raise CommandError(
            f"no failures of {subject} are counted", next_step="See: cigarjack-server limits list"
        )
    if as_json:
        echo_json({"subject": subject, "forgotten": forgotten})
        return
    click.echo(f"{forgotten} failures are forgotten.")
