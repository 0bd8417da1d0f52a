"""Commands of ``fieldkit air`` for whoever stands beside an air that runs already."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import click

from fieldkit.air_commands import CommandError
from fieldkit.air_control import AirControl

_control = click.option(
    "--control",
    "address",
    default="127.0.0.1:9000",
    show_default=True,
    metavar="HOST:PORT",
    help="The air's control channel; its first line says it.",
)


@click.command()
@click.argument("name")
@_control
def unplug(name: str, address: str) -> None:
    """Take the controller NAME away from its agent, as if somebody pulled it out."""
    _steer(address, lambda air: air.unplug(name))


@click.command()
@click.argument("name")
@_control
def plug(name: str, address: str) -> None:
    """Give the controller NAME back."""
    _steer(address, lambda air: air.plug(name))


def _steer(address: str, do: Callable[[AirControl], Awaitable[None]]) -> None:
    async def steering() -> None:
        async with AirControl(address) as air:
            await do(air)

    try:
        asyncio.run(steering())
    except CommandError as error:
        raise click.ClickException(f"The air refuses: {error}.") from None
    except (OSError, ValueError):
        raise click.ClickException(
            f"No virtual air is controlled at {address}. Start one with fieldkit air, or name the "
            "address that its first line says as control."
        ) from None
