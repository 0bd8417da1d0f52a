"""Proofs of a device's key for requests that carry no statement (docs/protocol.md, Server)."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final

from twochannel.protocol.envelope import check_time
from twochannel.protocol.errors import CodedError, ErrorCode, LimitError, StatementError
from twochannel.protocol.limits import MAX_CLOCK_SKEW_S
from twochannel.protocol.statements import Proof

#: Used proofs in memory, about 300 bytes each.
_MAX_PROOFS: Final = 100_000
#: Of one device: eight requests a second, which nobody needs and which leaves room for others.
_MAX_OF_DEVICE: Final = 1_000


class ProofMemory:
    """Which proofs were used. Pure but for its memory: time is an argument.

    A proof can be accepted only until ``iat`` is more than the permitted skew ago, so it is
    remembered that long. The memory is this process's own: after a restart a proof of the minute
    before could be used once more, and what proofs open only reads.
    """

    def __init__(self) -> None:
        #: A heap: what is to be forgotten first comes first, however its device's clock is set.
        self._forget_at_s: list[tuple[int, str, str]] = []
        self._of_device: dict[str, dict[str, int]] = {}

    def use(self, proof: Proof, method: str, target: str, now_s: int) -> None:
        """Accept ``proof`` for this request, once. Raises CodedError."""
        check_time(proof, now_s)
        if proof.htm != method or proof.htu != target:
            raise CodedError(ErrorCode.PROOF_REQUIRED, "the proof is for another request")
        self._forget(now_s)
        used = self._of_device.get(proof.iss, {})
        if proof.jti in used:
            raise StatementError(ErrorCode.STATEMENT_REPLAYED, "the proof was used before")
        if len(used) >= _MAX_OF_DEVICE:
            raise LimitError(ErrorCode.TOO_MANY_REQUESTS, min(used.values()) - now_s)
        if len(self._forget_at_s) >= _MAX_PROOFS:
            raise CodedError(ErrorCode.NOT_READY, "too many requests in this minute")
        forget_at_s = proof.iat + MAX_CLOCK_SKEW_S + 1
        heappush(self._forget_at_s, (forget_at_s, proof.iss, proof.jti))
        self._of_device.setdefault(proof.iss, {})[proof.jti] = forget_at_s

    def _forget(self, now_s: int) -> None:
        """Drop what can no longer be accepted."""
        while self._forget_at_s and self._forget_at_s[0][0] <= now_s:
            _, device, proof = heappop(self._forget_at_s)
            del self._of_device[device][proof]
            if not self._of_device[device]:
                del self._of_device[device]
