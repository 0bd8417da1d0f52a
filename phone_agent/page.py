"""The owner's pages: what is behind their door, and where their memory is kept."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from starlette.routing import BaseRoute

from phone_agent.approval_page import ApprovalPage
from phone_agent.cards_page import CardsPage
from phone_agent.changes import QuestionChanges
from phone_agent.database import Database, put_fact
from phone_agent.settings_pages import PHOTOGRAPH, SettingsPages
from phone_agent.situation import PagedAgent, situation
from twochannel.pages.door import Doorway
from twochannel.pages.memory import Remembering
from twochannel.pages.rendering import Pages
from twochannel.pages.site import Site, serving
from twochannel.serving import Address
from twochannel.tls import Shown

_TEMPLATES: Final = Path(__file__).with_name("templates")
_FACT: Final = "page"


def serving_pages(
    agent: PagedAgent, database: Database, address: Address, shown: Shown | None
) -> AbstractAsyncContextManager[Doorway]:
    """Serve the pages while the block runs: on loopback, or with a certificate to other machines.

    Port 0: the last one, or any. Raises OSError if the address cannot be had.
    """

    def keep(text: str) -> None:
        with database.transaction() as db:
            put_fact(db, _FACT, text)

    def routes(doorway: Doorway, pages: Pages) -> list[BaseRoute]:
        parts = ApprovalPage(agent, pages), CardsPage(agent, pages), SettingsPages(agent, pages)
        return [route for part in parts for route in part.routes(doorway)]

    changes = QuestionChanges()
    agent.approvals.show_on(changes)
    site = Site(
        _TEMPLATES,
        "phone-agent page",
        changes,
        lambda: situation(agent),
        routes,
        uploads=frozenset({PHOTOGRAPH}),
    )
    return serving(site, Remembering.recall(database.fact(_FACT), "phone", keep), address, shown)
