"""``cigarjack-server``: set a server up, run it, and look after it."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from server.console import echo_json, folder_of, json_option, plain_errors, write
from twochannel.console import TakesDevice, state_option

if TYPE_CHECKING:
    from server.config import ServerSettings

_COMMAND: Final = "cigarjack-server"

#: Commands in modules of their own, loaded when they are used.
_ELSEWHERE: Final = {
    "admin": "server.admin_commands:admin",
    "audit": "server.audit_command:audit",
    "backup": "server.backup_commands:backup",
    "db": "server.database_commands:db",
    "evidence": "server.evidence_commands:evidence",
    "jacks": "server.party_commands:jacks",
    "keys": "server.key_commands:keys",
    "limits": "server.limit_commands:limits",
    "merchants": "server.registry_commands:merchants",
    "owners": "server.owner_commands:owners",
    "payments": "server.payment_commands:payments",
    "phones": "server.registry_commands:phones",
    "ready": "server.ready_command:ready",
    "refunds": "server.party_commands:refunds",
    "restore": "server.backup_commands:restore",
    "reviews": "server.review_commands:reviews",
    "terminals": "server.registry_commands:terminals",
    "webhook": "server.webhook_commands:webhook",
}


class LazyGroup(click.Group):
    """Loads a command's module when the command is used, so that others start at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, _, name = _ELSEWHERE[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@state_option(_COMMAND)
@click.version_option(package_name="cigarjack", prog_name=_COMMAND)
@click.pass_context
def main(context: click.Context, state: Path) -> None:
    """The server of two-channel payment: knows which phone belongs to which jack.

    First `init`, then `merchants add`, `terminals add` and `phones add`, and `run`.
    """
    context.obj = state


@main.command()
@click.option("--name", help="Name in the server's certificate.")
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0: any.  [default: 8443]")
@click.option("--processor", type=click.Choice(["simulated", "stripe"]), help="Card processor.")
@click.option(
    "--stripe-key-file",
    type=click.Path(dir_okay=False, resolve_path=True, path_type=Path),
    help="File with the secret key of Stripe and nothing else.",
)
@click.option("--database", help="Its URL.  [default: an SQLite file in the state folder]")
@click.option(
    "--rotation-exponent",
    type=click.IntRange(0, 15),
    help="Jacks have a new code every 2^N seconds, for good.  [default: 8]",
)
@json_option
@click.pass_context
def init(context: click.Context, /, as_json: bool, **flags: object) -> None:
    """Make keys, certificate, database and settings for a new server."""
    import secrets

    from server.agent import new_id
    from server.state import initialise

    folder = folder_of(context)
    with plain_errors():
        settings = folder.settings(flags)
        server = initialise(folder, settings, new_id, secrets.randbits(127) | 1)
    _tell_what_is_missing(settings)
    if as_json:
        echo_json({"server": server, "state": str(folder.path)})
        return
    click.echo(f"Server {server} is set up in {folder.path}.")
    click.echo(f'Next: {_COMMAND} merchants add "Your Shop", then: {_COMMAND} run')


def _tell_what_is_missing(settings: ServerSettings) -> None:
    """On standard error: it does not hinder `init`."""
    from server.processors.choice import check_ready
    from twochannel.settings import SettingsError

    try:
        check_ready(settings)
    except SettingsError as error:
        click.echo(f"Before {_COMMAND} run: {error}.", err=True)


@main.command()
@click.option("--host", help="Address to listen on, instead of the one in the settings.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0: any.")
@click.pass_context
def run(context: click.Context, /, **flags: object) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Logs JSON lines to standard error. Prints one line to standard output once it is ready:
    {"event": "ready", "url": ..., "server": ...}
    """
    import uvloop

    from server.agent import run_until_signal
    from server.traffic import RequestIds
    from twochannel import logs

    folder = folder_of(context)
    with plain_errors():
        settings = folder.settings(flags)
        folder.identity()
        plain = settings.log_format == "plain"
        logs.configure(settings.log_level, plain=plain, filters=[RequestIds()])
        uvloop.run(run_until_signal(folder, settings, _print_ready))


def _print_ready(line: dict[str, object]) -> None:
    print(json.dumps(line), flush=True)


@main.command()
@click.pass_context
def migrate(context: click.Context) -> None:
    """Bring the database up to this version; no server of it may run."""
    folder = folder_of(context)
    with plain_errors():
        folder.identity()
        with folder.locked():
            folder.migrate()
    click.echo("The database is up to date.")


@main.command(cls=TakesDevice)
@click.argument("role", type=click.Choice(["jack", "phone", "terminal"]))
@click.argument("device_id", metavar="ID")
@json_option
@click.pass_context
def revoke(context: click.Context, role: str, device_id: str, as_json: bool) -> None:
    """End a lost, sold or stolen device for good. Takes effect at once."""
    from server.registry import revoke as revoke_device
    from twochannel.protocol.statements import Role
    from twochannel.trace import wall_ms

    # The time is read under the write lock: it is later than that of every commit before.
    newly = write(context, lambda c: revoke_device(c, Role(role), device_id, wall_ms()))
    if as_json:
        echo_json({"role": role, "id": device_id, "newly": newly})
        return
    click.echo(f"The {role} is revoked." if newly else f"The {role} was revoked before.")


def registered_commands() -> dict[str, Any]:
    """Every command by name, loaded: for tests and documentation."""
    context = click.Context(main)
    return {name: main.get_command(context, name) for name in main.list_commands(context)}
