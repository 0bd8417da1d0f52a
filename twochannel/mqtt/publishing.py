"""Publishes what the settings ask for."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from twochannel.broker_address import BrokerAddress
from twochannel.settings import AgentSettings, SettingsError
from twochannel.trace import Trace

if TYPE_CHECKING:
    from twochannel.mqtt.publisher import Broker


@asynccontextmanager
async def publishing(settings: AgentSettings, trace: Trace) -> AsyncIterator[None]:
    """Publish what ``trace`` is told from now on while the block runs, if a broker is set.

    Raises SettingsError without the library for it, or if a file cannot be used.
    """
    if not settings.mqtt:
        yield
        return
    try:
        from twochannel.mqtt.publisher import Publisher
    except ImportError:
        raise SettingsError(
            'mqtt is set and the library for it is missing; run: pip install "cigarjack[mqtt]"'
        ) from None
    name = settings.mqtt_name or socket.gethostname()
    publisher = Publisher(_broker(settings), trace.party, name)
    trace.listen(publisher.take)
    async with publisher.running():
        yield


def _broker(settings: AgentSettings) -> Broker:
    from twochannel.mqtt.publisher import Broker

    address = BrokerAddress.parse(settings.mqtt)
    return Broker(
        address,
        _password(settings.mqtt_password_file),
        _tls(settings.mqtt_ca) if address.tls else None,
    )


def _password(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"mqtt_password_file: {file} cannot be read ({error})") from None


def _tls(ca: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"mqtt_ca: {ca} has no certificates in PEM ({error})") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
