"""What is typed at an air that runs already."""

from __future__ import annotations

import asyncio

import pytest
from click.testing import CliRunner, Result

from fieldkit.air import Air
from fieldkit.cli import main
from twochannel.radio.backends import open_radio
from twochannel.radio.port import RadioError


async def typed(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, main, ["air", *words])


async def test_a_controller_is_pulled_out_and_plugged_in_again(air: Air) -> None:
    radio = f"bumble:{air.transports['jack']}"
    pulled = await typed("unplug", "jack", "--control", air.control)
    assert (pulled.exit_code, pulled.output) == (0, "")
    with pytest.raises(RadioError):
        async with open_radio(radio):
            pass
    back = await typed("plug", "jack", "--control", air.control)
    assert (back.exit_code, back.output) == (0, "")
    async with open_radio(radio):
        pass


async def test_a_controller_that_is_not_there_is_told_with_those_that_are(air: Air) -> None:
    refused = await typed("unplug", "pump", "--control", air.control)
    assert refused.exit_code == 1
    assert 'no controller is called "pump"; there are: jack, terminal' in refused.output


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense"])
async def test_an_air_that_is_not_there_is_told(address: str) -> None:
    refused = await typed("plug", "jack", "--control", address)
    assert refused.exit_code == 1
    assert f"No virtual air is controlled at {address}" in refused.output
