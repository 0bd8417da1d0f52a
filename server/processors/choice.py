"""The processor that the settings name. What only one of them needs is loaded for that one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from server.config import ServerSettings
from server.processors.port import Processor
from twochannel.settings import SettingsError

if TYPE_CHECKING:
    from server.processors.stripe_events import StripeEvents


@asynccontextmanager
async def chosen_processor(settings: ServerSettings, books: Path) -> AsyncIterator[Processor]:
    """The processor while the block runs. ``books``: the file of the simulated one.

    Raises SettingsError, OSError, BooksError.
    """
    if settings.processor == "simulated":
        from server.processors.simulated import SimulatedProcessor

        with SimulatedProcessor(books, hang_s=settings.processor_hang_s) as simulated:
            yield simulated
        return
    with installed():
        from server.processors.stripe import StripeProcessor
    stripe = StripeProcessor(
        settings.stripe_secret(), url=settings.stripe_url, timeout_s=settings.processor_timeout_s
    )
    try:
        yield stripe
    finally:
        await stripe.close()


def stripe_events(settings: ServerSettings) -> StripeEvents | None:
    """Reads Stripe's webhooks, if there is a secret for them. Raises SettingsError."""
    secret = settings.stripe_webhook_key()
    if secret is None:
        return None
    with installed():
        from server.processors.stripe_events import StripeEvents
    return StripeEvents(secret)


def check_ready(settings: ServerSettings) -> None:
    """Whatever the processor needs is there. Raises SettingsError."""
    if settings.processor == "stripe":
        with installed():
            import server.processors.stripe  # noqa: F401
        settings.stripe_secret()
    stripe_events(settings)


@contextmanager
def installed() -> Iterator[None]:
    """Around imports of what needs Stripe's library. Raises SettingsError."""
    try:
        yield
    except ImportError:
        raise SettingsError(
            'the library of Stripe is missing; run: pip install "cigarjack[stripe]"'
        ) from None
