"""The lane page of a terminal in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from payment_device.forecourt import Forecourt
from payment_device.lane_page import LanePage, serving_pages
from tests.page_client import a_browser, opened
from tests.payment_device.lane import Bench
from tests.payment_device.scripted_server import LANE, MERCHANT
from twochannel.pages.door import Doorway
from twochannel.trace import Trace
from twochannel.trial_notes import TrialNotes

#: The trace with what is noted on the page.
NOTES = "notes.jsonl"


def status_of(lane: Bench) -> dict[str, Any]:
    return {
        "lane": LANE,
        "merchant": MERCHANT,
        "terminal": "kid",
        "server_reachable": True,
        "radio_problem": lane.radio.problem,
        "radio_working": lane.radio.working,
        "jacks_heard": len(lane.radio.nearby()),
        "payment": lane.terminal.at_the_lane(),
        "version": "0",
    }


@asynccontextmanager
async def counter_at(
    lane: Bench,
    state: Path,
    currencies: tuple[str, ...] = ("EUR",),
    forecourt: Forecourt | None = None,
) -> AsyncIterator[Doorway]:
    """The door of the lane page while the block runs."""
    with Trace("terminal", state / NOTES, boot="boot") as trace:
        notes = TrialNotes(trace, state)
        page = LanePage(
            lane.terminal, lane.radio, lambda: status_of(lane), currencies, notes, forecourt
        )
        async with serving_pages(page, lane.changes, state, 0) as doorway:
            yield doorway


@asynccontextmanager
async def attendant_at(
    lane: Bench,
    state: Path,
    currencies: tuple[str, ...] = ("EUR",),
    forecourt: Forecourt | None = None,
) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that has been let in."""
    async with counter_at(lane, state, currencies, forecourt) as doorway:
        link = doorway.link()
        async with a_browser(link) as browser:
            await opened(browser, link)
            yield browser
