"""What the owner orders: done here at once, kept, and told to the server as often as it takes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from cigarjack.client import JackPin
from fieldkit.specimens import Specimens
from phone_agent import identity as identities
from phone_agent.database import Database
from phone_agent.identity import PhoneIdentity
from phone_agent.instructions import Instructions
from phone_agent.wallet import KeptJack, KeptMethod, Wallet
from server.client import ServerClient, ServerUnreachableError
from tests.cigarjack.parties import new_id
from tests.phone_agent.scripted_server import ScriptedServer
from twochannel.protocol.envelope import verify
from twochannel.protocol.errors import CodedError, ErrorCode, PaymentError
from twochannel.protocol.instructions import (
    Coupling,
    Instruction,
    MethodDefault,
    MethodRemoval,
    Release,
    Uncoupling,
)
from twochannel.trace import Trace, wall_ms

JACK = "J" * 43
TRACE = Trace("phone", None, boot="test")
I = TypeVar("I", bound=Instruction)  # noqa: E741


@dataclass
class Desk:
    """A phone with two methods and a jack, and its server."""

    wallet: Wallet
    identity: PhoneIdentity
    instructions: Instructions
    server: ScriptedServer
    methods: tuple[str, str]

    def told(self, model: type[I]) -> I:
        """The newest statement that reached the server, as the phone has signed it."""
        return verify(self.server.registered[-1], model, self.identity.signer.key)


@pytest.fixture
async def desk(tmp_path: Path, server: ScriptedServer) -> AsyncIterator[Desk]:
    identity = identities.create(tmp_path / "state")
    methods = (new_id(), new_id())
    with Database.open(tmp_path / "w.sqlite3") as database:
        wallet = Wallet(database)
        for method in methods:
            wallet.keep_method(KeptMethod(method, "Card", "a.b.c", registered=True))
        pin = JackPin(JACK, identity.signer.key.jwk, b"certificate", bytes(32), 3)
        wallet.keep_jack(KeptJack(pin, "192.0.2.7", 4000, "a.b.c", registered=True))
        async with ServerClient(
            server.pin, identity.signer, new_id=new_id, wall_ms=wall_ms
        ) as client:
            instructions = Instructions(wallet, identity, client, new_id)
            yield Desk(wallet, identity, instructions, server, methods)


async def test_the_chosen_method_pays_at_once_and_the_server_knows(desk: Desk) -> None:
    first, second = desk.methods
    assert desk.wallet.default_method() == first
    kept = desk.instructions.choose(second)
    assert desk.wallet.default_method() == second
    await desk.instructions.send(kept)
    assert desk.told(MethodDefault).sub == second
    assert desk.wallet.instructions() == []


async def test_a_removed_method_pays_no_more(desk: Desk) -> None:
    first, second = desk.methods
    kept = desk.instructions.remove(first)
    assert [method.id for method in desk.wallet.methods()] == [second]
    await desk.instructions.send(kept)
    assert desk.told(MethodRemoval).sub == first


async def test_a_released_jack_is_named_with_its_epoch(desk: Desk) -> None:
    kept = desk.instructions.release(JACK)
    assert desk.wallet.jacks() == []
    await desk.instructions.send(kept)
    told = desk.told(Release)
    assert (told.sub, told.epoch) == (JACK, 3)


async def test_what_is_not_there_is_refused_and_nothing_is_kept(desk: Desk) -> None:
    for order in (desk.instructions.choose, desk.instructions.remove):
        with pytest.raises(PaymentError):
            order(new_id())
    with pytest.raises(PaymentError):
        desk.instructions.release("K" * 43)
    assert desk.wallet.instructions() == []


async def test_an_order_without_an_answer_is_sent_again_byte_for_byte(desk: Desk) -> None:
    kept = desk.instructions.remove(desk.methods[0])
    desk.server.refusals.append(None)
    with pytest.raises(ServerUnreachableError):
        await desk.instructions.send(kept)
    assert desk.wallet.instructions() == [kept]
    await desk.instructions.sweep(TRACE)
    assert desk.server.registered == [kept.compact] * 2
    assert desk.wallet.instructions() == []


async def test_orders_are_told_in_their_turn(desk: Desk) -> None:
    orders = [desk.instructions.choose(method) for method in (*desk.methods, desk.methods[1])]
    await desk.instructions.sweep(TRACE)
    assert desk.server.registered == [kept.compact for kept in orders]


async def test_a_wrong_clock_is_corrected_under_the_same_id(desk: Desk) -> None:
    kept = desk.instructions.remove(desk.methods[0])
    desk.server.refusals.append(ErrorCode.CLOCK_SKEW)
    await desk.instructions.send(kept)
    assert desk.told(MethodRemoval).jti == kept.id
    assert desk.wallet.instructions() == []


async def test_an_order_that_the_server_refuses_is_not_told_for_ever(desk: Desk) -> None:
    desk.instructions.remove(desk.methods[0])
    desk.server.refusals += [ErrorCode.INTERNAL_ERROR, ErrorCode.PAYMENT_METHOD_UNKNOWN]
    await desk.instructions.sweep(TRACE)
    assert len(desk.wallet.instructions()) == 1
    (kept,) = desk.wallet.instructions()
    with pytest.raises(CodedError):
        await desk.instructions.send(kept)
    assert desk.wallet.instructions() == []


async def coupled(desk: Desk, method: str) -> None:
    """The server has taken the coupling of a method to the jack."""
    coupling = Specimens()[Coupling].statement.claims()
    challenge, answer = str(coupling["challenge"]), str(coupling["answer"])
    await desk.instructions.send(desk.instructions.couple(method, challenge, answer))


async def test_a_jack_is_paid_for_with_what_is_coupled_to_it(desk: Desk) -> None:
    first, second = desk.methods
    jack = Specimens().jack
    assert desk.wallet.method_for(jack) == first
    await coupled(desk, second)
    assert desk.told(Coupling).sub == second
    assert (desk.wallet.couplings(jack), desk.wallet.method_for(jack)) == ([second], second)
    assert desk.wallet.method_for(JACK) == first
    await coupled(desk, first)
    assert desk.wallet.method_for(jack) == first
    kept = desk.instructions.uncouple(first, jack)
    assert desk.wallet.method_for(jack) == second
    await desk.instructions.send(kept)
    assert desk.told(Uncoupling).jack == jack
    with pytest.raises(PaymentError):
        desk.instructions.uncouple(first, jack)


async def test_a_coupling_that_the_server_has_not_taken_counts_for_nothing(desk: Desk) -> None:
    desk.server.refusals += [None, ErrorCode.STATEMENT_EXPIRED, ErrorCode.STATEMENT_EXPIRED]
    with pytest.raises(ServerUnreachableError):
        await coupled(desk, desk.methods[1])
    assert len(desk.wallet.instructions()) == 1
    await desk.instructions.sweep(TRACE)
    assert desk.wallet.instructions() == []
    assert desk.wallet.couplings(Specimens().jack) == []


async def test_couplings_end_with_their_method_and_their_pairing(desk: Desk) -> None:
    jack = Specimens().jack
    for method in desk.methods:
        await coupled(desk, method)
    desk.instructions.remove(desk.methods[1])
    assert desk.wallet.couplings(jack) == [desk.methods[0]]
    key = desk.identity.signer.key.jwk
    pin = JackPin(jack, key, b"certificate", bytes(32), 4)
    desk.wallet.keep_jack(KeptJack(pin, "192.0.2.7", 4000, "a.b.c"))
    assert desk.wallet.couplings(jack) == []
