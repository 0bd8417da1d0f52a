"""The running server's signing keys: which one signs now, which are announced or still believed.

The operator announces the next key in the state folder (``cigarjack-server keys rotate``). A
running server takes it up from there, and signs with it from the moment that the succession names.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from server.issuer import Issuer
from server.state import StateFolder
from twochannel.keystore.port import KeyStoreError
from twochannel.protocol.errors import StatementError
from twochannel.protocol.succession import Lineage, ServerKey
from twochannel.settings import SettingsError
from twochannel.state_folder import StateFolderError

#: How soon an announced key is told to devices, and used once it begins.
_LOOK_EVERY_S: Final = 1.0
_log = logging.getLogger(__name__)


class Reign:
    """``issuer`` is the one that everybody signs with; its signer is replaced here."""

    def __init__(self, folder: StateFolder, issuer: Issuer, now_ms: Callable[[], int]) -> None:
        """Raises StateFolderError, StatementError."""
        self._folder = folder
        self._issuer = issuer
        self._now_ms = now_ms
        self._changed_ns = self._changed()
        self.lineage: Lineage = folder.lineage()

    @property
    def current(self) -> ServerKey:
        """The key that signs now."""
        return self.lineage.signer(self._issuer.signer.key.kid)

    @property
    def successions(self) -> int:
        """How many have been announced: devices that know fewer ask for them."""
        return len(self.lineage.keys) - 1

    def believed(self) -> list[ServerKey]:
        """The keys by which devices verify now, announced ones too."""
        now_s = self._now_ms() // 1000
        return [each for each in self.lineage.keys if each.ends_s is None or now_s < each.ends_s]

    async def run(self) -> None:
        """Keep in step with the folder and the time, until cancelled."""
        told = ""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            reason = ""
            try:
                await asyncio.to_thread(self._look)
            except (
                KeyStoreError,
                OSError,
                SettingsError,
                StateFolderError,
                StatementError,
            ) as error:
                # What it signed with before is still right; the operator sees it in the log.
                reason = str(error)
            if reason not in ("", told):
                _log.error("succession_not_taken", extra={"reason": reason})
            told = reason

    def _look(self) -> None:
        changed_ns = self._changed()
        if changed_ns != self._changed_ns:
            self.lineage = self._folder.lineage()
            self._changed_ns = changed_ns
            _log.info("succession_announced", extra={"key": self.lineage.newest.key.kid})
        kid = self.lineage.signing(self._now_ms() // 1000).key.kid
        if kid != self._issuer.signer.key.kid:
            self._issuer.signer = self._folder.signer(self.lineage, kid)
            _log.info("key_begun", extra={"key": kid})

    def _changed(self) -> int:
        try:
            return self._folder.successions_file.stat().st_mtime_ns
        except FileNotFoundError:
            return 0
