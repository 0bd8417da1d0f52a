"""``webhook``: where merchants are told, and what became of it."""

from __future__ import annotations

import click

from server.console import echo_json, folder_of, json_option, moment, plain_errors, read, write
from server.kinds import DeliveryState, EndpointState
from server.webhook_deliveries import list_deliveries, send_again, tries_of
from server.webhook_endpoints import (
    add_endpoint,
    check_endpoint_url,
    enable_endpoint,
    end_endpoint,
    list_endpoints,
    rotate_secret,
)
from twochannel.console import table
from twochannel.trace import wall_ms

_HOUR_MS = 3_600_000


def _new_secret() -> str:
    """192 random bits, as Standard Webhooks writes them."""
    import secrets
    from base64 import b64encode

    return "whsec_" + b64encode(secrets.token_bytes(24)).decode("ascii")


@click.group()
def webhook() -> None:
    """Webhooks: signed messages to merchants when something happens to a payment.

    They are signed as in Standard Webhooks, tried for three days, and may come twice: the header
    webhook-id is the same then.
    """


@webhook.command("add")
@click.argument("merchant")
@click.argument("url")
@json_option
@click.pass_context
def add(context: click.Context, merchant: str, url: str, as_json: bool) -> None:
    """Tell MERCHANT (name or id) at URL. Prints the secret of its signatures, once."""
    from server.agent import new_id

    secret, endpoint, now_ms = _new_secret(), new_id(), wall_ms()
    with plain_errors():
        check_endpoint_url(url, loopback=folder_of(context).settings().webhook_loopback)
    added = write(context, lambda c: add_endpoint(c, endpoint, merchant, url, secret, now_ms))
    _print_secret(added, secret, f"Endpoint {endpoint} of {added['merchant_id']}.", as_json)


def _print_secret(endpoint: dict[str, object], secret: str, told: str, as_json: bool) -> None:
    if as_json:
        echo_json(endpoint | {"secret": secret})
        return
    click.echo(f"{told}\nSecret, shown only now: {secret}")


@webhook.command("list")
@json_option
@click.pass_context
def list_all(context: click.Context, as_json: bool) -> None:
    """List the endpoints."""
    rows = read(context, list_endpoints)
    if as_json:
        echo_json({"items": rows})
        return
    if not rows:
        click.echo("None yet. Next: cigarjack-server webhook add --help", err=True)
        return
    columns = ("id", "merchant_id", "state", "url")
    click.echo(table(columns, [[str(row[name]) for name in columns] for row in rows], ""))


@webhook.command("remove")
@click.argument("endpoint", metavar="ID")
@json_option
@click.pass_context
def remove(context: click.Context, endpoint: str, as_json: bool) -> None:
    """Tell an endpoint nothing any more, and drop what is queued for it. Its log stays."""
    dropped = write(context, lambda c: end_endpoint(c, endpoint, EndpointState.REMOVED))
    if as_json:
        echo_json({"id": endpoint, "dropped": dropped})
        return
    click.echo(f"The endpoint is removed; {dropped} deliveries are dropped.")


@webhook.command("enable")
@click.argument("endpoint", metavar="ID")
@json_option
@click.pass_context
def enable(context: click.Context, endpoint: str, as_json: bool) -> None:
    """Tell an endpoint again that was disabled because it answered 410 (gone)."""
    write(context, lambda c: enable_endpoint(c, endpoint))
    if as_json:
        echo_json({"id": endpoint, "state": EndpointState.ENABLED.value})
        return
    click.echo(
        "The endpoint is enabled. Send again what it has missed: webhook deliveries, resend."
    )


@webhook.command("rotate")
@click.argument("endpoint", metavar="ID")
@click.option(
    "--overlap-hours",
    type=click.FloatRange(0, 24 * 30),
    default=24.0,
    show_default=True,
    help="For how long the secret of before signs too.",
)
@json_option
@click.pass_context
def rotate(context: click.Context, endpoint: str, overlap_hours: float, as_json: bool) -> None:
    """Replace the secret. Prints the new one, once. Until the overlap ends both sign."""
    secret, until_ms = _new_secret(), wall_ms() + round(overlap_hours * _HOUR_MS)
    row = write(context, lambda c: rotate_secret(c, endpoint, secret, until_ms))
    told = f"Endpoint {endpoint}: the secret of before signs too until {moment(until_ms)}."
    _print_secret(row, secret, told, as_json)


@webhook.command("deliveries")
@click.option("--endpoint", metavar="ID", help="Only to this one.")
@click.option("--state", type=click.Choice([state.value for state in DeliveryState]))
@click.option("--tries", type=int, metavar="DELIVERY", help="All tries of this one instead.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@json_option
@click.pass_context
def deliveries(
    context: click.Context,
    endpoint: str | None,
    state: str | None,
    tries: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the newest deliveries, and how their last tries went."""
    if tries is not None:
        rows = read(context, lambda c: tries_of(c, tries))
        columns: tuple[str, ...] = ("number", "at_ms", "took_ms", "status", "error")
    else:
        rows = read(context, lambda c: list_deliveries(c, limit, endpoint=endpoint, state=state))
        columns = ("delivery", "event", "kind", "state", "attempts", "status", "error")
    if as_json:
        echo_json({"items": rows})
        return
    if not rows:
        click.echo("None.", err=True)
        return
    click.echo(table(columns, [[_shown(name, row[name]) for name in columns] for row in rows], ""))


def _shown(name: str, value: object) -> str:
    if value is None:
        return ""
    return moment(value) if name == "at_ms" and isinstance(value, int) else str(value)


@webhook.command("resend")
@click.argument("delivery", type=int)
@json_option
@click.pass_context
def resend(context: click.Context, delivery: int, as_json: bool) -> None:
    """Send a DELIVERY again, whatever became of it. The message is the same, with the same id."""
    now_ms = wall_ms()
    write(context, lambda c: send_again(c, delivery, now_ms))
    if as_json:
        echo_json({"delivery": delivery, "state": DeliveryState.QUEUED.value})
        return
    click.echo("It is queued; the running server sends it.")
