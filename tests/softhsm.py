"""Tokens in software for tests: SoftHSM, with a folder of its own for each test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import pkcs11

from twochannel.keystore.token_session import module_at

T = TypeVar("T")

#: Where Debian's package softhsm2 puts its library; other systems may name another place.
MODULE: Final = Path(os.environ.get("SOFTHSM2_MODULE", "/usr/lib/softhsm/libsofthsm2.so"))
PIN: Final = "7-of-spades"
_SO_PIN: Final = "queen-of-hearts"


class SoftHsm:
    """A folder of tokens. ``environment``: what a process needs in order to find them."""

    def __init__(self, folder: Path) -> None:
        self.tokens = folder / "tokens"
        self.tokens.mkdir(parents=True)
        self.pin_file = folder / "pin"
        self.pin_file.touch(mode=0o600)
        self.pin_file.write_text(f"{PIN}\n", encoding="utf-8")
        self._configuration = folder / "softhsm2.conf"
        self._configuration.write_text(
            f"directories.tokendir = {self.tokens}\nobjectstore.backend = file\n", encoding="utf-8"
        )
        self.environment = os.environ | {"SOFTHSM2_CONF": str(self._configuration)}

    def make_token(self, label: str) -> None:
        """Make a fresh token. To be done before this process first asks for tokens."""
        pins = ["--pin", PIN, "--so-pin", _SO_PIN]
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", label, *pins],
            env=self.environment,
            check=True,
            capture_output=True,
        )

    def limit_to(self, *mechanisms: str) -> None:
        """Let tokens know these alone. To be done before this process first asks for them."""
        with self._configuration.open("a", encoding="utf-8") as configuration:
            configuration.write(f"slots.mechanisms = {','.join(mechanisms)}\n")

    def uri(self, label: str, *, key_prefix: str | None = None, pin: str | None = None) -> str:
        """The pkcs11: URI of a token; ``pin``: its source, if it is not the PIN file."""
        path = f"token={quote(label)}" + (f";object={key_prefix}" if key_prefix else "")
        return f"pkcs11:{path}?module-path={MODULE}&pin-source={pin or quote(str(self.pin_file))}"

    def run(self, action: Callable[[Any], T]) -> T:
        """``action`` on the library, past the store, in the thread where alone it is called."""
        return module_at(str(MODULE)).run(lambda: action(pkcs11.lib(str(MODULE))))

    @contextmanager
    def unplugged(self) -> Iterator[None]:
        """Take every token away for a while."""
        away = self.tokens.with_name("away")
        self.tokens.rename(away)
        try:
            yield
        finally:
            away.rename(self.tokens)
