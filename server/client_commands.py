"""``python -m server.client``: a device for curl and other languages (docs/api.md).

A device is a folder: its key, its server as it was pinned, and how curl pins it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import click
from uuid6 import uuid7

from server.client import PATHS, EnrolmentCode, ServerClient, ServerPin, meet
from server.contact import ServerUnreachableError
from twochannel.keystore.file import FileKeyStore, FileSigner, write_private
from twochannel.keystore.port import KeyStoreError
from twochannel.protocol.envelope import (
    Statement,
    read_header,
    sign,
    unverified_claims,
)
from twochannel.protocol.errors import CodedError
from twochannel.protocol.instructions import CouplingChallenge
from twochannel.protocol.statements import (
    Challenge,
    Enrolment,
    PaymentRequest,
    Proof,
    Receipt,
    Role,
    Time,
    Timed,
)
from twochannel.protocol.wire import base64url, parse_object

_KEY: Final = "signing"
_PIN: Final = "server.json"
_CURL: Final = "curl.conf"
#: A statement whose answer did not come: the same code is tried again with the same statement.
_UNANSWERED: Final = "enrolment.jwt"
_ORDERS: Final = {model.TYP: model for model in PATHS}
_SERVERS: Final[dict[str, type[Statement]]] = {
    model.TYP: model for model in (Challenge, Receipt, CouplingChallenge, Time)
}


class Device:
    """The folder of one device."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._keys = FileKeyStore(folder / "keys")

    @property
    def signer(self) -> FileSigner:
        """Raises KeyStoreError."""
        return self._keys.signer(_KEY)

    @property
    def pin(self) -> ServerPin:
        try:
            return ServerPin.from_json((self.folder / _PIN).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise click.ClickException(
                f"there is no device in {self.folder}; run: python -m server.client enroll"
            ) from None

    def client(self, pin: ServerPin | None = None, now_s: int | None = None) -> ServerClient:
        """``now_s``: the server's time, where this machine's clock is wrong."""
        if now_s is None:
            return ServerClient(pin or self.pin, self.signer)
        return ServerClient(pin or self.pin, self.signer, wall_ms=lambda: now_s * 1000)

    async def enrol(self, url: str, code: EnrolmentCode, role: Role) -> dict[str, Any]:
        """Make a key, pin the server, and become known there."""
        if (self.folder / _PIN).exists():
            raise click.ClickException("this device is enrolled already; choose another --device")
        pin = await meet(url, code)
        if not self._keys.holds(_KEY):
            self._keys.create(_KEY)
        async with self.client(pin) as client:
            await client.synchronise()
            statement = self._unanswered(code) or client.draft(
                Enrolment, role=role, key=self.signer.key.jwk, code=code.code
            )
            compact = sign(statement, self.signer)
            write_private(self.folder / _UNANSWERED, compact.encode())
            answer = await client.send(PATHS[Enrolment], compact)
        write_private(self.folder / _CURL, _curl_settings(pin.certificate).encode())
        write_private(self.folder / _PIN, pin.to_json().encode())
        (self.folder / _UNANSWERED).unlink()
        return answer

    def _unanswered(self, code: EnrolmentCode) -> Enrolment | None:
        with suppress(FileNotFoundError):
            compact = (self.folder / _UNANSWERED).read_text(encoding="ascii")
            kept = Enrolment.from_claims(unverified_claims(compact))
            return kept if kept.code == code.code else None
        return None


def _curl_settings(certificate: bytes) -> str:
    """For ``curl --config``: the server's key, whatever name it is reached by."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = x509.load_der_x509_certificate(certificate).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pin = base64.b64encode(hashlib.sha256(spki).digest()).decode()
    why = "# No authority and no name is asked: the key itself is pinned."
    return f'{why}\ninsecure\npinnedpubkey = "sha256//{pin}"\n'


@contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except CodedError as error:
        raise click.ClickException(f"{error} [{error.code}]") from None
    except (ServerUnreachableError, KeyStoreError, OSError) as error:
        raise click.ClickException(str(error)) from None


def _print(text: str) -> None:
    """For ``$(…)`` and files: a line feed is no part of a statement."""
    click.echo(text, nl=sys.stdout.isatty())


def _input(what: str) -> str:
    text = sys.stdin.read().strip()
    if not text:
        raise click.ClickException(f"give {what} on standard input")
    return text


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--device",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="CIGARJACK_DEVICE",
    default=Path(),
    help="Folder of the device; by default CIGARJACK_DEVICE, or this folder.",
)
@click.pass_context
def _main(context: click.Context, device: Path) -> None:
    """A terminal or phone for curl and other languages: enrol it, and sign what it sends."""
    context.obj = Device(device)


@_main.command()
@click.argument("url")
@click.argument("code")
@click.option(
    "--role",
    type=click.Choice([Role.TERMINAL.value, Role.PHONE.value]),
    required=True,
    help="What the operator made the code for.",
)
@click.pass_obj
def enroll(device: Device, url: str, code: str, role: str) -> None:
    """Make a key and become known to the server at URL with the operator's CODE.

    Prints the server's answer. curl takes curl.conf of the folder as --config.
    """
    with _plain_errors():
        answer = asyncio.run(device.enrol(url, EnrolmentCode.parse(code), Role(role)))
    click.echo(json.dumps(answer, indent=1))


@_main.command("sign")
@click.argument("typ", type=click.Choice(sorted(_ORDERS)), metavar="TYP")
@click.option("--now-s", type=int, help="The server's time, where this machine's clock is wrong.")
@click.pass_obj
def sign_statement(device: Device, typ: str, now_s: int | None) -> None:
    """Sign a statement; its claims come as JSON on standard input.

    TYP is one of those of docs/protocol.md, such as payment-request+jwt. iss, aud, jti, iat and exp
    are filled in unless they are given, and sub of a payment request.
    """
    with _plain_errors():
        claims = parse_object(_input("the claims as a JSON object").encode())
        model = _ORDERS[typ]
        if model is PaymentRequest:
            claims = {"jti": claims.get("sub") or str(uuid7())} | claims
            claims = {"sub": claims["jti"]} | claims
        assert issubclass(model, Timed)
        _print(sign(device.client(now_s=now_s).draft(model, **claims), device.signer))


@_main.command()
@click.argument("method")
@click.argument("target")
@click.option("--now-s", type=int, help="The server's time, where this machine's clock is wrong.")
@click.pass_obj
def proof(device: Device, method: str, target: str, now_s: int | None) -> None:
    """Sign a proof for one request: METHOD, and TARGET (path and query)."""
    with _plain_errors():
        statement = device.client(now_s=now_s).draft(Proof, htm=method, htu=target)
        _print(sign(statement, device.signer))


@_main.command()
@click.pass_obj
def read(device: Device) -> None:
    """Verify a statement of the server on standard input, and print its claims."""
    with _plain_errors():
        compact = _input("the statement")
        typ = read_header(compact).typ
        if typ not in _SERVERS:
            raise click.ClickException(f"{typ} is no statement of a server")
        statement = device.pin.keys.verify(compact, _SERVERS[typ])
        click.echo(json.dumps(statement.claims(), indent=1))


@_main.command("digest")
def digest_input() -> None:
    """The hash of standard input, base64url SHA-256: prev of a statement, lane_digest."""
    _print(base64url(hashlib.sha256(sys.stdin.buffer.read()).digest()))


def main() -> None:
    """What ``python -m server.client`` runs."""
    _main(prog_name="python -m server.client")
