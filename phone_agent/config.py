"""Settings of the phone (``<state>/config.toml``, ``PHONE_AGENT_*``, flags)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from twochannel.keystore.port import FILE
from twochannel.settings import AgentSettings
from twochannel.supervisor import PATIENCE_S


class PhoneSettings(AgentSettings):
    """``interfaces``: addresses of the interfaces on which jacks are looked for; empty: all.

    ``radio``: the Bluetooth adapter for jacks that Wi-Fi does not reach; None: Wi-Fi alone.
    ``radio_patience_s``: for how long systemd is told that all is well although that radio is not.
    ``prompt_s``: how long a question to the owner stays open, at most until its challenge
    expires. ``page_port``: of the owner's pages, on loopback; 0: a free one, the same after a
    restart if it still is. ``keys``: where the signing key is: "file", or a pkcs11: URI
    (docs/keys.md). The server and the jacks are not settings: they are pinned in the wallet.
    """

    interfaces: tuple[str, ...] = ()
    radio: str | None = None
    radio_patience_s: Annotated[float, Field(ge=0, le=3600)] = PATIENCE_S
    prompt_s: Annotated[float, Field(gt=0, le=300)] = 60.0
    page_port: Annotated[int, Field(ge=0, le=65535)] = 0
    keys: str = FILE
    log_level: str = "INFO"

    @field_validator("interfaces", mode="before")
    @classmethod
    def _separated(cls, value: object) -> object:
        """An environment variable lists them with commas."""
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value
