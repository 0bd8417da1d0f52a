"""What browsers on other machines are shown: the owner's certificate, or one that is made here."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from phone_agent.config import PhoneSettings
from twochannel import tls
from twochannel.keystore.file import FileKeyStore, write_private
from twochannel.keystore.port import KeyUse
from twochannel.keystore.stores import ensure

_KEY: Final = "page"


def certificate_shown(state: Path, settings: PhoneSettings) -> tls.Shown | None:
    """None on loopback, where there is nobody to hide from. Raises KeyStoreError, OSError."""
    if settings.page_is_near:
        return None
    if settings.page_certificate and settings.page_key:
        return tls.shown_from_files(settings.page_certificate, settings.page_key)
    return _own(state, settings.page_host)


def _own(state: Path, address: str) -> tls.Shown:
    """Made when it is first needed. One for each address, so that a browser that has been told to
    trust it is not asked again when the phone comes back to a network."""
    files = FileKeyStore(state / "keys")
    ensure(files, _KEY, KeyUse.SIGNING)
    key = files.private_key(_KEY)
    path = state / "keys" / f"page-{address.replace(':', '-')}.der"
    if not path.exists():
        made = tls.make_certificate(key, "phone-agent page", secrets.randbits(127) | 1, address)
        write_private(path, made)
    certificate = path.read_bytes()
    return tls.Shown(tls.server_context(certificate, key), tls.fingerprint(certificate))
