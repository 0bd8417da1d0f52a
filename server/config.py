"""Settings of the server (``<state>/config.toml``, ``CIGARJACK_SERVER_*``, flags)."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from server.processors.port import STRIPE_URL
from server.store import check_url, database_url
from twochannel.keystore.port import FILE
from twochannel.protocol.beacon import DEFAULT_ROTATION_EXPONENT, MAX_ROTATION_EXPONENT
from twochannel.protocol.limits import (
    MAX_DENIALS,
    MAX_FAILED_CONFIRMATIONS,
    MAX_FAILED_ENROLMENTS,
    MAX_FAILED_LOGINS,
    MAX_PROMPTS,
    MAX_UNKNOWN_CODES,
)
from twochannel.settings import AgentSettings, SettingsError

PREFIX: Final = "CIGARJACK_SERVER"
CONFIG_NAME: Final = "config.toml"


def _checked(database: str) -> str:
    return check_url(database) if database else database


def _networks(proxies: str) -> str:
    for proxy in filter(None, (part.strip() for part in proxies.split(","))):
        try:
            ip_network(proxy)
        except ValueError:
            raise ValueError(f"{proxy} is neither an address nor a network") from None
    return proxies


class ServerSettings(AgentSettings):
    """What an operator may set. ``port`` 0 takes any free one.

    ``database``: ``sqlite:///<path>`` or ``postgresql+psycopg://<user>:<password>@<host>/<name>``
    (docs/scaling.md); empty for a file in the state folder.
    ``processor``: who charges; "stripe" needs its secret key, in ``stripe_key`` or alone in the
    file ``stripe_key_file``, and for its webhooks their secret likewise (docs/processors.md).
    ``processor_timeout_s``: after it a call of the processor counts as lost. ``processor_hang_s``:
    how long the simulated processor hangs for ``tok_hang``. ``keys``: where the signing and the
    beacon key are: "file", or a pkcs11: URI (docs/keys.md); ``beacon_keys``: where the beacon key
    is instead. ``webhook_timeout_s``: after it a merchant's server has not answered;
    ``webhook_loopback``: whether it may be on this machine, also without TLS; ``webhook_ca``: a
    file of certificates to trust there besides the machine's own (PEM). ``keep_days``: after
    so many days what phones and merchants were told is forgotten, 0: never; ``connections``: at
    once, and every phone holds one for its events; ``tls``: false behind a
    proxy that has the server's certificate; ``trusted_proxies``: addresses and networks, with
    commas, whose X-Forwarded-For is believed; ``drain_s``: how long it goes on after SIGTERM while
    /readyz says that it stops; ``metrics_port``: for Prometheus, of none unless it is set;
    ``dashboard_port``: of the dashboard, of none unless it is set; ``failed_logins``: of a name and
    of an address, within ten minutes (docs/dashboard.md);
    ``request_log``: one line for each request. ``…_per_…``: how often something may be done in its
    window (docs/protocol.md, Limits). docs/operations.md says more.
    """

    name: Annotated[str, StringConstraints(min_length=1, max_length=64)] = "cigarjack-server"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8443
    database: Annotated[str, AfterValidator(_checked)] = ""
    rotation_exponent: Annotated[int, Field(ge=0, le=MAX_ROTATION_EXPONENT)] = (
        DEFAULT_ROTATION_EXPONENT
    )
    processor: Literal["simulated", "stripe"] = "simulated"
    stripe_key: SecretStr | None = None
    stripe_key_file: Path | None = None
    stripe_webhook_secret: SecretStr | None = None
    stripe_webhook_secret_file: Path | None = None
    stripe_url: str = STRIPE_URL
    processor_timeout_s: Annotated[float, Field(gt=0, le=120)] = 10.0
    processor_hang_s: Annotated[float, Field(ge=0, le=600)] = 30.0
    keys: str = FILE
    beacon_keys: str | None = None
    prompts_per_jack: Annotated[int, Field(ge=1)] = MAX_PROMPTS
    denials_per_terminal: Annotated[int, Field(ge=1)] = MAX_DENIALS
    unknown_codes_per_terminal: Annotated[int, Field(ge=1)] = MAX_UNKNOWN_CODES
    failed_confirmations_per_phone: Annotated[int, Field(ge=1)] = MAX_FAILED_CONFIRMATIONS
    failed_enrolments_per_address: Annotated[int, Field(ge=1)] = MAX_FAILED_ENROLMENTS
    webhook_timeout_s: Annotated[float, Field(gt=0, le=60)] = 10.0
    webhook_loopback: bool = False
    webhook_ca: Path | None = None
    keep_days: Annotated[int, Field(ge=0, le=36_500)] = 90
    connections: Annotated[int, Field(ge=16, le=1_000_000)] = 4096
    tls: bool = True
    trusted_proxies: Annotated[str, AfterValidator(_networks)] = ""
    drain_s: Annotated[float, Field(ge=0, le=600)] = 0.0
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    dashboard_host: str = "127.0.0.1"
    dashboard_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    failed_logins: Annotated[int, Field(ge=1)] = MAX_FAILED_LOGINS
    request_log: bool = False
    log_format: Literal["json", "plain"] = "json"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    def database_at(self, state: Path) -> str:
        """The URL of the database."""
        return self.database or database_url(state)

    def stripe_secret(self) -> str:
        """The key to Stripe. Raises SettingsError."""
        key = _secret(self.stripe_key, self.stripe_key_file)
        if not key:
            raise SettingsError(
                "the processor is Stripe and its key is missing; put the key alone into a file and"
                f' stripe_key_file = "/the/file" into {CONFIG_NAME}, or set {PREFIX}_STRIPE_KEY'
            )
        return key

    def stripe_webhook_key(self) -> str | None:
        """What Stripe signs its webhooks with; None: none are taken. Raises SettingsError."""
        return _secret(self.stripe_webhook_secret, self.stripe_webhook_secret_file)


def _secret(given: SecretStr | None, file: Path | None) -> str | None:
    """Raises SettingsError."""
    if given is not None:
        return given.get_secret_value()
    try:
        return file.read_text(encoding="utf-8").strip() if file is not None else None
    except OSError as error:
        raise SettingsError(
            f"{file} cannot be read: {error.strerror}; put the secret alone into it"
        ) from None
