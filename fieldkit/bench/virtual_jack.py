"""A jack that lives in the bench's process: keys and statements, no radio and no clock. Pure.

For load on a server, and for trying its API out. It takes the same steps as the real chip, but
keeps nothing.
"""

from __future__ import annotations

from twochannel.protocol import beacon
from twochannel.protocol.envelope import digest, sign
from twochannel.protocol.keys import Agreement, Signer, VerifyingKey
from twochannel.protocol.statements import AuthCode, Challenge, Identity, Pairing, Role

#: A bench jack is paired once.
EPOCH = 1
#: Of no certificate: this jack has no service that anyone could connect to.
_NO_CERTIFICATE = "0" * 64


class VirtualJack:
    """One jack, paired with one phone. ``counter``: of the auth code before."""

    def __init__(self, signer: Signer, beacon_key: Agreement, counter: int = 0) -> None:
        self._signer = signer
        self._beacon_key = beacon_key
        self.counter = counter

    def pairing(self, server: str, phone: str, ids: tuple[str, str]) -> str:
        """The pairing statement for ``server`` and ``phone``; ``ids`` of it and its identity."""
        pairing_id, identity_id = ids
        identity = Identity(
            iss=self._signer.key.kid,
            jti=identity_id,
            role=Role.JACK,
            key=self._signer.key.jwk,
            beacon_key=self._beacon_key.key.jwk,
            tls_sha256=_NO_CERTIFICATE,
        )
        pairing = Pairing(
            iss=self._signer.key.kid,
            aud=server,
            jti=pairing_id,
            sub=phone,
            identity=sign(identity, self._signer),
            epoch=EPOCH,
        )
        return sign(pairing, self._signer)

    @property
    def id(self) -> str:
        return self._signer.key.kid

    def identity_key(self, server_beacon_key: VerifyingKey) -> bytes:
        """The key that this jack and the server of that beacon key share."""
        shared = self._beacon_key.exchange(server_beacon_key)
        return beacon.identity_key(shared, server_beacon_key.point, self._beacon_key.key.point)

    def auth_code(
        self, challenge: Challenge, compact: str, lane_nonce: str, statement_id: str
    ) -> str:
        """The answer to a challenge, with the next counter."""
        self.counter += 1
        auth_code = AuthCode(
            iss=self.id,
            aud=challenge.iss,
            jti=statement_id,
            sub=challenge.sub,
            prev=digest(compact),
            counter=self.counter,
            epoch=EPOCH,
            lane_nonce=lane_nonce,
            phone=challenge.phone,
        )
        return sign(auth_code, self._signer)
