"""The report of a trial: one file, legible anywhere, judged in a real browser."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fieldkit.drawing import WIDTH
from fieldkit.legs import NAMES
from fieldkit.trials.comparison import Verdict, compare
from fieldkit.trials.figures import Figures, figures
from fieldkit.trials.floors import FLOORS
from fieldkit.trials.lane_plot import lane_plots
from fieldkit.trials.trial_page import About, render
from fieldkit.trials.trial_plots import site_map
from tests.browser import chromium, judged, opened
from tests.fieldkit.trials.machines import NS, Trip
from tests.fieldkit.trials.recordings import MS, laid_out, pay
from tests.fieldkit.trials.test_causes import FAILED, SLOW
from tests.fieldkit.trials.test_figures import payment, truth

ABOUT = About("26 November 2026, 10:00 UTC", "0.1.0")


def day(*, troubled: bool = True) -> Figures:
    """A dozen payments, with all that a report can show."""

    def play(trip: Trip) -> None:
        trip.note("terminal", "trial_started", 80 * NS, trial="saturday")
        truth(trip, 90, "jack-1", present=True)
        for number in range(1, 11):
            at_ns = (200 + number * 20) * NS
            around(trip, at_ns)
            pay(trip, payment=payment(number), at_ns=at_ns, delays_ms={"phone decision": number})
        if troubled:
            SLOW["slow_gatt"][1](trip)
            at_ns = 500 * NS
            pay(trip, payment=payment(11), at_ns=at_ns, until="terminal charge_asked")
            missed_ns = at_ns + NS
            trip.note("terminal", "jack_not_chosen", missed_ns, payment(11), reason="equally_near")
            trip.note("terminal", "radio_lost", 501 * NS, reason="<adapter> gone")
            trip.note("phone", "power", 520 * NS, under_voltage=True)
            trip.note("phone", "server_lost", 540 * NS, wall_ahead_ms=7_200_000)
            trip.note("server", "agent_started", 550 * NS)
        trip.note("terminal", "trial_marked", 560 * NS, trial="saturday", text="rain", truth=None)

    return figures("saturday", laid_out(play), truth={})


def around(trip: Trip, at_ns: int) -> None:
    """A car comes, is heard and found, and is somewhere."""
    for number in range(40):
        heard_ns = at_ns - 2 * NS + number * 100 * MS
        trip.note("terminal", "code_heard", heard_ns, jack="3f2a", rssi_dbm=-80 + number // 2)
    found: dict[str, Any] = {"asked": "shown", "outcome": "chosen", "jack": "3f2a", "reason": None}
    trip.note("terminal", "lane_decision", at_ns - NS, **found)
    trip.note("terminal", "lane_decision", at_ns - NS // 2, **found)
    place: dict[str, Any] = {"lat_deg": 50.1 + at_ns / NS * 1e-5, "lon_deg": 8.6}
    trip.note("jack", "position", at_ns, speed_mps=2.0, accuracy_m=3.0, **place)


@pytest.fixture(scope="module")
def page() -> str:
    found = day()
    return render(found, ABOUT, compare(found, day(troubled=False)))


def test_it_says_first_how_it_went(page: str) -> None:
    assert "<h1>11 of 12 payments succeeded</h1>" in page
    assert "ambiguous lane" in page
    assert "Bluetooth instead of Wi-Fi" in page
    assert "the terminal rightly did not guess: two jacks were about equally near." in page


def test_each_leg_has_its_physical_floor_beside_its_percentiles(page: str) -> None:
    table = page.partition('id="legs"')[2].partition("</table>")[0]
    heads = re.findall(r"<th scope=\"col\"[^>]*>([^<]*)</th>", table)
    assert heads[-2:] == ["physical floor", "made of"]
    cells = {
        leg: re.findall(r"<td[^>]*>([^<]*)</td>", row)
        for leg, row in re.findall(r'<th scope="row">([^<]*)</th>(.*)</tr>', table)
    }
    assert {leg: row[-2] for leg, row in cells.items()} == {
        "heard": "0.0 ms",
        "requested": "—",
        "challenged": "—",
        # 47 bytes at 1 Mbit/s, docs/measurements.md.
        "auth code": "0.4 ms",
        "confirmed": "—",
        "settled": "—",
        "total": "0.4 ms",
    }
    assert "0.5 s, in which 5 adverts arrive, one every 105 ms" in cells["heard"][-1]
    assert "25 ms for each that is lost" in cells["auth code"][-1]
    assert all(len(row) == len(heads) - 1 and row[-1] for row in cells.values())


def test_the_floor_of_the_whole_is_the_sum_of_what_is_known() -> None:
    assert FLOORS["auth_code"].least_ms == 0.376
    assert FLOORS["total"].least_ms == 0.376
    assert set(FLOORS) == set(NAMES)


def test_it_loads_nothing_and_runs_nothing(page: str) -> None:
    assert "default-src 'none'; style-src 'unsafe-inline'" in page
    assert re.findall(r"(?:src|href|xlink:href)=\"(?!#)[^\"]*\"", page) == []
    assert "<script" not in page
    assert "url(http" not in page
    assert "@import" not in page


def test_what_agents_wrote_is_text_and_nothing_else(page: str) -> None:
    assert "&lt;adapter&gt; gone" in page
    assert "<adapter>" not in page


def test_it_shows_the_track_the_lanes_and_the_clocks(page: str) -> None:
    for text in ("m, north is up", "RSSI over time at terminal-1", "Was it the right one?", "rain"):
        assert text in page
    assert page.count("Waterfall of the payment") == 12


def test_two_cars_on_the_map_are_told_apart_and_each_pays_where_it_is() -> None:
    def play(trip: Trip) -> None:
        trip.machines["another"] = trip.machines["phone"]
        for number in range(1, 6):
            at_ns = (200 + number * 20) * NS
            around(trip, at_ns)
            # Another car, two kilometres to the east.
            far: dict[str, Any] = {"lat_deg": 50.1, "lon_deg": 8.628}
            trip.note("another", "position", at_ns, speed_mps=0.0, accuracy_m=3.0, **far)
            pay(trip, payment=payment(number), at_ns=at_ns)

    drawn = site_map(figures("two", laid_out(play)))
    assert drawn is not None
    assert all(f">{name}</text>" in drawn for name in ("jack-1", "another-1"))
    paid_at = [float(x) for x in re.findall(r'<use [^>]*x="([0-9.]+)"', drawn)]
    assert len(paid_at) == 5
    # In the western fifth, where the jack is.
    assert max(paid_at) < WIDTH * 72 / 5


def test_a_trial_in_which_all_went_well_says_so() -> None:
    text = render(day(troubled=False), ABOUT)
    assert "All 10 payments succeeded" in text
    assert "Nothing: every payment went through in time." in text
    assert "What failed" not in text


@pytest.mark.parametrize("name", FAILED | SLOW)
def test_every_cause_can_be_shown(name: str) -> None:
    found = figures("one", laid_out((FAILED | SLOW)[name][1]))
    assert found.judged[0].cause is not None
    assert found.judged[0].cause.title in render(found, ABOUT)


def test_an_empty_trial_is_a_page_too() -> None:
    assert "No payment was asked for" in render(figures("none", laid_out(lambda _: None)), ABOUT)


def test_lanes_are_drawn_with_their_decisions_and_the_truth() -> None:
    (lane,) = lane_plots(day())
    assert [series.jack for series in lane.series] == ["jack-1"]
    assert lane.series[0].samples == 400
    assert len(lane.asked) == 12
    assert {segment.kind for segment in lane.asked} == {"good", "bad"}
    assert [segment.text for segment in lane.truth] == ["jack-1"]
    # Two equal answers half a second apart are one.
    assert [segment.text for segment in lane.decisions] == ["chosen jack-1"] * 10


def test_a_jack_that_a_lane_never_heard_is_in_its_key_if_it_stood_there() -> None:
    def play(trip: Trip) -> None:
        trip.note("terminal", "code_heard", 90 * NS, jack="3f2a", rssi_dbm=-60)
        truth(trip, 95, "jack-8", present=True)
        truth(trip, 99, "jack-9", present=True)

    (lane,) = lane_plots(figures("t", laid_out(play)))
    heard, unheard = lane.series[0], dict(lane.unheard)
    assert list(unheard) == ["jack-8", "jack-9"]
    assert heard.color not in unheard.values()
    assert [(s.jack, s.color) for s in lane.truth] == list(unheard.items())


def test_an_advert_without_a_level_is_not_drawn() -> None:
    def play(trip: Trip) -> None:
        for number, rssi_dbm in enumerate((-60, 127, -62)):
            trip.note("terminal", "code_heard", number * NS, jack="3f2a", rssi_dbm=rssi_dbm)

    (lane,) = lane_plots(figures("t", laid_out(play)))
    assert lane.series[0].samples == 2


def test_a_worse_trial_is_called_worse_only_where_chance_does_not_explain_it() -> None:
    def slower(trip: Trip) -> None:
        for number in range(1, 31):
            delays = {"phone challenge_received": 50 + number}
            pay(trip, payment=payment(number), at_ns=number * 10 * NS, delays_ms=delays)

    good, slow = day(troubled=False), figures("slower", laid_out(slower))
    rows = {row.name: row.verdict for row in compare(slow, good).medians}
    assert rows["challenged"] is Verdict.WORSE
    assert rows["requested"] is Verdict.SAME
    assert {row.verdict for row in compare(good, slow).medians} >= {Verdict.BETTER, Verdict.SAME}
    told = compare(day(), good)
    assert {row.verdict for row in told.shares} == {Verdict.SAME}
    assert ("ambiguous lane", 1, 0) in told.counts
    assert told.to_json()["medians_ms"][0]["verdict"] == "no clear difference"


def test_marks_and_what_was_played_are_no_incidents() -> None:
    def play(trip: Trip) -> None:
        pay(trip)
        trip.note("terminal", "trial_started", 5 * NS, trial="t")
        trip.note("terminal", "trial_marked", 6 * NS, trial="t", text="rain", truth=None)
        trip.note("phone", "power", 7 * NS, under_voltage=True)

    fault = {"name": "wifi_lost", "machine": "desk", "from_true_us": 8e6, "to_true_us": 9e6}
    played: dict[str, Any] = {
        "clock_offsets_us": {"desk": [[1_000_000, 1_000_000, "boot-1"]]},
        "faults": [fault],
    }
    found = figures("t", laid_out(play), truth=played)
    assert Counter(one.kind.value for one in found.incidents) == {
        "trial": 1,
        "mark": 1,
        "power": 1,
        "fault": 1,
    }
    assert ("incidents", 1, 0) in compare(found, figures("u", laid_out(pay))).counts


def test_two_trials_of_one_name_are_told_apart() -> None:
    def late(trip: Trip) -> None:
        trip.note("terminal", "trial_started", 7200 * NS, trial="day")
        pay(trip, at_ns=7300 * NS)

    early = figures("day", laid_out(pay))
    again = compare(early, figures("day", laid_out(late)))
    assert again.this.startswith("day, ")
    assert again.other.startswith("day, ")
    assert again.this != again.other
    itself = compare(early, early)
    assert (itself.this, itself.other) == ("day, this one", "day, the other")
    assert compare(early, figures("night", laid_out(pay))).other == "night"


def test_of_a_handful_of_payments_no_median_is_compared() -> None:
    few = figures("few", laid_out(pay))
    assert {row.verdict for row in compare(few, few).medians} == {Verdict.TOO_FEW}


@pytest.mark.chromium
async def test_it_is_legible_on_a_desk_and_on_a_phone_and_asks_nobody(
    page: str, tmp_path: Path
) -> None:
    file = tmp_path / "trial-report.html"
    file.write_text(page, encoding="utf-8")
    asked: list[str] = []
    async with chromium() as browser, opened(browser, "about:blank") as window:
        window.on("request", lambda request: asked.append(request.url))
        complaints: list[str] = []
        window.on("console", lambda message: complaints.append(message.text))
        await window.goto(file.as_uri())
        for summary in await window.locator("details:not([open]) > summary").all():
            if await summary.is_visible():
                await summary.click()
        await judged(window, "trial report")
        await window.set_viewport_size({"width": 390, "height": 844})
        wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await window.evaluate(wider) == 0
        assert (asked, complaints) == ([file.as_uri()], [])
