"""Keys in a real PKCS#11 token (SoftHSM): never out of it, and good for all that files are."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pkcs11
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass
from pkcs11.exceptions import AttributeSensitive, AttributeTypeInvalid

from tests.softhsm import PIN, SoftHsm
from twochannel.keystore.file import FileAgreement
from twochannel.keystore.pkcs11 import may_leave
from twochannel.keystore.port import KeyStore, KeyStoreError, KeyUse
from twochannel.keystore.stores import ensure, open_keystore
from twochannel.protocol import envelope
from twochannel.protocol.statements import Time
from twochannel.tls import client_context, make_certificate

pytestmark = pytest.mark.softhsm

T = TypeVar("T")

TOKEN = "cigarjack"
#: What the token says of a key that was made in it and never leaves it.
CONFINED = {
    Attribute.ALWAYS_SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.LOCAL: True,
    Attribute.NEVER_EXTRACTABLE: True,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
}
#: P-256 and P-384 as DER (RFC 5480).
CURVES = {"P-256": "06082a8648ce3d030107", "P-384": "06052b81040022"}


@pytest.fixture
def hsm(softhsm: SoftHsm) -> SoftHsm:
    softhsm.make_token(TOKEN)
    return softhsm


@pytest.fixture
def store(hsm: SoftHsm, tmp_path: Path) -> KeyStore:
    return open_keystore(hsm.uri(TOKEN), tmp_path / "keys")


def statement(signer_id: str) -> Time:
    jti = "01a20846-fe00-7000-8000-000000000002"
    return Time(iss=signer_id, aud="A" * 43, jti=jti, nonce="A" * 22, time_ms=1)


def in_token(hsm: SoftHsm, action: Callable[[pkcs11.Session], T], *, rw: bool = False) -> T:
    """Past the store. The process is logged in once a store has used the token."""

    def opened(library: Any) -> T:
        with library.get_token(token_label=TOKEN).open(rw=rw) as session:
            return action(session)

    return hsm.run(opened)


def put_key(
    hsm: SoftHsm, label: str, curve: str = "P-256", extractable: bool = False, copies: int = 1
) -> None:
    """Put keys into the token as another program might."""

    def put(session: pkcs11.Session) -> None:
        parameters = {Attribute.EC_PARAMS: bytes.fromhex(CURVES[curve])}
        domain = session.create_domain_parameters(KeyType.EC, parameters, local=True)
        for _ in range(copies):
            domain.generate_keypair(
                label=label,
                store=True,
                capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
                private_template={Attribute.EXTRACTABLE: extractable},
            )

    in_token(hsm, put, rw=True)


# --- keys


def test_a_key_signs_statements(store: KeyStore) -> None:
    store.create("signing", KeyUse.SIGNING)
    signer = store.signer("signing")
    signed = envelope.sign(statement(signer.key.kid), signer)
    assert envelope.verify(signed, Time, signer.key).iss == signer.key.kid


def test_a_key_agrees_with_a_key_in_a_file(store: KeyStore) -> None:
    store.create("beacon", KeyUse.AGREEMENT)
    inside = store.agreement("beacon")
    outside = FileAgreement(ec.generate_private_key(ec.SECP256R1()))
    assert inside.exchange(outside.key) == outside.exchange(inside.key)


def test_the_agreed_secret_does_not_stay_in_the_token(store: KeyStore, hsm: SoftHsm) -> None:
    store.create("beacon", KeyUse.AGREEMENT)
    agreement = store.agreement("beacon")
    agreement.exchange(agreement.key)
    secrets = {Attribute.CLASS: ObjectClass.SECRET_KEY}
    assert in_token(hsm, lambda session: list(session.get_objects(secrets))) == []


@pytest.mark.parametrize("use", KeyUse)
def test_a_key_cannot_leave_the_token(store: KeyStore, hsm: SoftHsm, use: KeyUse) -> None:
    store.create("mine", use)

    def look(session: pkcs11.Session) -> list[object]:
        (key,) = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        with pytest.raises(AttributeSensitive):
            key[Attribute.VALUE]
        return [key[attribute] for attribute in CONFINED]

    assert in_token(hsm, look) == list(CONFINED.values())


def test_nothing_of_a_key_is_in_the_folder(store: KeyStore, tmp_path: Path) -> None:
    store.create("signing", KeyUse.SIGNING)
    (file,) = (tmp_path / "keys").iterdir()
    assert file.name == "token-prefix"
    assert file.read_text(encoding="utf-8").startswith("cigarjack-")


def test_a_key_is_found_again_by_another_store_and_another_process(
    store: KeyStore, hsm: SoftHsm, tmp_path: Path
) -> None:
    store.create("signing", KeyUse.SIGNING)
    kid = store.signer("signing").key.kid
    again = open_keystore(hsm.uri(TOKEN), tmp_path / "keys")
    assert again.signer("signing").key.kid == kid
    program = (
        "import sys, pathlib\n"
        "from twochannel.keystore.stores import open_keystore\n"
        "store = open_keystore(sys.argv[1], pathlib.Path(sys.argv[2]))\n"
        "print(store.signer('signing').key.kid)\n"
    )
    command = [sys.executable, "-c", program, hsm.uri(TOKEN), str(tmp_path / "keys")]
    answer = subprocess.run(
        command, env=hsm.environment, check=True, capture_output=True, text=True
    )
    assert answer.stdout.strip() == kid


def test_a_key_is_never_overwritten(store: KeyStore) -> None:
    ensure(store, "signing", KeyUse.SIGNING)
    kid = store.signer("signing").key.kid
    with pytest.raises(KeyStoreError, match="exists already"):
        store.create("signing", KeyUse.SIGNING)
    ensure(store, "signing", KeyUse.SIGNING)
    assert store.signer("signing").key.kid == kid


def test_a_key_does_only_what_it_was_made_for(store: KeyStore) -> None:
    store.create("signing", KeyUse.SIGNING)
    store.create("beacon", KeyUse.AGREEMENT)
    with pytest.raises(KeyStoreError, match="not made for signing"):
        store.signer("beacon").sign(b"message")
    agreement = store.agreement("signing")
    with pytest.raises(KeyStoreError, match="not made for key agreement"):
        agreement.exchange(agreement.key)


def test_a_token_that_only_signs_says_where_to_put_the_beacon_key(
    hsm: SoftHsm, tmp_path: Path
) -> None:
    hsm.limit_to("CKM_EC_KEY_PAIR_GEN", "CKM_ECDSA")
    store = open_keystore(hsm.uri(TOKEN), tmp_path / "keys")
    with pytest.raises(KeyStoreError, match='beacon_keys = "file"'):
        store.create("beacon", KeyUse.AGREEMENT)
    store.create("signing", KeyUse.SIGNING)
    assert store.signer("signing").sign(b"message")


def test_a_missing_key_says_what_to_do(store: KeyStore) -> None:
    assert not store.holds("signing")
    with pytest.raises(KeyStoreError, match="initialise first"):
        store.signer("signing")
    store.create("beacon", KeyUse.AGREEMENT)
    assert not store.holds("signing")
    with pytest.raises(KeyStoreError, match="initialise first"):
        store.signer("signing")


@pytest.mark.parametrize("name", ["", "../x", "Signing", "a" * 33])
def test_names_become_no_other_labels(store: KeyStore, name: str) -> None:
    with pytest.raises(ValueError, match="not a key name"):
        store.create(name, KeyUse.SIGNING)


# --- keys that others put there


@pytest.fixture
def named_store(hsm: SoftHsm, tmp_path: Path) -> KeyStore:
    """Its labels begin with ``pi``, and this process is logged in."""
    store = open_keystore(hsm.uri(TOKEN, key_prefix="pi"), tmp_path / "keys")
    assert not store.holds("signing")
    return store


def test_a_key_that_is_there_under_the_given_prefix_is_used(
    named_store: KeyStore, hsm: SoftHsm
) -> None:
    put_key(hsm, "pi-signing")
    ensure(named_store, "signing", KeyUse.SIGNING)
    signer = named_store.signer("signing")
    signed = envelope.sign(statement(signer.key.kid), signer)
    assert envelope.verify(signed, Time, signer.key).iss == signer.key.kid


@pytest.mark.parametrize(
    ("put", "reason"),
    [
        (("P-256", True), "may leave its token"),
        (("P-384",), "not a P-256 key"),
        (("P-256", False, 2), "several keys have this label"),
    ],
)
def test_an_unfit_key_is_refused(
    named_store: KeyStore, hsm: SoftHsm, put: tuple[Any, ...], reason: str
) -> None:
    put_key(hsm, "pi-signing", *put)
    with pytest.raises(KeyStoreError, match=reason):
        named_store.signer("signing")


@pytest.mark.parametrize(
    ("extractable", "sensitive", "leaves"),
    [
        (False, True, False),
        (True, True, True),
        (False, False, True),
        # cryptoauthlib does not answer the first question (lib/pkcs11/pkcs11_key.c).
        (AttributeSensitive(), True, False),
        (AttributeTypeInvalid(), True, False),
        (AttributeTypeInvalid(), False, True),
    ],
)
def test_what_a_token_says_of_a_key_decides(
    extractable: bool | pkcs11.PKCS11Error, sensitive: bool, leaves: bool
) -> None:
    class Key:
        def __getitem__(self, attribute: Attribute) -> bool:
            said = {Attribute.EXTRACTABLE: extractable, Attribute.SENSITIVE: sensitive}[attribute]
            if isinstance(said, pkcs11.PKCS11Error):
                raise said
            return said

    assert may_leave(Key()) is leaves


# --- several devices


def test_two_devices_share_a_token_and_no_key(hsm: SoftHsm, tmp_path: Path) -> None:
    stores = [open_keystore(hsm.uri(TOKEN), tmp_path / name) for name in ("jack", "phone")]
    for store in stores:
        ensure(store, "signing", KeyUse.SIGNING)
    jack, phone = (store.signer("signing").key.kid for store in stores)
    assert jack != phone


def test_each_of_two_tokens_has_its_own_keys(softhsm: SoftHsm, tmp_path: Path) -> None:
    softhsm.make_token("one")
    softhsm.make_token("two")
    one, two = (open_keystore(softhsm.uri(name), tmp_path / "keys") for name in ("one", "two"))
    one.create("signing", KeyUse.SIGNING)
    assert not two.holds("signing")
    two.create("signing", KeyUse.SIGNING)
    assert one.signer("signing").key.kid != two.signer("signing").key.kid


def test_threads_do_not_get_in_each_others_way(hsm: SoftHsm, tmp_path: Path) -> None:
    stores = [open_keystore(hsm.uri(TOKEN), tmp_path / name) for name in ("jack", "phone")]
    for store in stores:
        store.create("signing", KeyUse.SIGNING)
        store.create("beacon", KeyUse.AGREEMENT)
    peer = FileAgreement(ec.generate_private_key(ec.SECP256R1()))
    together = threading.Barrier(4)

    def work(store: KeyStore) -> int:
        signer, agreement = store.signer("signing"), store.agreement("beacon")
        together.wait(timeout=10)
        for _ in range(25):
            signed = envelope.sign(statement(signer.key.kid), signer)
            envelope.verify(signed, Time, signer.key)
            assert agreement.exchange(peer.key) == peer.exchange(agreement.key)
        return 25

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, stores * 2)) == [25] * 4


def test_tls_is_not_disturbed_by_what_the_library_leaves_behind(store: KeyStore) -> None:
    store.create("signing", KeyUse.SIGNING)
    certificate = make_certificate(ec.generate_private_key(ec.SECP256R1()), "jack", 1)
    assert client_context(certificate).cert_store_stats()["x509"] == 1


# --- the token is away


def test_a_signer_outlives_the_absence_of_its_token(
    store: KeyStore, hsm: SoftHsm, tmp_path: Path
) -> None:
    store.create("signing", KeyUse.SIGNING)
    signer = store.signer("signing")
    neighbour = open_keystore(hsm.uri(TOKEN), tmp_path / "keys").signer("signing")
    with hsm.unplugged():
        for lost in (signer, neighbour, signer):
            with pytest.raises(KeyStoreError, match=TOKEN):
                lost.sign(b"message")
    for back in (signer, neighbour, signer):
        signed = envelope.sign(statement(back.key.kid), back)
        assert envelope.verify(signed, Time, back.key).iss == signer.key.kid


def test_the_library_may_be_restarted_by_others(store: KeyStore, hsm: SoftHsm) -> None:
    store.create("beacon", KeyUse.AGREEMENT)
    agreement = store.agreement("beacon")
    secret = agreement.exchange(agreement.key)
    hsm.run(lambda library: library.reinitialize())
    assert agreement.exchange(agreement.key) == secret


def test_a_missing_token_is_named(hsm: SoftHsm, tmp_path: Path) -> None:
    store = open_keystore(hsm.uri("other", key_prefix="x"), tmp_path / "keys")
    with pytest.raises(KeyStoreError, match=r"token other is not there; plug it in.*pkcs11-tool"):
        store.signer("signing")


def test_two_tokens_of_one_name_are_told_apart_by_their_serial_number(
    softhsm: SoftHsm, tmp_path: Path
) -> None:
    softhsm.make_token("twin")
    softhsm.make_token("twin")
    with pytest.raises(KeyStoreError, match="add serial="):
        open_keystore(softhsm.uri("twin", key_prefix="x"), tmp_path / "keys").holds("signing")
    serials = softhsm.run(lambda library: [t.serial.decode() for t in library.get_tokens("twin")])
    for serial in serials:
        uri = softhsm.uri("twin").replace("token=twin", f"serial={serial}")
        store = open_keystore(uri, tmp_path / "keys")
        assert not store.holds("signing")
        store.create("signing", KeyUse.SIGNING)


# --- the PIN


def test_a_wrong_pin_is_refused_once_and_never_told(
    hsm: SoftHsm, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    hsm.pin_file.write_text("wrong-and-secret", encoding="utf-8")
    store = open_keystore(hsm.uri(TOKEN), tmp_path / "keys")
    with pytest.raises(KeyStoreError, match="refuses the PIN") as refused:
        store.create("signing", KeyUse.SIGNING)
    hsm.pin_file.write_text(PIN, encoding="utf-8")
    with pytest.raises(KeyStoreError, match="refuses the PIN"):
        store.create("signing", KeyUse.SIGNING)
    open_keystore(hsm.uri(TOKEN), tmp_path / "keys").create("signing", KeyUse.SIGNING)
    assert "wrong-and-secret" not in str(refused.value) + repr(store) + caplog.text
    assert PIN not in caplog.text


def test_the_pin_may_come_from_the_environment(
    hsm: SoftHsm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN_PIN", PIN)
    store = open_keystore(hsm.uri(TOKEN, pin="env:TOKEN_PIN"), tmp_path / "keys")
    store.create("signing", KeyUse.SIGNING)
    assert store.holds("signing")


def test_a_token_that_wants_a_pin_says_so(hsm: SoftHsm, tmp_path: Path) -> None:
    uri = hsm.uri(TOKEN, key_prefix="x").partition("&pin-source")[0]
    with pytest.raises(KeyStoreError, match="wants a PIN; add pin-source"):
        open_keystore(uri, tmp_path).holds("signing")
