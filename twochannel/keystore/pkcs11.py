"""Private keys in a PKCS#11 token: made there, used there, never out of it.

A key pair is two objects with one label, ``<prefix>-<name>``. The prefix is ``object`` of the URI
if it is given; then keys that the maker or owner of the token put there under these labels are
used as they are. Otherwise it is drawn at random for this state folder and kept in it, so that
two devices never share a key by accident, not even in one token.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11 import (
    KDF,
    Attribute,
    KeyType,
    Mechanism,
    MechanismFlag,
    ObjectClass,
    PrivateKey,
    Session,
    exceptions,
)
from pkcs11.constants import DEFAULT

from twochannel.keystore.file import write_private
from twochannel.keystore.port import KeyStoreError, KeyUse, check_name
from twochannel.keystore.token_session import TokenSession, private_key, public_key
from twochannel.keystore.token_uri import TokenUri
from twochannel.protocol.keys import COORDINATE_BYTES, VerifyingKey, jwk_of

#: P-256 as DER: the object identifier 1.2.840.10045.3.1.7 (RFC 5480 section 2.1.1.1).
_P256: Final = bytes.fromhex("06082a8648ce3d030107")
#: An uncompressed point of P-256, as PKCS#11 wraps it: a DER OCTET STRING of 65 bytes.
_POINT_HEADER: Final = b"\x04\x41"
_POINT_LENGTH: Final = 1 + 2 * COORDINATE_BYTES
_ABILITIES: Final = {
    KeyUse.SIGNING: {Attribute.SIGN: True, Attribute.DERIVE: False},
    KeyUse.AGREEMENT: {Attribute.SIGN: False, Attribute.DERIVE: True},
}
#: DEFAULT leaves an attribute out: some tokens refuse templates that say more than they must.
_UNSAID: Final[dict[Attribute, Any]] = dict.fromkeys(
    (
        Attribute.DECRYPT,
        Attribute.DERIVE,
        Attribute.ENCRYPT,
        Attribute.SIGN,
        Attribute.UNWRAP,
        Attribute.VERIFY,
        Attribute.WRAP,
    ),
    DEFAULT,
)
#: The secret that two parties agree on belongs to this process; the key that made it does not.
_SECRET: Final[dict[Attribute, Any]] = {
    **_UNSAID,
    Attribute.ID: DEFAULT,
    Attribute.LABEL: DEFAULT,
    Attribute.PRIVATE: DEFAULT,
    Attribute.SENSITIVE: False,
    Attribute.EXTRACTABLE: True,
}
_PREFIX_FILE: Final = "token-prefix"
_PREFIX_BYTES: Final = 4


class Pkcs11KeyStore:
    """The keys of one device in the token of ``uri``. ``directory``: of its state folder."""

    def __init__(self, uri: TokenUri, directory: Path, environment: Mapping[str, str]) -> None:
        self._uri = uri
        self._directory = directory
        self._token = TokenSession(uri, environment)

    def holds(self, name: str) -> bool:
        label = self._label(name)
        return label is not None and self._token.read(
            f"key {label}", lambda session: _is_there(session, label)
        )

    def create(self, name: str, use: KeyUse, /) -> None:
        label = self._label(name) or f"{self._new_prefix()}-{name}"
        self._token.write(f"key {label}", lambda session: _generate(session, label, use))

    def signer(self, name: str) -> TokenSigner:
        return TokenSigner(self._token, self._known_label(name))

    def agreement(self, name: str) -> TokenAgreement:
        return TokenAgreement(self._token, self._known_label(name))

    def _label(self, name: str) -> str | None:
        check_name(name)
        prefix = self._uri.key_prefix or self._own_prefix()
        return f"{prefix}-{name}" if prefix else None

    def _known_label(self, name: str) -> str:
        label = self._label(name)
        if label is None:
            raise KeyStoreError(f"no key {name} on token {self._uri.name}; initialise first")
        return label

    @property
    def _prefix_path(self) -> Path:
        return self._directory / _PREFIX_FILE

    def _own_prefix(self) -> str | None:
        try:
            return self._prefix_path.read_text(encoding="ascii").strip() or None
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise KeyStoreError(f"cannot read {self._prefix_path}: {error}") from None

    def _new_prefix(self) -> str:
        prefix = f"cigarjack-{secrets.token_hex(_PREFIX_BYTES)}"
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._prefix_path, f"{prefix}\n".encode("ascii"))
        return prefix


class TokenSigner:
    """ES256. The token hashes nothing: not every token can."""

    def __init__(self, token: TokenSession, label: str) -> None:
        """Raises KeyStoreError."""
        self._token = token
        self._label = label
        self.key = token.read(f"key {label}", lambda session: _public_half(session, label))

    def sign(self, message: bytes) -> bytes:
        digest = hashlib.sha256(message).digest()
        return self._token.use(self._label, lambda key: _sign(key, self._label, digest))


class TokenAgreement:
    """ECDH on P-256."""

    def __init__(self, token: TokenSession, label: str) -> None:
        """Raises KeyStoreError."""
        self._token = token
        self._label = label
        self.key = token.read(f"key {label}", lambda session: _public_half(session, label))

    def exchange(self, peer: VerifyingKey) -> bytes:
        return self._token.use(self._label, lambda key: _derive(key, self._label, peer.point))


def _is_there(session: Session, label: str) -> bool:
    wanted = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: label}
    return bool(list(session.get_objects(wanted)))


def _generate(session: Session, label: str, use: KeyUse) -> None:
    if _is_there(session, label):
        raise KeyStoreError(f"key {label} exists already; remove it from the token to make another")
    if use is KeyUse.AGREEMENT and Mechanism.ECDH1_DERIVE not in _mechanisms(session):
        raise KeyStoreError(
            f"token {session.token.label} cannot agree on secrets (CKM_ECDH1_DERIVE); "
            'keep the beacon key in a file: beacon_keys = "file" in the settings'
        )
    curve = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: _P256}, local=True)
    curve.generate_keypair(
        id=label.encode(),
        label=label,
        store=True,
        capabilities=MechanismFlag(0),
        public_template=_UNSAID,
        private_template={
            **_UNSAID,
            **_ABILITIES[use],
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
        },
    )


def _mechanisms(session: Session) -> set[Mechanism]:
    return session.token.slot.get_mechanisms()


def _public_half(session: Session, label: str) -> VerifyingKey:
    """The public key, after a look at the private one: whether it really cannot leave."""
    private = private_key(session, label)
    if may_leave(private):
        raise KeyStoreError(f"key {label} may leave its token; remove it and make it anew")
    public = public_key(session, label)
    try:
        return _verifying_key(public[Attribute.EC_POINT])
    except ValueError:
        raise KeyStoreError(f"key {label} is not a P-256 key") from None


class _Attributes(Protocol):
    def __getitem__(self, attribute: Attribute, /) -> Any: ...


def may_leave(private: _Attributes) -> bool:
    """Whether a key can be had in plain or wrapped. Raises PKCS11Error.

    Tokens that wrap no keys at all may not know the question; whether it is kept as a secret,
    each must say.
    """
    try:
        extractable = private[Attribute.EXTRACTABLE]
    except (exceptions.AttributeSensitive, exceptions.AttributeTypeInvalid):
        extractable = False
    return bool(extractable or not private[Attribute.SENSITIVE])


def _verifying_key(wrapped: bytes) -> VerifyingKey:
    """Some tokens forget the wrapping. Raises ValueError."""
    header = len(wrapped) == len(_POINT_HEADER) + _POINT_LENGTH
    encoded = wrapped.removeprefix(_POINT_HEADER) if header else wrapped
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), encoded)
    return VerifyingKey.from_jwk(jwk_of(point))


def _sign(key: PrivateKey, label: str, digest: bytes) -> bytes:
    if not hasattr(key, "sign"):
        raise KeyStoreError(f"key {label} was not made for signing")
    return bytes(key.sign(digest, mechanism=Mechanism.ECDSA))


def _derive(key: PrivateKey, label: str, point: bytes) -> bytes:
    if not hasattr(key, "derive_key"):
        raise KeyStoreError(f"key {label} was not made for key agreement")
    secret = key.derive_key(
        KeyType.GENERIC_SECRET,
        8 * COORDINATE_BYTES,
        capabilities=MechanismFlag(0),
        mechanism=Mechanism.ECDH1_DERIVE,
        mechanism_param=(KDF.NULL, None, point),
        template=_SECRET,
    )
    try:
        return bytes(secret[Attribute.VALUE])
    finally:
        secret.destroy()
