"""Settings of the phone (``<state>/config.toml``, ``PHONE_AGENT_*``, flags)."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from twochannel.keystore.port import FILE
from twochannel.settings import DeviceSettings
from twochannel.supervisor import PATIENCE_S

#: Where browsers look for ``.localhost``.
_LOOPBACK: Final = ("127.0.0.1", "::1")


def _own_address(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        raise ValueError(f"{host} is no IP address; write one of this machine's") from None
    if address.is_unspecified or address.is_multicast:
        raise ValueError("one address, under which the browser knows the page; not all of them")
    if address.is_loopback and str(address) not in _LOOPBACK:
        raise ValueError(f"of loopback, {' or '.join(_LOOPBACK)}")
    if "%" in host:
        raise ValueError("browsers take no address with the name of an interface")
    return str(address)


class PhoneSettings(DeviceSettings):
    """``interfaces``: addresses of the interfaces on which jacks are looked for; empty: all.

    ``radio``: the Bluetooth adapter for jacks that Wi-Fi does not reach; None: Wi-Fi alone.
    ``radio_patience_s``: for how long systemd is told that all is well although that radio is not.
    ``prompt_s``: how long a question to the owner stays open, at most until its challenge
    expires. ``page_host``: the own address at which the owner's pages are served; if it is not
    loopback, with TLS and a certificate made for it, or the owner's ``page_certificate`` with its
    ``page_key`` (PEM). ``page_port``: theirs; 0: a free one, the same after a restart if it still
    is. ``keys``: where the signing key is: "file", or a pkcs11: URI
    (docs/keys.md). The server and the jacks are not settings: they are pinned in the wallet.
    """

    interfaces: tuple[str, ...] = ()
    radio: str | None = None
    radio_patience_s: Annotated[float, Field(ge=0, le=3600)] = PATIENCE_S
    prompt_s: Annotated[float, Field(gt=0, le=300)] = 60.0
    page_host: Annotated[str, AfterValidator(_own_address)] = "127.0.0.1"
    page_certificate: Path | None = None
    page_key: Path | None = None
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

    @property
    def page_is_near(self) -> bool:
        """Whether the owner's pages are for this machine alone."""
        return self.page_host in _LOOPBACK

    @model_validator(mode="after")
    def _whole_certificate(self) -> Self:
        if (self.page_certificate is None) is not (self.page_key is None):
            raise ValueError("page_certificate and page_key go together; set both or neither")
        if self.page_certificate and self.page_is_near:
            raise ValueError(
                "page_certificate is for a page_host that is not loopback; set that too"
            )
        return self
