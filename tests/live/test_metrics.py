"""docs/metrics.md and what running agents serve are the same; and it is true."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.samples import Sample

from fieldkit import journeys
from fieldkit.stage import SERVER
from tests.live.observed import Observed

pytestmark = pytest.mark.asyncio(loop_scope="session")

DOCUMENT = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
#: What is served of a histogram, and what the library adds to a counter and to a histogram.
ENDINGS = ("_bucket", "_count", "_sum")
ADDED = "_created"


def documented(party: str) -> dict[str, tuple[str, set[str]]]:
    """Name -> kind and labels, of those that ``party`` serves."""
    rows = re.findall(
        r"^\| `(cigarjack_\w+)` \| (\w+) \| ([^|]*) \| [^|]* \| ([^|]*) \|", DOCUMENT, re.MULTILINE
    )
    return {
        name: (kind, set(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels, parties in rows
        if party in re.findall(r"\w+", parties)
    }


def samples(families: list[Metric]) -> Iterator[tuple[str, str, Sample]]:
    """Name as documented, kind, sample."""
    for family in families:
        for sample in family.samples:
            if not sample.name.endswith(ADDED):
                name = sample.name
                for ending in ENDINGS if family.type == "histogram" else ():
                    name = name.removesuffix(ending)
                yield name, family.type, sample


def value(families: list[Metric], name: str, **labels: str) -> float:
    found = [
        sample.value
        for _, _, sample in samples(families)
        if sample.name == f"cigarjack_{name}" and sample.labels.items() >= labels.items()
    ]
    return sum(found)


@pytest.mark.parametrize("party", ["jack", "phone", "terminal"])
async def test_the_page_lists_what_is_served(observed: Observed, party: str) -> None:
    agent = observed.lane if party == "terminal" else party
    served = list(samples(await observed.figures(agent)))
    known = documented(party)
    assert {name for name, _, _ in served} <= known.keys()
    for name, kind, sample in served:
        assert (kind, set(sample.labels) - {"le"}) == known[name], name
    # What has labels is there once it has happened.
    happened = {name for name, (_, labels) in known.items() if not labels}
    assert happened - {name for name, _, _ in served} == set()


async def test_the_server_serves_its_condition_beside_its_own(observed: Observed) -> None:
    served = {name for name, _, _ in samples(await observed.figures(SERVER))}
    assert documented("server").keys() <= served
    assert "cigarjack_requests_total" in served


async def test_what_a_payment_leaves(observed: Observed) -> None:
    cast = observed.stage.cast
    await journeys.charge(observed.stage, observed.lane, "4.50")
    lane = await observed.figures(observed.lane)
    phone = await observed.figures(cast.phone.name)
    jack = await observed.figures(cast.jack.name)
    assert value(lane, "payments_total", status="captured") >= 1
    assert value(lane, "lane_decisions_total", asked="charge", outcome="chosen") >= 1
    assert 0 < value(lane, "leg_seconds_sum", leg="total") < 60
    assert value(phone, "auth_codes_total", outcome="present") >= 1
    assert value(phone, "payments_total", status="captured") >= 1
    assert value(jack, "challenges_total", outcome="present") >= 1
    assert value(jack, "leg_seconds_count", leg="signed") >= 1


async def test_what_the_radios_hear(observed: Observed) -> None:
    await observed.stage.seen(observed.lane, "code_heard")
    lane = await observed.figures(observed.lane)
    assert value(lane, "radio_up") == 1
    assert value(lane, "adverts_heard_total") > 10
    assert 0 <= value(lane, "advert_age_seconds") < 20
    jack = await observed.figures(observed.stage.cast.jack.name)
    assert value(jack, "beacon_up") == 1
    assert value(jack, "clock_trusted") == 1


async def test_figures_and_trace_are_the_same(observed: Observed) -> None:
    """A counter is never behind the trace that was read before it, nor ahead of one read after."""
    trace = observed.stage.traces[observed.lane]

    def settled() -> int:
        return sum(event.event == "payment_settled" for event in trace.events())

    before = settled()
    counted = value(await observed.figures(observed.lane), "payments_total")
    assert before <= counted <= settled()
    assert not math.isnan(counted)
