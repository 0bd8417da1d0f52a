"""What this phone's jacks are still to be told: removals that came while they were out of reach."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from cigarjack.client import JackClient
from phone_agent.wallet import Wallet
from twochannel.protocol.errors import CodedError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Owed:
    """Kept in the wallet until the jack has answered, whatever it answers."""

    wallet: Wallet

    def anything(self, jack: str) -> bool:
        """Whether the jack is still to be told something."""
        return bool(self.wallet.owed(jack))

    async def tell(self, jack: str, client: JackClient) -> None:
        """Tell the jack, the oldest first. Raises JackClientError: what is left stays owed."""
        for removal, compact in self.wallet.owed(jack):
            try:
                await client.remove_member(compact)
            except CodedError as error:
                _log.warning("removal_refused", extra={"jack": jack, "reason": str(error)})
            self.wallet.pay_off(jack, removal)
