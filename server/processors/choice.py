"""The processor that the settings name. What only one of them needs is loaded for that one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from server.config import ServerSettings
from server.processors.port import Processor
from twochannel.settings import SettingsError


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
    try:
        from server.processors.stripe import StripeProcessor
    except ImportError:
        raise SettingsError(
            'the library of Stripe is missing; run: pip install "cigarjack[stripe]"'
        ) from None
    stripe = StripeProcessor(
        settings.stripe_secret(), url=settings.stripe_url, timeout_s=settings.processor_timeout_s
    )
    try:
        yield stripe
    finally:
        await stripe.close()
