"""Who gets through the door of an agent's pages: every way in that another page or program has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from twochannel.pages.access import Access, form_token
from twochannel.pages.door import Doorway, Form, PageDoor, form_route, origin
from twochannel.pages.rendering import static_files

ORIGIN = "http://phone-1234.localhost:8460"


@pytest.fixture
def doorway() -> Doorway:
    return Doorway(Access([], lambda _sessions: None), lambda: 1000, ORIGIN)


@pytest.fixture
def taken() -> list[Form]:
    return []


@pytest.fixture
async def browser(doorway: Doorway, taken: list[Form]) -> AsyncIterator[httpx.AsyncClient]:
    async def take(_request: Request, form: Form) -> Response:
        taken.append(form)
        return PlainTextResponse("taken")

    async def home(_request: Request) -> Response:
        return PlainTextResponse("home")

    routes = [Route("/", home), static_files(), form_route("/do", doorway, take)]
    door = PageDoor(
        Starlette(routes=routes), doorway, lambda _request: PlainTextResponse("locked", 401)
    )
    transport = httpx.ASGITransport(door)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        yield client


async def let_in(browser: httpx.AsyncClient, doorway: Doorway) -> str:
    """Open a session; its secret."""
    answer = await browser.get(doorway.link())
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    return browser.cookies["session"]


async def send(browser: httpx.AsyncClient, token: str, **headers: str) -> int:
    data = {"token": token, "amount": "5"}
    return (await browser.post("/do", data=data, headers=headers)).status_code


async def test_nobody_without_a_session_sees_anything(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/")
    assert (answer.status_code, answer.text) == (401, "locked")
    assert (await browser.get("/static/page.css")).status_code == 200


async def test_a_link_opens_one_browser_once(browser: httpx.AsyncClient, doorway: Doorway) -> None:
    link = doorway.link()
    answer = await browser.get(link)
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Domain" not in cookie
    assert (await browser.get("/")).text == "home"
    browser.cookies.clear()
    assert (await browser.get(link)).status_code == 401
    assert (await browser.get("/")).status_code == 401


@pytest.mark.parametrize(
    ("method", "headers"), [("HEAD", {}), ("POST", {}), ("GET", {"sec-purpose": "prefetch"})]
)
async def test_a_link_is_not_used_up_by_looking_ahead(
    browser: httpx.AsyncClient, doorway: Doorway, method: str, headers: dict[str, str]
) -> None:
    link = doorway.link()
    assert (await browser.request(method, link, headers=headers)).status_code == 401
    assert (await browser.get(link)).status_code == 303


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:8460", "localhost:8460", ""])
async def test_a_foreign_name_that_leads_here_is_not_answered(
    browser: httpx.AsyncClient, doorway: Doorway, host: str
) -> None:
    session = await let_in(browser, doorway)
    headers = {"host": host, "cookie": f"session={session}"}
    for path in ("/", "/static/page.css", "/open/x"):
        answer = await browser.get(path, headers=headers)
        assert answer.status_code == 421
        assert "home" not in answer.text


async def test_a_form_of_the_page_is_taken(
    browser: httpx.AsyncClient, doorway: Doorway, taken: list[Form]
) -> None:
    token = form_token(await let_in(browser, doorway))
    assert await send(browser, token, origin=ORIGIN) == 200
    assert taken == [{"amount": "5"}]


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin": "null"}, {"origin": "http://phone-1234.localhost:9999"},
     {"origin": "https://phone-1234.localhost:8460"}, {"origin": "http://evil.example"}],
)  # fmt: skip
async def test_a_form_of_another_page_is_not(
    browser: httpx.AsyncClient, doorway: Doorway, taken: list[Form], headers: dict[str, str]
) -> None:
    token = form_token(await let_in(browser, doorway))
    assert await send(browser, token, **headers) == 403
    assert taken == []


@pytest.mark.parametrize("token", ["", "0" * 64, form_token("another session"), "é"])
async def test_a_form_without_the_session_s_token_is_not(
    browser: httpx.AsyncClient, doorway: Doorway, taken: list[Form], token: str
) -> None:
    await let_in(browser, doorway)
    assert await send(browser, token, origin=ORIGIN) == 403
    assert taken == []


async def test_every_answer_forbids_what_the_pages_do_not_use(
    browser: httpx.AsyncClient, doorway: Doorway
) -> None:
    async def headers(path: str, **options: Any) -> httpx.Headers:
        return (await browser.get(path, **options)).headers

    await let_in(browser, doorway)
    for path in ("/", "/static/page.js", "/nowhere", "/open/x"):
        found = await headers(path)
        assert "default-src 'none'" in found["content-security-policy"]
        assert "frame-ancestors 'none'" in found["content-security-policy"]
        assert "unsafe" not in found["content-security-policy"]
        assert found["cache-control"] == "no-store"
        assert found["x-content-type-options"] == "nosniff"


async def test_over_tls_the_cookie_is_for_tls_alone(
    browser: httpx.AsyncClient, doorway: Doorway
) -> None:
    doorway.origin = "https://192.0.2.7:8460"
    browser.base_url = httpx.URL(doorway.origin)
    cookie = (await browser.get(doorway.link())).headers["set-cookie"]
    assert cookie.startswith("__Host-session=")
    assert "; Secure" in cookie
    assert "; Path=/" in cookie
    assert "Domain" not in cookie
    session = browser.cookies["__Host-session"]
    assert (await browser.get("/")).text == "home"
    # What somebody without TLS has put into the browser beforehand counts for nothing.
    browser.cookies.clear()
    assert (await browser.get("/", headers={"cookie": f"session={session}"})).status_code == 401


@pytest.mark.parametrize(
    ("parts", "written"),
    [(("http", "phone-1.localhost", 8460), "http://phone-1.localhost:8460"),
     (("https", "192.0.2.7", 443), "https://192.0.2.7"),
     (("http", "phone-1.localhost", 80), "http://phone-1.localhost"),
     (("https", "2001:db8::7", 80), "https://[2001:db8::7]:80")],
)  # fmt: skip
def test_an_origin_is_as_browsers_write_it(parts: tuple[str, str, int], written: str) -> None:
    assert origin(*parts) == written


async def test_before_there_is_a_port_nobody_is_let_in(
    browser: httpx.AsyncClient, doorway: Doorway
) -> None:
    doorway.origin = ""
    assert (await browser.get("/static/page.css")).status_code == 421
