"""The crypto floor: what the signatures of a payment cost with nothing around them.

Measured in this process, on the processor clock of this thread, with the library that the agents
use. Every ratio to it is of one run: both are as slow as the machine is at that moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from fieldkit.bench.quantiles import quantile
from fieldkit.specimens import Specimens, specimen_signer
from twochannel.protocol.envelope import sign, verify
from twochannel.protocol.keys import COORDINATE_BYTES, VerifyingKey
from twochannel.protocol.statements import Confirmation

#: What the server cannot do without: it verifies payment request, confirmation and the auth code
#: inside it, and signs challenge and receipt (docs/protocol.md, Statements).
SERVER_VERIFICATIONS: Final = 3
SERVER_SIGNATURES: Final = 2
#: What all parties do one after the other between the request and its answer. Signatures: request,
#: challenge, auth code, confirmation, receipt. Verifications: request at the server, challenge at
#: phone and jack, auth code at phone and server, confirmation at the server, receipt at the
#: terminal.
CHAIN_SIGNATURES: Final = 5
CHAIN_VERIFICATIONS: Final = 7
_NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class CryptoFloor:
    """Processor milliseconds of one operation: bare, and as a whole statement.

    A statement is the operation with its JSON, claims and envelope around it, as every agent
    does it (``twochannel.protocol.envelope``).
    """

    sign_ms: float
    verify_ms: float
    sign_statement_ms: float
    verify_statement_ms: float

    @property
    def server_ms(self) -> float:
        """Of one payment at the server."""
        return SERVER_VERIFICATIONS * self.verify_ms + SERVER_SIGNATURES * self.sign_ms

    @property
    def server_statements_ms(self) -> float:
        """The same as whole statements."""
        return (
            SERVER_VERIFICATIONS * self.verify_statement_ms
            + SERVER_SIGNATURES * self.sign_statement_ms
        )

    @property
    def chain_ms(self) -> float:
        """Of one payment at all parties together."""
        return CHAIN_VERIFICATIONS * self.verify_ms + CHAIN_SIGNATURES * self.sign_ms


class CryptoGauge:
    """Times single operations on the specimen confirmation, now and then or all at once.

    Beside a load its samples feel the same neighbours as the load.
    """

    def __init__(self) -> None:
        signer = specimen_signer("phone")
        specimen = Specimens()[Confirmation]
        statement, compact, key = specimen.statement, specimen.compact, signer.key
        message = compact.encode("ascii")
        signature = _der(signer.sign(message))
        self._operations: tuple[Callable[[], object], ...] = (
            lambda: signer.sign(message),
            lambda: _verify(key, signature, message),
            lambda: sign(statement, signer),
            lambda: verify(compact, Confirmation, key),
        )
        self._times_ms: tuple[list[float], ...] = tuple([] for _ in self._operations)

    def sample(self, times: int = 10) -> None:
        """Time each operation ``times`` in a row, on the processor clock of this thread.

        In a row, for the first finds the caches cold, which no floor may be made of.
        """
        for operation, times_ms in zip(self._operations, self._times_ms, strict=True):
            for _ in range(times):
                started_ns = time.thread_time_ns()
                operation()
                times_ms.append((time.thread_time_ns() - started_ns) / _NS_PER_MS)

    def floor(self) -> CryptoFloor:
        """The medians so far. ValueError before the first sample."""
        return CryptoFloor(*(round(quantile(times, 0.5), 4) for times in self._times_ms))


def measure(repeats: int = 200) -> CryptoFloor:
    """Median of ``repeats`` of each operation."""
    gauge = CryptoGauge()
    gauge.sample(repeats)
    return gauge.floor()


def _verify(key: VerifyingKey, signature: bytes, message: bytes) -> None:
    key.public_key.verify(signature, message, ec.ECDSA(hashes.SHA256()))


def _der(raw: bytes) -> bytes:
    halves = raw[:COORDINATE_BYTES], raw[COORDINATE_BYTES:]
    return encode_dss_signature(*(int.from_bytes(half) for half in halves))
