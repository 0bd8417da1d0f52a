"""The worked example's report as it is seen: on a desk, on a phone, on paper."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Page, ViewportSize

from fieldkit.trials.archive import Trial
from fieldkit.trials.comparison import compare
from fieldkit.trials.figures import Figures, figures
from fieldkit.trials.scenario import SCENARIOS_FOLDER
from fieldkit.trials.timeline import lay_out
from fieldkit.trials.trial_page import About, render
from tests.browser import chromium, opened

PHONE: Final = ViewportSize(width=390, height=844)
#: A4 at 96 dots per inch, less the printer's margins.
PAPER: Final = ViewportSize(width=718, height=1047)
#: Elements with a text of their own that nobody can see, among those that a selector finds.
_HIDDEN: Final = """(all) => all
  .filter((each) => each.textContent.trim())
  .filter((each) => {
    const box = each.getBoundingClientRect();
    const drawn = each.checkVisibility({contentVisibilityAuto: true, visibilityProperty: true});
    return !drawn || !box.width || !box.height;
  })
  .map((each) => each.textContent)"""

#: Tables and what of them lies outside their box, where nobody sees it without moving it.
_CUT_OFF: Final = """() => [...document.querySelectorAll(".sheet")].flatMap((box) => {
  const right = box.getBoundingClientRect().right + 1;
  return [...box.querySelectorAll("th, td")]
    .filter((cell) => cell.checkVisibility() && cell.getBoundingClientRect().right > right)
    .map((cell) => `${box.ariaLabel}: ${cell.textContent}`);
})"""

#: Place, jack and colour of whatever is about a jack among the lanes.
_COLORS: Final = """() => [...document.querySelectorAll(".lane-of")].flatMap((lane) => [
  ...[...lane.querySelectorAll(".key li.dot")].map((each) => [
    "key", each.textContent.split(",")[0], getComputedStyle(each, "::before").backgroundColor]),
  ...[...lane.querySelectorAll("i[data-jack]")].map((each) => {
    const style = getComputedStyle(each);
    return [each.closest(".strip").querySelector("b").textContent, each.dataset.jack,
      each.className === "jack" ? style.backgroundColor : style.borderBottomColor];
  })])"""


@pytest.fixture(scope="module")
def example() -> Figures:
    trial = Trial.open(SCENARIOS_FOLDER / "example.trial")
    return figures(trial.name, lay_out(trial), 700.0, trial.truth)


@pytest.fixture(scope="module")
def file(example: Figures, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("example") / "example.html"
    made.write_text(
        render(example, About("today", "0.1.0"), compare(example, example)), encoding="utf-8"
    )
    return made


@asynccontextmanager
async def on_phone(file: Path) -> AsyncIterator[Page]:
    async with chromium() as browser, opened(browser, file.as_uri()) as page:
        await page.set_viewport_size(PHONE)
        yield page


@asynccontextmanager
async def on_paper(file: Path) -> AsyncIterator[Page]:
    async with chromium() as browser, opened(browser, file.as_uri()) as page:
        await page.set_viewport_size(PAPER)
        await page.emulate_media(media="print")
        yield page


async def hidden(page: Page, selector: str) -> list[str]:
    """Texts that are there and not seen; it must find some elements to be asked about."""
    found = page.locator(selector)
    assert await found.count() > 0, selector
    texts: list[str] = await found.evaluate_all(_HIDDEN)
    return texts


def test_the_page_says_once_what_its_signs_mean(file: Path) -> None:
    page = file.read_text(encoding="utf-8")
    assert page.count("may have come before something that is listed above it") == 1
    assert page.count('<b class="unsure">≈</b>') > 5


def test_what_befell_an_agent_and_what_was_played_have_no_order_within_milliseconds(
    file: Path,
) -> None:
    rows = file.read_text(encoding="utf-8").partition('id="incidents"')[2].split("<tr>")
    played = next(n for n, row in enumerate(rows) if "clock stepped, as played" in row)
    assert "wall clock set back by 75.000 s" in rows[played + 1]
    assert "≈" in rows[played + 1]


@pytest.mark.chromium
async def test_a_phone_shows_how_well_each_time_is_known(file: Path) -> None:
    async with on_phone(file) as page:
        assert await hidden(page, ".trouble details[open] .pm, #incidents ~ .sheet .pm") == []


@pytest.mark.chromium
async def test_paper_shows_how_well_each_time_is_known(file: Path) -> None:
    async with on_paper(file) as page:
        assert await hidden(page, ".noted .pm, #incidents ~ .sheet .pm") == []


@pytest.mark.chromium
@pytest.mark.parametrize("width", [360, 390, 430])
async def test_no_column_of_a_table_is_cut_off_on_a_phone(file: Path, width: int) -> None:
    async with on_phone(file) as page:
        await page.set_viewport_size({"width": width, "height": 844})
        assert await hidden(page, "#legs ~ .sheet th:nth-child(7)") == [], "the physical floor"
        assert await page.evaluate(_CUT_OFF) == []


@pytest.mark.chromium
async def test_paper_shows_every_waterfall_and_all_columns(file: Path, example: Figures) -> None:
    async with on_paper(file) as page:
        drawn = page.locator(".every .swim")
        assert await drawn.count() == len(example.judged)
        assert [await one.is_visible() for one in await drawn.all()] == [True] * len(example.judged)
        assert await hidden(page, ".every .swim .lane, .every .legs dd, .sheet th, .sheet td") == []
        assert await page.evaluate(_CUT_OFF) == []
        wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await page.evaluate(wider) == 0


@pytest.mark.chromium
async def test_a_waterfall_is_on_one_sheet_of_paper(file: Path) -> None:
    async with on_paper(file) as page:
        all_of_it = page.locator(".every > details")
        for one in await all_of_it.all():
            box = await one.bounding_box()
            assert box is not None
            assert 200 < box["height"] < PAPER["height"]
            assert await one.evaluate("each => getComputedStyle(each).breakInside") == "avoid"


@pytest.mark.chromium
async def test_a_jack_has_one_colour_at_every_lane_and_a_key_names_it(file: Path) -> None:
    async with on_phone(file) as page:
        found = await page.evaluate(_COLORS)
    assert {jack for _, jack, _ in found} == {"mina-jack", "joon-jack"}
    colors = {jack: {color for _, other, color in found if other == jack} for _, jack, _ in found}
    assert all(len(of_jack) == 1 for of_jack in colors.values()), colors
    assert colors["mina-jack"] != colors["joon-jack"]
    shown = {(place, jack) for place, jack, _ in found}
    assert {place for place, _ in shown} == {"key", "lane", "asked", "truth"}
    assert all((place, "mina-jack") in shown for place in ("key", "lane", "asked", "truth"))
