"""``keys``: the server's signing keys, and their successions (docs/operations.md, Keys)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

import click

from server.console import echo_json, folder_of, json_option, moment, plain_errors
from twochannel.console import table
from twochannel.trace import wall_ms

_HOUR_S: Final = 3600
#: Devices that are on hear of the next key within seconds; those that sleep, when they wake.
_BEGINS_HOURS: Final = 24.0
#: A week: whatever was signed with the old key is answered, delivered or over by then.
_OVERLAP_HOURS: Final = 168.0


@click.group()
def keys() -> None:
    """Signing keys of the server: which one signs, which one comes next."""


@keys.command("list")
@json_option
@click.pass_context
def list_all(context: click.Context, as_json: bool) -> None:
    """List all keys that the server ever had, the newest first."""
    from server.succession import list_keys

    with plain_errors():
        found = list_keys(folder_of(context), wall_ms() // 1000)
    if as_json:
        echo_json({"items": [asdict(each) for each in found]})
        return
    titles = ("key", "name", "state", "signs from", "believed until", "private key")
    rows = [
        [
            each.kid,
            each.name,
            each.state,
            _moment(each.begins_s),
            _moment(each.ends_s),
            "held" if each.held else "destroyed",
        ]
        for each in found
    ]
    click.echo(table(titles, rows, ""))


@keys.command()
@click.option(
    "--begins-hours",
    type=click.FloatRange(0, 24 * 365),
    default=_BEGINS_HOURS,
    show_default=True,
    help="The server signs with the new key so many hours from now.",
)
@click.option(
    "--overlap-hours",
    type=click.FloatRange(0, 24 * 365, min_open=True),
    default=_OVERLAP_HOURS,
    show_default=True,
    help="The old key is believed for so many hours after that.",
)
@json_option
@click.pass_context
def rotate(
    context: click.Context, begins_hours: float, overlap_hours: float, as_json: bool
) -> None:
    """Make the next key and announce it; devices learn of it, and the server switches by itself.

    The server may run. Other servers of the same database need the new files before it begins.
    """
    from server.agent import new_id
    from server.succession import rotate as announce

    now_s = wall_ms() // 1000
    begins_s = now_s + round(begins_hours * _HOUR_S)
    ends_s = begins_s + max(1, round(overlap_hours * _HOUR_S))
    with plain_errors():
        key = announce(folder_of(context), new_id, (now_s, begins_s, ends_s))
    if as_json:
        echo_json({"key": key.key.kid, "begins_s": begins_s, "ends_s": ends_s})
        return
    click.echo(f"Key {key.key.kid} is announced.")
    click.echo(
        f"It signs from {_moment(begins_s)}; the old one is believed until {_moment(ends_s)}."
    )
    click.echo("Next: back the state folder up, for the new key is in no backup yet.")


@keys.command()
@click.option("--early", is_flag=True, help="Also a key that devices still believe.")
@json_option
@click.pass_context
def retire(context: click.Context, early: bool, as_json: bool) -> None:
    """Destroy the private keys that sign no more. What they have signed stays provable."""
    from server.succession import retire as destroy

    with plain_errors():
        done = destroy(folder_of(context), wall_ms() // 1000, early=early)
    if as_json:
        echo_json({"destroyed": done})
        return
    click.echo(f"Destroyed: {', '.join(done)}." if done else "No key is over.")


def _moment(time_s: int | None) -> str:
    return "" if time_s is None else moment(time_s * 1000)
