"""A browser without a window: pages at loopback, under the name that only their link tells."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx


@asynccontextmanager
async def a_browser(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """At loopback, under the name of the link: the resolver here need not know ``.localhost``."""
    found = re.fullmatch(r"http://([\w.-]+):(\d+)(/.*)", url)
    assert found
    origin = f"http://{found[1]}:{found[2]}"
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{found[2]}",
        headers={"host": f"{found[1]}:{found[2]}", "origin": origin},
        timeout=15,
    ) as browser:
        yield browser


async def opened(browser: httpx.AsyncClient, url: str) -> None:
    """httpx keeps cookies by the address, which is not the name."""
    answer = await browser.get("/open/" + url.rpartition("/")[2])
    assert answer.status_code == 303
    browser.headers["cookie"] = answer.headers["set-cookie"].partition(";")[0]


def token_in(page: str) -> str:
    return field_in(page, "token")


def field_in(page: str, name: str) -> str:
    """The value of the first hidden field of that name."""
    found = re.search(rf'name="{name}" value="([^"]+)"', page)
    assert found
    return found[1]
