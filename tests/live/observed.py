"""A stage with the ports at which its agents serve their figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from fieldkit.stage import Stage


@dataclass(frozen=True)
class Observed:
    """``lane``: the terminal at which is paid; ``ports``: by agent."""

    stage: Stage
    lane: str
    ports: Mapping[str, int]

    def url(self, agent: str) -> str:
        return f"http://127.0.0.1:{self.ports[agent]}/metrics"

    async def figures(self, agent: str) -> list[Metric]:
        """What a running agent serves now."""
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(self.url(agent))
        return list(text_string_to_metric_families(answer.raise_for_status().text))
