"""``admin``: who may log in to the dashboard."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

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
from twochannel.console import qr_text, table
from twochannel.trace import wall_ms

if TYPE_CHECKING:
    from server.dashboard.admins import Credentials

_name = click.argument("name", metavar="NAME")
_from_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input, one line."
)


@click.group()
def admin() -> None:
    """Admins: who may log in to the dashboard, with a password and one-time codes.

    The codes come from an app on a phone that reads the QR code once. The dashboard is served where
    `dashboard_port` is set.
    """


@admin.command()
@_name
@_from_stdin
@json_option
@click.pass_context
def add(context: click.Context, name: str, password_stdin: bool, as_json: bool) -> None:
    """Let NAME log in. Asks for a password and prints the QR code, once."""
    from server.dashboard.admins import add_admin

    made = _credentials(context, password_stdin)
    write(context, lambda c: add_admin(c, name, made, wall_ms()))
    _tell(name, made, as_json)


@admin.command()
@_name
@_from_stdin
@json_option
@click.pass_context
def reset(context: click.Context, name: str, password_stdin: bool, as_json: bool) -> None:
    """Give NAME a new password and a new QR code; the old ones, and sessions, end at once."""
    from server.dashboard.admins import reset_admin

    made = _credentials(context, password_stdin)
    write(context, lambda c: reset_admin(c, name, made))
    _tell(name, made, as_json)


@admin.command()
@_name
@click.pass_context
def remove(context: click.Context, name: str) -> None:
    """End NAME's access and sessions, at once. What NAME did stays on record."""
    _present()
    from server.dashboard.admins import remove_admin

    write(context, lambda c: remove_admin(c, name))
    click.echo(f"{name} may not log in any more.")


@admin.command("list")
@json_option
@click.pass_context
def list_all(context: click.Context, as_json: bool) -> None:
    """List who may log in, and when they were last seen."""
    _present()
    from server.dashboard.admins import list_admins

    items = read(context, list_admins)
    if as_json:
        echo_json({"items": items})
        return
    if not items:
        click.echo("Nobody yet. Next: cigarjack-server admin add NAME", err=True)
        return
    rows = [
        [
            item["name"],
            moment(item["created_ms"]),
            moment(item["seen_ms"]) if item["seen_ms"] else "-",
        ]
        for item in items
    ]
    click.echo(table(("name", "since", "last seen"), rows, ""))


def _present() -> None:
    """Raises CommandError where the dashboard's packages are not installed."""
    try:
        import argon2  # noqa: F401
        import pyotp  # noqa: F401
    except ImportError:
        raise CommandError(
            'the dashboard is not installed; run: pip install "cigarjack[dashboard]"'
        ) from None


def _credentials(context: click.Context, from_stdin: bool) -> Credentials:
    _present()
    from server.dashboard.admins import make_credentials

    with plain_errors():
        # Before anybody thinks of a password.
        folder_of(context).identity()
        if from_stdin:
            return make_credentials(sys.stdin.readline().rstrip("\r\n"))
        return make_credentials(
            click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        )


def _tell(name: str, made: Credentials, as_json: bool) -> None:
    from server.dashboard.admins import totp_uri

    uri = totp_uri(name, made.totp_secret)
    if as_json:
        echo_json({"name": name, "totp": uri})
        return
    click.echo(qr_text(uri))
    click.echo(f"Scan it with an app for one-time codes, or type the key: {made.totp_secret}")
    click.echo("It is shown once. Then log in at the dashboard (`dashboard_port`).")
