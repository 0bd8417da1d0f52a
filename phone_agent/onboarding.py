"""Setting the phone up: enrolling it, pairing it with a jack, adding a payment method."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cigarjack.client import PairedJack, parse_label
from phone_agent.agent import new_id, pinned_server
from phone_agent.config import PhoneSettings
from phone_agent.identity import PhoneIdentity, create, load
from phone_agent.instructions import Instructions
from phone_agent.jack_finder import Endpoint, JackFinder
from phone_agent.jack_radio import listening, unnoted
from phone_agent.pairing import Announced, Inviting, JackNotFoundError, Pairing, Source, search
from phone_agent.registration import Registration
from phone_agent.wallet import KeptInstruction, Wallet
from server.client import EnrolmentCode, ServerClient, ServerUnreachableError, meet
from twochannel.keystore.port import FILE
from twochannel.trace import wall_ms

#: Told what is going on, one line at a time.
Progress = Callable[[str], None]


class AlreadyEnrolledError(Exception):
    """The phone has a server. The text says what to do next."""


async def enrol(
    state: Path, wallet: Wallet, url: str, code: str, keys: str = FILE
) -> dict[str, Any]:
    """Enrol this phone at the server at ``url``: ``phone``, ``server`` (ids) and ``url``.

    Raises AlreadyEnrolledError, ServerUnreachableError, CodedError, KeyStoreError.
    """
    parsed = EnrolmentCode.parse(code)
    if (known := wallet.server()) is not None:
        raise AlreadyEnrolledError(
            f"this phone is enrolled at {known.url} already;"
            " choose another folder with --state for a second phone"
        )
    pin = await meet(url, parsed)
    identity = create(state, keys)
    async with ServerClient(pin, identity.signer, new_id=new_id, wall_ms=wall_ms) as server:
        await server.synchronise()
        await Registration(wallet, identity, server, new_id).enrol(parsed)
    return {"phone": identity.phone, "server": pin.server, "url": pin.url}


async def pair(
    state: Path,
    wallet: Wallet,
    label: str,
    endpoint: Endpoint | None,
    settings: PhoneSettings,
    progress: Progress,
) -> dict[str, Any]:
    """Pair with the jack on the label, at ``endpoint`` or wherever it is announced or invites.

    Gives ``jack``, ``epoch``, and ``registered``: False if the server does not know yet.
    Raises NotEnrolledError, JackNotFoundError, JackClientError, LabelError, CodedError,
    KeyStoreError, RadioError.
    """
    parse_label(label)
    async with _with_server(state, wallet, progress, settings.keys) as (identity, server):
        pairing = Pairing(label, identity, server.pin.identity_at(server.now_s()), new_id)
        if endpoint is None:
            paired, host = await _searched(pairing, settings, server, progress)
        else:
            paired, host = await pairing.at(endpoint), endpoint[0]
        registration = Registration(wallet, identity, server, new_id)
        kept = registration.keep_pairing(paired, host)
        registered = True
        try:
            await registration.register_jack(kept)
        except ServerUnreachableError as error:
            registered = False
            progress(str(error))
    return {"jack": kept.pin.jack, "epoch": kept.pin.epoch, "registered": registered}


async def _searched(
    pairing: Pairing, settings: PhoneSettings, server: ServerClient, progress: Progress
) -> tuple[PairedJack, str]:
    async with (
        JackFinder(settings.interfaces) as finder,
        listening(unnoted(settings.radio), server.now_s) as radio,
    ):
        sources: list[Source] = [Announced(finder, pairing)]
        if radio is not None:
            sources.append(Inviting(radio, pairing))
        try:
            return await search(sources, progress)
        except JackNotFoundError:
            if radio is not None and radio.problem is not None:
                progress(radio.problem)
            raise


async def add_method(
    state: Path,
    wallet: Wallet,
    token: str,
    label: str,
    keys: str = FILE,
) -> str:
    """Register a payment method; returns its id.

    Raises NotEnrolledError, ServerUnreachableError (it is sent later), CodedError, KeyStoreError.
    """
    async with _with_server(state, wallet, _say_nothing, keys) as (identity, server):
        registration = Registration(wallet, identity, server, new_id)
        kept = registration.keep_method(token, label)
        try:
            await registration.register_method(kept)
        except ServerUnreachableError as error:
            later = f"{label!r} is kept, and phone-agent run registers it"
            raise ServerUnreachableError(f"{error}. {later}") from None
        return kept.id


async def instruct(
    state: Path,
    wallet: Wallet,
    order: Callable[[Instructions], KeptInstruction],
    progress: Progress,
    keys: str = FILE,
) -> bool:
    """Act on an order of the owner's; whether the server has taken it, else it is told later.

    Raises NotEnrolledError, CodedError, KeyStoreError.
    """
    async with _with_server(state, wallet, _say_nothing, keys) as (identity, server):
        instructions = Instructions(wallet, identity, server, new_id)
        kept = order(instructions)
        try:
            await instructions.send(kept)
        except ServerUnreachableError as error:
            progress(f"{error}. phone-agent run tells the server")
            return False
        return True


def _say_nothing(_text: str) -> None:
    """For what fails again, and is told then."""


@asynccontextmanager
async def _with_server(
    state: Path, wallet: Wallet, progress: Progress, keys: str
) -> AsyncIterator[tuple[PhoneIdentity, ServerClient]]:
    """The pinned server, and its time if it can be reached."""
    pin, identity = pinned_server(wallet), load(state, keys)
    async with ServerClient(
        pin, identity.signer, new_id=new_id, wall_ms=wall_ms, keep_pin=wallet.pin_server
    ) as server:
        try:
            await server.synchronise()
        except ServerUnreachableError as error:
            progress(str(error))
        yield identity, server
