"""The dashboard for Grafana and the alerts for Prometheus, as files.

What their expressions find is tested on running agents (tests/live/test_prometheus.py).
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.deploy.alert_specimens import FIRING

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana/cigarjack.json").read_text("utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
DRAWN = [panel for panel in PANELS if panel["type"] != "row"]
ALERTS = DEPLOY / "prometheus/alerts.yml"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
#: Grafana 10 and newer read it.
SCHEMA_VERSION = 39
COLUMNS = 24


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run(("promtool", *arguments), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_grafana_knows_what_it_is() -> None:
    assert DASHBOARD["schemaVersion"] == SCHEMA_VERSION
    assert (DASHBOARD["uid"], DASHBOARD["title"]) == ("cigarjack", "CigarJack")
    assert "id" not in DASHBOARD  # given by each Grafana
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert variables["instance"]["datasource"] == SOURCE


def lost(ours: Any, theirs: Any, where: str = "dashboard") -> Iterator[str]:
    """The places at which something of ours is missing, or something else."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            yield from lost(value, theirs.get(key), f"{where}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for place, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from lost(one, other, f"{where}[{place}]")
    elif ours != theirs:
        yield where


def test_grafanas_own_models_know_all_of_it() -> None:
    """Read and written again by Grafana's SDK, which drops whatever its schema does not have."""
    register_default_plugins()
    written = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(DASHBOARD)))
    assert list(lost(DASHBOARD, written)) == []
    misspelt = json.loads(json.dumps(DASHBOARD).replace('"legendFormat"', '"legendFromat"'))
    read = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(misspelt)))
    assert any("legendFromat" in place for place in lost(misspelt, read))


def test_every_id_is_there_once() -> None:
    assert Counter(panel["id"] for panel in PANELS).most_common(1)[0][1] == 1


def cells(panel: dict[str, Any]) -> Iterator[tuple[int, int]]:
    at = panel["gridPos"]
    for x in range(at["x"], at["x"] + at["w"]):
        for y in range(at["y"], at["y"] + at["h"]):
            yield x, y


def test_panels_lie_beside_each_other() -> None:
    for panel in PANELS:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= COLUMNS, panel["title"]
    taken = {panel["id"]: set(cells(panel)) for panel in PANELS}
    assert [pair for pair in combinations(taken, 2) if taken[pair[0]] & taken[pair[1]]] == []


def test_each_agent_has_a_row() -> None:
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]
    assert rows == ["Overview", "Terminal", "Phone", "Jack", "Server", "Machines"]
    assert PANELS[0]["type"] == "row"


@pytest.mark.parametrize("panel", DRAWN, ids=lambda panel: f"{panel['id']} {panel['title']}")
def test_a_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["datasource"] == SOURCE
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps[0]["value"] is None
    later = [step["value"] for step in steps[1:]]
    assert later == sorted(later)
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["datasource"] == SOURCE
        assert target["expr"]
        assert target["legendFormat"]
    refs = [target["refId"] for target in panel["targets"]]
    assert len(set(refs)) == len(refs)


@pytest.mark.prometheus
def test_prometheus_takes_example_and_alerts() -> None:
    promtool("check", "config", DEPLOY / "prometheus/prometheus.yml")
    promtool("check", "rules", ALERTS)


@pytest.mark.prometheus
def test_every_alert_fires_when_it_must(tmp_path: Path) -> None:
    """Judged by promtool on series made by hand, a minute apart."""
    tests = [
        {
            "name": alert,
            "interval": "1m",
            "input_series": [
                {"series": series, "values": values} for series, values in specimen.series.items()
            ],
            "alert_rule_test": [
                {
                    "alertname": alert,
                    "eval_time": specimen.at,
                    "exp_alerts": [
                        {"exp_labels": specimen.labels, "exp_annotations": specimen.annotations}
                    ],
                },
                {"alertname": alert, "eval_time": "0m", "exp_alerts": []},
            ],
        }
        for alert, specimen in FIRING.items()
    ]
    document = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}
    file = tmp_path / "alerts_test.yml"
    file.write_text(json.dumps(document))  # which is YAML
    promtool("test", "rules", file)
    named = {
        line.split()[-1] for line in ALERTS.read_text("utf-8").splitlines() if "alert:" in line
    }
    assert named == FIRING.keys()
