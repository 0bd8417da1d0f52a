"""Where a token's PIN comes from: a private file or the environment, never the settings.

``pin-source`` is ``/path``, ``file:/path`` or ``env:NAME``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from twochannel.keystore.port import KeyStoreError

_FILE: Final = "file:"
_VARIABLE: Final = "env:"


def read_pin(source: str, environment: Mapping[str, str]) -> str:
    """The PIN, without the end of its line. Raises KeyStoreError, which never tells it."""
    if source.startswith(_VARIABLE):
        name = source.removeprefix(_VARIABLE)
        pin = environment.get(name, "")
        if not pin:
            raise KeyStoreError(f"the environment variable {name} holds no PIN; set it")
        return pin
    path = Path(source.removeprefix(_FILE))
    if not path.is_absolute():
        raise KeyStoreError("pin-source must be an absolute path, file:/path or env:NAME")
    return _from_file(path)


def _from_file(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            raise KeyStoreError(f"others may read the PIN in {path}; run: chmod 600 {path}")
        pin = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise KeyStoreError(f"cannot read the PIN in {path}: {reason}") from None
    if not pin:
        raise KeyStoreError(f"{path} holds no PIN; write the token's user PIN into it")
    return pin
