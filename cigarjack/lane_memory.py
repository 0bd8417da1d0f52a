"""PURE. The lane nonces that the jack heard in the last minute (docs/protocol.md, Presence).

The memory is bounded. When it is full, the nonce whose last hearing is longest ago goes. A lane
repeats its frame every 20 ms until the payment is over, so its nonce is always among the latest;
to push it out, somebody would have to get 4096 other frames through between two of its own, more
than ten times what the three advertising channels carry.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from twochannel.protocol.lane import lane_digest
from twochannel.protocol.limits import LANE_NONCE_MEMORY_S

#: About 1 MB of Python objects.
MAX_NONCES: Final = 4096


@dataclass(frozen=True, slots=True)
class _Heard:
    nonce: bytes
    digest: str
    last_s: float


class LaneMemory:
    """Nonces by digest; a nonce counts as heard for 60 s after its last hearing."""

    def __init__(self) -> None:
        self._by_nonce: OrderedDict[bytes, _Heard] = OrderedDict()
        self._by_digest: dict[str, bytes] = {}

    def __len__(self) -> int:
        return len(self._by_nonce)

    def remember(self, nonce: bytes, now_s: float) -> str | None:
        """Note a hearing. The nonce's digest if it is new, None if it was known."""
        self._forget(now_s)
        known = self._by_nonce.pop(nonce, None)
        digest = known.digest if known else lane_digest(nonce)
        self._by_nonce[nonce] = _Heard(nonce, digest, now_s)
        self._by_digest[digest] = nonce
        if len(self._by_nonce) > MAX_NONCES:
            self._drop_oldest()
        return None if known else digest

    def find(self, digest: str, now_s: float) -> bytes | None:
        """The nonce with this digest, if it was heard in the last minute."""
        self._forget(now_s)
        return self._by_digest.get(digest)

    def _forget(self, now_s: float) -> None:
        while self._by_nonce:
            oldest = next(iter(self._by_nonce.values()))
            if now_s - oldest.last_s <= LANE_NONCE_MEMORY_S:
                return
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, oldest = self._by_nonce.popitem(last=False)
        del self._by_digest[oldest.digest]
