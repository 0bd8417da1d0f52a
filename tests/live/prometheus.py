"""A real Prometheus (Debian's) that scrapes the agents of a stage, with the files of deploy/."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

DEPLOY = Path(__file__).parents[2] / "deploy" / "prometheus"
PROMETHEUS = Path("/usr/bin/prometheus")
#: As the example has them, by agent.
PORTS = {"server": 9464, "jack": 9465, "terminal": 9466, "phone": 9467}
_LOOK_EVERY_S = 0.25
_DEADLINE_S = 60.0


class NotReadyError(Exception):
    """It listens, but still reads what it has stored."""


class Prometheus:
    """Ask it as Grafana does."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, trust_env=False)

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression finds now.

        Raises AssertionError with Prometheus's own words, and NotReadyError.
        """
        answered = await self._http.get("/api/v1/query", params={"query": expression})
        if answered.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise NotReadyError
        answer = answered.json()
        assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    async def rules(self) -> list[dict[str, Any]]:
        """The alerts, with their state."""
        answer = (await self._http.get("/api/v1/rules")).json()
        (group,) = answer["data"]["groups"]
        rules: list[dict[str, Any]] = group["rules"]
        return rules

    async def until(self, expression: str) -> None:
        """Wait until an expression finds something."""
        async with asyncio.timeout(_DEADLINE_S):
            # Prometheus tells nobody that it has scraped.
            while not await self._answered(expression):  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_EVERY_S)

    async def _answered(self, expression: str) -> bool:
        try:
            return bool(await self.query(expression))
        except (httpx.TransportError, NotReadyError):
            return False

    async def close(self) -> None:
        await self._http.aclose()


@asynccontextmanager
async def scraping(ports: Mapping[str, int], folder: Path) -> AsyncIterator[Prometheus]:
    """``ports``: of the figures, by party. The shipped example, with these ports and more haste."""
    text = (DEPLOY / "prometheus.yml").read_text("utf-8")
    text = text.replace("scrape_interval: 5s", "scrape_interval: 1s")
    text = text.replace("evaluation_interval: 15s", "evaluation_interval: 1s")
    for party, usual in PORTS.items():
        assert f"127.0.0.1:{usual}" in text
        text = text.replace(f"127.0.0.1:{usual}", f"127.0.0.1:{ports[party]}")
    (folder / "prometheus.yml").write_text(text)
    (folder / "alerts.yml").write_bytes((DEPLOY / "alerts.yml").read_bytes())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        PROMETHEUS,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    prometheus = Prometheus(f"http://127.0.0.1:{port}")
    try:
        yield prometheus
    finally:
        await prometheus.close()
        process.terminate()
        await process.wait()
