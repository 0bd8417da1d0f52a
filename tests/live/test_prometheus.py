"""Every expression of dashboard and alerts, asked of a real Prometheus that scrapes real agents."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fieldkit import journeys
from fieldkit.stage import SERVER
from tests.live.observed import Observed
from tests.live.prometheus import Prometheus, scraping

pytestmark = [pytest.mark.prometheus, pytest.mark.asyncio(loop_scope="session")]

DASHBOARD = json.loads(
    (Path(__file__).parents[2] / "deploy/grafana/cigarjack.json").read_text("utf-8")
)
EXPRESSIONS = [
    pytest.param(target["expr"], id=f"{panel['id']}{target['refId']} {panel['title']}")
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", ())
]
#: What Grafana puts in place of its variables, for all instances and a scrape a second.
VARIABLES = {"$instance": ".*", "$__rate_interval": "15s"}
#: Empty where all is well.
IN_FAULTS_ONLY = {"ALERTS": "no alert fires"}
#: By then every rate has two values.
SCRAPED = (
    'count(min_over_time(up{job=~"cigarjack-.*"}[1m]) == 1 and count_over_time(up[1m]) > 3) == 4'
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def prometheus(
    observed: Observed, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Prometheus]:
    cast = observed.stage.cast
    agents = {
        "server": SERVER,
        "jack": cast.jack.name,
        "terminal": observed.lane,
        "phone": cast.phone.name,
    }
    ports = {party: observed.ports[agent] for party, agent in agents.items()}
    async with scraping(ports, tmp_path_factory.mktemp("prometheus")) as running:
        await running.until(SCRAPED)
        await journeys.charge(observed.stage, observed.lane, "4.50")
        await running.until('increase(cigarjack_payments_total{status="captured"}[1m]) > 0')
        yield running


@pytest.mark.parametrize("expression", EXPRESSIONS)
async def test_a_panel_shows_something(prometheus: Prometheus, expression: str) -> None:
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression
    found = await prometheus.query(expression)
    expected_empty = any(name in expression for name in IN_FAULTS_ONLY)
    assert bool(found) is not expected_empty


async def test_no_alert_is_raised_by_agents_that_are_well(prometheus: Prometheus) -> None:
    rules = await prometheus.rules()
    assert {rule["health"] for rule in rules} == {"ok"}
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []


async def test_every_alert_asks_for_what_is_there(prometheus: Prometheus) -> None:
    """An alert finds nothing while all is well; what it compares must be there all the same."""
    for rule in await prometheus.rules():
        for selector in re.findall(r"\b(?:cigarjack_\w+|up\b)(?:\{[^}]*\})?", rule["query"]):
            assert await prometheus.query(selector), f"{rule['name']}: {selector}"
