"""The same steps as in ``test_crash_points``, with Stripe; on PostgreSQL those of the calls.

``test_stripe_crashes`` kills a server from outside.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.server.bench import Prepared
from tests.server.crash_scene import Crasher, Ground, check_account, outlived
from tests.server.crashing import Call, Step, steps
from tests.server.stripe_peer import KEY, Wire, charge_by_stripe, empty, stripe_wire

#: What the states of an order do to PostgreSQL does not depend on the processor.
_GROUNDS = [
    *[("sqlite", step) for step in steps()],
    *[
        pytest.param("postgresql", step, marks=pytest.mark.postgresql)
        for step in steps()
        if isinstance(step.at, Call)
    ],
]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def one_wire(stripe: str) -> AsyncIterator[Wire]:
    """For all tests, or localstripe would have ever more places to send its webhooks to."""
    async with stripe_wire(stripe) as wire:
        yield wire


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("stopped", "step"), _GROUNDS, indirect=["stopped"], ids=str)
async def test_after_a_crash_stripe_has_carried_the_order_out_once(
    stopped: Prepared, crasher: Crasher, stripe: str, one_wire: Wire, step: Step
) -> None:
    folder, devices = stopped
    await empty(stripe)
    charge_by_stripe(folder.path, one_wire)
    settings = {"processor": "stripe", "stripe_key": KEY, "stripe_url": one_wire.url}
    settings["database"] = folder.settings().database
    ground = Ground(folder, devices, settings, "pm_card_visa")
    payment = await outlived(ground, crasher, step)
    await check_account(stripe, payment, step.operation)
