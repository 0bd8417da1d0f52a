"""Proofs of a device's key for requests that carry no statement (docs/protocol.md, Server)."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Final

from twochannel.protocol.envelope import check_time
from twochannel.protocol.errors import CodedError, ErrorCode, LimitError, StatementError
from twochannel.protocol.limits import MAX_CLOCK_SKEW_S
from twochannel.protocol.statements import Proof

#: Used proofs in memory, about 200 bytes each.
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
        self._forget_at_s: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._of_device: Counter[str] = Counter()

    def use(self, proof: Proof, method: str, target: str, now_s: int) -> None:
        """Accept ``proof`` for this request, once. Raises CodedError."""
        check_time(proof, now_s)
        if proof.htm != method or proof.htu != target:
            raise CodedError(ErrorCode.PROOF_REQUIRED, "the proof is for another request")
        self._forget(now_s)
        name = (proof.iss, proof.jti)
        if name in self._forget_at_s:
            raise StatementError(ErrorCode.STATEMENT_REPLAYED, "the proof was used before")
        if self._of_device[proof.iss] >= _MAX_OF_DEVICE:
            raise LimitError(ErrorCode.TOO_MANY_REQUESTS, MAX_CLOCK_SKEW_S + 1)
        if len(self._forget_at_s) >= _MAX_PROOFS:
            raise CodedError(ErrorCode.NOT_READY, "too many requests in this minute")
        self._forget_at_s[name] = proof.iat + MAX_CLOCK_SKEW_S + 1
        self._of_device[proof.iss] += 1

    def _forget(self, now_s: int) -> None:
        """Drop what can no longer be accepted; skewed entries only wait for those before them."""
        while self._forget_at_s:
            name = next(iter(self._forget_at_s))
            if self._forget_at_s[name] > now_s:
                return
            del self._forget_at_s[name]
            self._of_device[name[0]] -= 1
            if not self._of_device[name[0]]:
                del self._of_device[name[0]]
