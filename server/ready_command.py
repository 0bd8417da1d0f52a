"""``ready``: ask the running server, as a container's or a service's check of health does."""

from __future__ import annotations

import click

from server.console import CommandError, echo_json, folder_of, json_option, plain_errors

#: The server itself gives its database 2 s.
_TIMEOUT_S = 4.0


@click.command()
@json_option
@click.pass_context
def ready(context: click.Context, as_json: bool) -> None:
    """Ask the server that runs here whether it can be sent requests. Exit code 0: yes; 1: no.

    Asked is the port of the settings, with the certificate of the state folder.
    """
    import httpx

    from twochannel.tls import client_context

    with plain_errors():
        folder = folder_of(context)
        folder.identity()
        settings = folder.settings()
        pinned = client_context(folder.certificate()) if settings.tls else True
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104
    url = f"{'https' if settings.tls else 'http'}://{host}:{settings.port}/readyz"
    try:
        answer = httpx.get(url, verify=pinned, timeout=_TIMEOUT_S, trust_env=False)
    except httpx.HTTPError as error:
        detail = f"no server answers at {url} ({type(error).__name__})."
        raise CommandError(detail, next_step="Start it with: cigarjack-server run") from None
    if answer.status_code != httpx.codes.OK:
        raise CommandError(f"The server is not ready: {answer.json().get('detail', '')}.")
    if as_json:
        echo_json({"ok": True})
        return
    click.echo("The server is ready.")
