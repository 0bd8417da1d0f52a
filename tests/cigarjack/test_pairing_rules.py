"""Who is admitted as the owner's phone, and what each refusal does to the state."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from cigarjack.pairing_rules import (
    PairingState,
    admit,
    claim_secret_after_window,
    claim_secret_for_window,
    read_request,
    read_server,
    server_changed,
    unlocked,
)
from tests.cigarjack.parties import Phone, Server, owner_of
from twochannel import tls
from twochannel.protocol import envelope
from twochannel.protocol.errors import CodedError, ErrorCode, StatementError
from twochannel.protocol.limits import MAX_CLAIM_TRIES
from twochannel.protocol.statements import PairingRequest, Role
from twochannel.protocol.wire import base64url

SECRET, WRONG, FRESH = "s" * 21 + "A", "w" * 21 + "A", "f" * 21 + "A"
LINK_KEY = bytes(range(32))
JACK = "j" * 42 + "A"
NEW = PairingState(owner=None, claim_secret=SECRET, wrong_tries=0)


def request(phone: Phone, server: Server, secret: str | None = SECRET) -> PairingRequest:
    return phone.request(JACK, server.identity(), claim_secret=secret)


def test_the_claim_secret_admits_the_first_owner_and_is_used_up(
    phone: Phone, server: Server
) -> None:
    asked = request(phone, server)
    verdict = admit(NEW, asked, LINK_KEY)
    assert verdict.refusal is None
    assert verdict.state.claim_secret is None
    owner = verdict.state.owner
    assert owner is not None
    assert (owner.phone, owner.phone_certificate) == (phone.id, phone.certificate)
    assert (owner.link_key, owner.epoch) == (LINK_KEY, 1)
    assert owner.server() == read_server(asked.server)
    again = admit(verdict.state, request(Phone(), server), LINK_KEY)
    assert again.refusal is not None
    assert again.state.owner == owner


def test_each_pairing_raises_the_epoch(phone: Phone, server: Server) -> None:
    state = replace(NEW, owner=owner_of(phone, server, epoch=7))
    after = admit(state, request(Phone(), server), LINK_KEY).state
    assert after.epoch == 8
    assert NEW.epoch == 0


def test_wrong_secrets_are_counted_and_then_lock(phone: Phone, server: Server) -> None:
    state = NEW
    for tries in range(1, MAX_CLAIM_TRIES + 1):
        assert not state.locked
        verdict = admit(state, request(phone, server, WRONG), LINK_KEY)
        assert verdict.refusal is not None
        assert verdict.refusal.code is ErrorCode.CLAIM_REFUSED
        assert verdict.state.wrong_tries == tries
        state = verdict.state
    locked = admit(state, request(phone, server), LINK_KEY)
    assert locked.refusal is not None
    assert locked.state == state, "the right secret opens nothing, and no try counts any more"
    with pytest.raises(CodedError, match="locked"):
        claim_secret_for_window(state, FRESH)
    assert admit(unlocked(state), request(phone, server), LINK_KEY).refusal is None


def test_a_missing_secret_is_refused_and_is_no_guess(phone: Phone, server: Server) -> None:
    verdict = admit(NEW, request(phone, server, None), LINK_KEY)
    assert verdict.refusal is not None
    assert verdict.state == NEW


def test_an_open_window_alone_admits_nobody(phone: Phone, server: Server) -> None:
    used = PairingState(owner_of(phone, server), claim_secret=None, wrong_tries=0)
    for secret in (None, SECRET):
        assert admit(used, request(Phone(), server, secret), LINK_KEY).refusal is not None


def test_a_window_of_an_owned_jack_has_a_secret_of_its_own(phone: Phone, server: Server) -> None:
    used = PairingState(owner_of(phone, server), claim_secret=None, wrong_tries=0)
    opened = claim_secret_for_window(used, FRESH)
    assert opened.claim_secret == FRESH
    assert admit(opened, request(Phone(), server, FRESH), LINK_KEY).refusal is None
    assert claim_secret_after_window(opened) == used


def test_the_first_label_outlives_its_windows() -> None:
    assert claim_secret_for_window(NEW, FRESH) == NEW
    assert claim_secret_after_window(NEW) == NEW


def test_a_request_is_read_whole(phone: Phone, server: Server) -> None:
    asked = request(phone, server)
    assert read_request(envelope.sign(asked, phone.signer), JACK) == asked


def test_requests_that_are_not_read(phone: Phone, server: Server) -> None:
    other = Phone()
    sound = request(phone, server)
    terminal = server.identity(Role.TERMINAL)
    forged = server.identity()[:-4] + "AAAA"
    two = base64url(phone.certificate + other.certificate)
    big_key = ec.generate_private_key(ec.SECP384R1())
    p384 = base64url(tls.make_certificate(big_key, "phone", 1))
    junk = base64url(b"j" * 300)
    cases = [
        (sound.model_copy(update={"aud": other.id}), ErrorCode.AUDIENCE_WRONG),
        (sound.model_copy(update={"iss": other.id}), ErrorCode.ISSUER_WRONG),
        (sound.model_copy(update={"key": other.signer.key.jwk}), ErrorCode.KEY_UNKNOWN),
        (sound.model_copy(update={"server": terminal}), ErrorCode.ISSUER_WRONG),
        (sound.model_copy(update={"server": forged}), ErrorCode.SIGNATURE_INVALID),
        (sound.model_copy(update={"tls_certificate": two}), ErrorCode.CLAIM_INVALID),
        (sound.model_copy(update={"tls_certificate": p384}), ErrorCode.CLAIM_INVALID),
        (sound.model_copy(update={"tls_certificate": junk}), ErrorCode.CLAIM_INVALID),
    ]
    for asked, code in cases:
        with pytest.raises(StatementError) as refused:
            read_request(envelope.sign(asked, phone.signer), JACK)
        assert refused.value.code is code


def test_another_server_is_one_with_another_key(phone: Phone, server: Server) -> None:
    before = PairingState(owner_of(phone, server), None, 0)
    same = PairingState(owner_of(Phone(), server, epoch=2), None, 0)
    other = PairingState(owner_of(phone, Server(), epoch=2), None, 0)
    assert not server_changed(before, same)
    assert server_changed(before, other)
    assert server_changed(NEW, before)


def test_no_secret_shows_in_a_log(phone: Phone, server: Server) -> None:
    shown = repr(replace(NEW, owner=owner_of(phone, server)))
    assert SECRET not in shown
    assert repr(bytes(32)) not in shown
