"""``fieldkit jack``: a jack on the desk, for whoever tries the server's API out (docs/api.md).

It has a jack's keys and makes its statements, without radio, clock or caution: it answers whatever
challenge it is given. Its folder holds the keys, the server's beacon key, and the counter.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Final

import click
from uuid6 import uuid7

from fieldkit.bench.virtual_jack import VirtualJack
from server.client import ServerPin
from twochannel.console import TakesDevice
from twochannel.keystore.file import FileKeyStore, write_private
from twochannel.keystore.port import KeyStoreError, KeyUse
from twochannel.keystore.stores import ensure
from twochannel.protocol import beacon
from twochannel.protocol.envelope import unverified_claims
from twochannel.protocol.errors import CodedError
from twochannel.protocol.keys import VerifyingKey
from twochannel.protocol.statements import Challenge, Identity

_SIGNING: Final = "signing"
_BEACON: Final = "beacon"
_PIN: Final = "server.json"
_COUNTER: Final = "counter"


class DeskJack:
    """The folder of one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys = FileKeyStore(folder / "keys")

    def pair(self, pin: ServerPin, phone: str) -> str:
        """Belong to ``phone`` from now on: the pairing statement, compact."""
        ensure(self._keys, _SIGNING, KeyUse.SIGNING)
        ensure(self._keys, _BEACON, KeyUse.AGREEMENT)
        write_private(self._folder / _PIN, pin.to_json().encode())
        return self._jack().pairing(pin.server, phone, (str(uuid7()), str(uuid7())))

    def code(self) -> str:
        """What it would broadcast now, in hex."""
        identity = Identity.from_claims(unverified_claims(self._pin().keys.newest.identity))
        key = self._jack().identity_key(VerifyingKey.from_jwk(identity.beacon_key))
        return beacon.code_at(key, int(time.time()), self._pin().rotation_exponent).hex()

    def answer(self, compact: str, lane_nonce: str) -> str:
        """The auth code for a challenge, compact. Raises StatementError."""
        jack = self._jack()
        challenge = self._pin().keys.verify(compact, Challenge, audience=jack.id)
        answer = jack.auth_code(challenge, compact, lane_nonce, str(uuid7()))
        write_private(self._folder / _COUNTER, str(jack.counter).encode())
        return answer

    def _jack(self) -> VirtualJack:
        try:
            counter = int((self._folder / _COUNTER).read_text())
        except FileNotFoundError:
            counter = 0
        return VirtualJack(self._keys.signer(_SIGNING), self._keys.agreement(_BEACON), counter)

    def _pin(self) -> ServerPin:
        return ServerPin.from_json((self._folder / _PIN).read_text(encoding="utf-8"))


@click.group()
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("jack"),
    show_default=True,
    help="Where its keys are.",
)
@click.pass_context
def jack(context: click.Context, folder: Path) -> None:
    """A jack without radio, for trying the server's API out. It belongs into no car."""
    context.obj = DeskJack(folder)


@jack.command(cls=TakesDevice)
@click.argument("phone")
@click.option(
    "--server",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="server.json of a device that is enrolled there.",
)
@click.pass_obj
def pair(desk: DeskJack, phone: str, server: Path) -> None:
    """Pair with PHONE (its id). Prints the jack's id and its pairing statement, as JSON."""
    compact = desk.pair(ServerPin.from_json(server.read_text(encoding="utf-8")), phone)
    click.echo(json.dumps({"jack": unverified_claims(compact)["iss"], "pairing": compact}))


@jack.command()
@click.pass_obj
def code(desk: DeskJack) -> None:
    """Print the code that it would broadcast now."""
    try:
        click.echo(desk.code())
    except (KeyStoreError, OSError) as error:
        raise click.ClickException(f"{error}; run first: fieldkit jack pair") from None


@jack.command()
@click.argument("lane_nonce")
@click.pass_obj
def answer(desk: DeskJack, lane_nonce: str) -> None:
    """Print the auth code for the challenge on standard input.

    LANE_NONCE is what it is to have heard of the lane, base64url. Put -- before one that begins
    with a hyphen.
    """
    try:
        compact = desk.answer(sys.stdin.read().strip(), lane_nonce)
    except (CodedError, KeyStoreError, OSError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(compact, nl=sys.stdout.isatty())
