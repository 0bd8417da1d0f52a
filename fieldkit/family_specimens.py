"""A specimen of the owner's invitation, whose secret is no secret."""

from __future__ import annotations

import hashlib
from typing import Final

from twochannel.protocol.instructions import MemberInvitation
from twochannel.protocol.keys import Jwk
from twochannel.protocol.wire import base64url

_SECRET: Final = b"AAECAwQFBgcICQoLDA0ODw"


def an_invitation(statement_id: str, phone: str, jack: str, key: Jwk) -> MemberInvitation:
    """An invitation by ``phone``, whose ``key`` it is, at ``jack``."""
    return MemberInvitation(
        iss=phone,
        aud=jack,
        jti=statement_id,
        key=key,
        epoch=1,
        secret_sha256=base64url(hashlib.sha256(_SECRET).digest()),
    )
