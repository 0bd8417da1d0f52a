"""What the phone owns, on real SQLite."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cigarjack.client import JackPin
from phone_agent.database import Database
from phone_agent.wallet import KeptJack, KeptMethod, Limit, Wallet
from tests.cigarjack.parties import Server
from tests.phone_agent.scripted_server import ScriptedServer
from twochannel.protocol.errors import ErrorCode, PaymentError
from twochannel.protocol.money import Amount


@pytest.fixture
def wallet(tmp_path: Path) -> Iterator[Wallet]:
    with Database.open(tmp_path / "w.sqlite3") as database:
        yield Wallet(database)


def kept_jack(epoch: int = 1) -> KeptJack:
    key = Server().signer.key
    pin = JackPin(key.kid, key.jwk, b"certificate", secrets.token_bytes(32), epoch)
    return KeptJack(pin, "127.0.0.1", 4000, "a.b.c")


def eur(value: int) -> Amount:
    return Amount(value=value, currency="EUR")


def test_the_server_is_pinned_once_the_enrolment_is_answered(wallet: Wallet) -> None:
    pin = ScriptedServer(url="https://127.0.0.1:1").pin
    wallet.keep_enrolment("a.b.c")
    assert (wallet.server(), wallet.enrolment()) == (None, "a.b.c")
    wallet.pin_server(pin)
    assert (wallet.server(), wallet.enrolment()) == (pin, None)


def test_a_jack_is_kept_whole(wallet: Wallet) -> None:
    jack = kept_jack()
    wallet.keep_jack(jack)
    assert wallet.jacks() == [jack]
    wallet.keep_address(jack.pin.jack, "192.0.2.1", 5000)
    wallet.keep_acceptance(jack.pin.jack, "d.e.f")
    assert wallet.jacks() == [replace(jack, host="192.0.2.1", port=5000, acceptance="d.e.f")]


def test_a_new_pairing_takes_the_place_of_the_old_and_must_be_registered(wallet: Wallet) -> None:
    jack = kept_jack(epoch=1)
    wallet.keep_jack(jack)
    wallet.jack_registered(jack.pin.jack, 1)
    again = replace(jack, pin=replace(jack.pin, epoch=2))
    wallet.keep_jack(again)
    wallet.jack_registered(jack.pin.jack, 1)
    assert wallet.jacks() == [again]
    wallet.jack_registered(jack.pin.jack, 2)
    assert wallet.jacks() == [replace(again, registered=True)]


def test_limits_are_kept_by_merchant_and_currency(wallet: Wallet) -> None:
    wallet.allow(Limit("cafe", eur(2000)))
    wallet.allow(Limit("cafe", eur(1500)))
    wallet.allow(Limit("cafe", Amount(value=3000, currency="JPY")))
    wallet.allow(Limit("pump", eur(9000)))
    assert wallet.limits_minor("cafe") == {"EUR": 1500, "JPY": 3000}
    assert wallet.limits_minor("other") == {}
    wallet.forget("cafe")
    assert wallet.limits() == [Limit("pump", eur(9000))]


def test_forgetting_an_unknown_merchant_is_told(wallet: Wallet) -> None:
    with pytest.raises(PaymentError) as refused:
        wallet.forget("cafe")
    assert refused.value.code is ErrorCode.NOT_FOUND


def test_the_first_registered_method_is_the_default(wallet: Wallet) -> None:
    first, second = KeptMethod("1", "One", "a.b.c"), KeptMethod("2", "Two", "a.b.c")
    wallet.keep_method(first)
    wallet.keep_method(second)
    assert wallet.default_method() is None
    wallet.method_registered("2")
    assert wallet.default_method() == "2"
    wallet.method_registered("1")
    assert wallet.default_method() == "1"
    wallet.drop_method("1")
    assert wallet.methods() == [replace(second, registered=True)]
    wallet.keep_method_statement("2", "d.e.f")
    assert wallet.methods()[0].statement == "d.e.f"
