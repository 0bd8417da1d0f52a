"""Serves an agent's figures on a listener of their own, if a port is set."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from twochannel.condition.radio import RadioCondition
from twochannel.settings import DeviceSettings, SettingsError
from twochannel.trace import Trace

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from twochannel.metrics.figures import Figures

_log = logging.getLogger(__name__)


@asynccontextmanager
async def serving_figures(
    settings: DeviceSettings, trace: Trace, radio: RadioCondition | None
) -> AsyncIterator[None]:
    """Count what ``trace`` is told from now on, and serve it while the block runs.

    Raises SettingsError without the libraries for it, OSError if the address is taken.
    """
    if settings.metrics_port is None:
        yield
        return
    # Only now: an agent that serves none is on the air sooner without.
    from twochannel.serving import Address, serve

    try:
        from twochannel import bounded_http  # noqa: F401, needs a library too
        from twochannel.metrics.figures import Figures
    except ImportError:
        raise SettingsError(
            "metrics_port is set and the libraries for it are missing; run: pip install"
            ' "cigarjack[metrics]"'
        ) from None
    figures = Figures(trace.party, radio)
    trace.listen(figures.take)
    address = Address(settings.metrics_host, settings.metrics_port)
    async with serve(_page(figures), address, connections=16) as served:
        url = f"http://{settings.metrics_host}:{served.port}/metrics"
        _log.info("metrics_served", extra={"url": url})
        yield


def _page(figures: Figures) -> Starlette:
    """``GET /metrics``."""
    from prometheus_client.exposition import CONTENT_TYPE_LATEST
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def show(_: Request) -> Response:
        return Response(figures.text(), headers={"content-type": CONTENT_TYPE_LATEST})

    return Starlette(routes=[Route("/metrics", show)])
