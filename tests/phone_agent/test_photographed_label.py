"""Pairing by a photograph of the label on the page: with a real jack, and what is no label."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from playwright.async_api import expect

from phone_agent.label_picture import MAX_BYTES, NO_CODE, NOT_A_PICTURE, TOO_LARGE
from tests.browser import chromium, judged
from tests.browser import opened as opened_window
from tests.cigarjack.parties import Jack, served
from tests.page_client import a_browser, opened, token_in
from tests.phone_agent.owners_phone import OwnersPhone
from tests.phone_agent.photographs import encoded, photograph, table

PHOTOGRAPH = "/jack/photograph"


async def link(phone: OwnersPhone) -> str:
    return str((await phone.command("POST", "/v1/page"))["url"])


@asynccontextmanager
async def let_in(phone: OwnersPhone) -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, str]]]:
    """A browser on the page, and the token of its forms."""
    async with phone.running(), a_browser(await link(phone)) as browser:
        await opened(browser, await link(phone))
        yield browser, {"token": token_in((await browser.get("/jack")).text)}


@pytest.mark.chromium
async def test_a_jack_is_paired_by_a_photograph_of_its_label(
    jack: Jack, phone: OwnersPhone, tmp_path: Path
) -> None:
    async with served(jack) as (services, _), phone.running(), chromium() as browser:
        label = str(await services.open_pairing())
        picture, empty = tmp_path / "label.jpg", tmp_path / "table.jpg"
        picture.write_bytes(photograph(label))
        empty.write_bytes(encoded(table()))
        # Nothing in it needs a script.
        async with opened_window(browser, await link(phone), java_script_enabled=False) as page:
            await page.get_by_role("link", name="Jack", exact=True).click()
            chooser = page.get_by_label("Or photograph the QR code of its label")
            assert await chooser.get_attribute("capture") == "environment"
            pair = page.get_by_role("button", name="Pair by this picture")
            await chooser.set_input_files(empty)
            await pair.click()
            await expect(page.get_by_role("alert")).to_have_text(NO_CODE)
            await chooser.set_input_files(picture)
            await pair.click()
            await expect(page.locator("#pairing")).to_be_visible()
        async with opened_window(browser, await link(phone)) as page:
            await page.get_by_role("link", name="Jack", exact=True).click()
            await expect(page.get_by_text("Paired.")).to_be_visible()
            await judged(page, "paired by a photograph")
    owner = jack.memory.pairing_state().owner
    assert owner is not None
    assert owner.phone == phone.id


async def test_a_picture_that_is_too_large_is_told_in_plain_words(phone: OwnersPhone) -> None:
    async with let_in(phone) as (browser, token):
        for size in (MAX_BYTES + 1, 2 * MAX_BYTES):
            files = {"picture": bytes(size)}
            answer = await browser.post(PHOTOGRAPH, data=token, files=files)
            assert answer.status_code == 413
            assert TOO_LARGE in answer.text
            assert "Pair a jack" in answer.text
        # As large as may be, it is looked at.
        answer = await browser.post(PHOTOGRAPH, data=token, files={"picture": bytes(MAX_BYTES)})
        assert (answer.status_code, NOT_A_PICTURE in answer.text) == (400, True)


async def test_without_a_picture_nothing_is_lost(phone: OwnersPhone) -> None:
    async with let_in(phone) as (browser, token):
        for files in ({"picture": b""}, {"other": ("name", b"")}):
            answer = await browser.post(PHOTOGRAPH, data=token, files=files)
            assert (answer.status_code, NOT_A_PICTURE in answer.text) == (400, True)
        kind = {"content-type": "multipart/form-data; boundary=x"}
        for body, headers in ((b"no form", kind), (b"x", {"content-type": "multipart/form-data"})):
            answer = await browser.post(PHOTOGRAPH, content=body, headers=headers)
            assert answer.status_code in {400, 403}


async def test_pictures_of_others_are_not_looked_at(phone: OwnersPhone) -> None:
    async with let_in(phone) as (browser, token):
        picture = {"picture": photograph("CJ1:")}
        for form, headers in (
            (token, {"origin": "https://shop.example"}),
            ({"token": "guess"}, {}),
        ):
            answer = await browser.post(PHOTOGRAPH, data=form, files=picture, headers=headers)
            assert answer.status_code == 403
        # Whoever is not let in is answered before a byte of the picture is read.
        head = f"POST {PHOTOGRAPH} HTTP/1.1\r\nhost: {browser.headers['host']}\r\n"
        port = browser.base_url.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{head}content-length: {MAX_BYTES}\r\n\r\n".encode())
        assert b" 401 " in await asyncio.wait_for(reader.readline(), 15)
        writer.close()
        await writer.wait_closed()


async def test_without_the_extra_it_is_not_offered(
    phone: OwnersPhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zxingcpp", None)
    async with let_in(phone) as (browser, token):
        assert "photograph" not in (await browser.get("/jack")).text
        answer = await browser.post(PHOTOGRAPH, data=token, files={"picture": b"x"})
        assert answer.status_code == 404
