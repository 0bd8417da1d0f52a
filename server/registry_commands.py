"""``merchants``, ``terminals``, ``phones``: who may take part."""

from __future__ import annotations

import re
import secrets
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
from server.party_commands import show_command, show_merchant_command
from server.registry import add_enrolment_code, add_merchant, list_devices, list_merchants
from twochannel.console import table
from twochannel.protocol.statements import Presence, Role
from twochannel.protocol.wire import base64url
from twochannel.trace import wall_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

_MERCHANT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_LABEL_LENGTH = 64


def _check_label(label: str, what: str) -> str:
    """People are shown these: no empty, overlong or invisible text."""
    if not label.strip() or len(label) > _LABEL_LENGTH or not label.isprintable():
        raise CommandError(f"{what} has 1 to {_LABEL_LENGTH} printable characters.")
    return label


def _slug(name: str) -> str:
    words = re.findall(r"[a-z0-9]+", name.lower())
    return "-".join(words)[:64].strip("-")


@click.group()
def merchants() -> None:
    """Merchants: whose names people are shown."""


@merchants.command("add")
@click.argument("name")
@click.option("--id", "merchant_id", help="Id; by default made from the name.")
@click.option(
    "--presence",
    type=click.Choice([policy.value for policy in Presence]),
    default=Presence.PREFER.value,
    show_default=True,
    help="Whether the jack must have heard the lane for a payment to be confirmed.",
)
@json_option
@click.pass_context
def add(
    context: click.Context, name: str, merchant_id: str | None, presence: str, as_json: bool
) -> None:
    """Register a merchant."""
    _check_label(name, "A merchant's name")
    chosen = merchant_id or _slug(name)
    if not _MERCHANT_ID.fullmatch(chosen):
        raise CommandError("An id has letters, digits and _.:- only; give one with --id.")
    at_ms = wall_ms()
    write(context, lambda c: add_merchant(c, chosen, name, Presence(presence), at_ms))
    if as_json:
        echo_json({"id": chosen, "name": name, "presence": presence})
        return
    click.echo(f"Merchant {chosen} ({name}) is registered.")
    click.echo(f'Next: cigarjack-server terminals add "Lane 1" --merchant {chosen}')


@merchants.command("list")
@json_option
@click.pass_context
def list_all_merchants(context: click.Context, as_json: bool) -> None:
    """List the merchants."""
    rows = read(context, list_merchants)
    _print(rows, ("id", "presence", "name"), "merchants add", as_json=as_json)


merchants.add_command(show_merchant_command)


@click.group()
def terminals() -> None:
    """Terminals: payment devices at lanes, pumps and gates."""


@terminals.command("add")
@click.argument("label")
@click.option("--merchant", required=True, help="Name or id of the merchant it takes money for.")
@json_option
@click.pass_context
def add_terminal(context: click.Context, label: str, merchant: str, as_json: bool) -> None:
    """Allow one terminal to enrol; LABEL is the name of its lane. Prints the code, once."""
    _add_device(context, Role.TERMINAL, label, merchant, as_json=as_json)


@terminals.command("list")
@json_option
@click.pass_context
def list_terminals(context: click.Context, as_json: bool) -> None:
    """List the enrolled terminals."""
    rows = read(context, lambda c: list_devices(c, Role.TERMINAL))
    columns = ("id", "merchant_id", "lane", "revoked_ms")
    _print(rows, columns, "terminals add", as_json=as_json)


terminals.add_command(show_command(Role.TERMINAL))


@click.group()
def phones() -> None:
    """Phones: the owners' devices. `owners` tells what each has."""


@phones.command("add")
@click.argument("label")
@json_option
@click.pass_context
def add_phone(context: click.Context, label: str, as_json: bool) -> None:
    """Allow one phone to enrol under LABEL. Prints the code, once."""
    _add_device(context, Role.PHONE, label, None, as_json=as_json)


@phones.command("list")
@json_option
@click.pass_context
def list_phones(context: click.Context, as_json: bool) -> None:
    """List the enrolled phones."""
    rows = read(context, lambda c: list_devices(c, Role.PHONE))
    _print(rows, ("id", "label", "revoked_ms"), "phones add", as_json=as_json)


phones.add_command(show_command(Role.PHONE))


def _add_device(
    context: click.Context, role: Role, label: str, merchant: str | None, *, as_json: bool
) -> None:
    _check_label(label, "A label")
    with plain_errors():
        server = folder_of(context).issuer(lambda: "").signer.key.kid
        settings = folder_of(context).settings()
    code, at_ms = base64url(secrets.token_bytes(16)), wall_ms()
    expires_ms = write(context, lambda c: add_enrolment_code(c, code, role, label, merchant, at_ms))
    enrolment_code = f"CE1:{server}:{code}"
    if as_json:
        echo_json(
            {
                "enrolment_code": enrolment_code,
                "expires_ms": expires_ms,
                "role": role.value,
                "label": label,
            }
        )
        return
    click.echo(enrolment_code)
    agent = "payment-device" if role is Role.TERMINAL else "phone-agent"
    url = f"https://{_reached_as(settings.host)}:{settings.port or 'PORT'}"
    command = f"{agent} enroll {url} '{enrolment_code}'"
    click.echo(f"Within 15 minutes, at the device: {command}", err=True)


def _reached_as(host: str) -> str:
    """The host part of a URL for an address that is listened on."""
    if host in ("0.0.0.0", "::"):  # noqa: S104  (every address: which one, the operator knows)
        return "HOST"
    return f"[{host}]" if ":" in host else host


def _print(
    rows: Sequence[dict[str, object]], columns: Sequence[str], how: str, *, as_json: bool
) -> None:
    if as_json:
        echo_json({"items": list(rows)})
        return
    if not rows:
        click.echo(f"None yet. Next: cigarjack-server {how} --help", err=True)
        return
    titles = [name.removesuffix("_id").removesuffix("_ms") for name in columns]
    click.echo(table(titles, [[_shown(name, row[name]) for name in columns] for row in rows], ""))


def _shown(name: str, value: object) -> str:
    if value is None:
        return ""
    return moment(value) if name.endswith("_ms") and isinstance(value, int) else str(value)
