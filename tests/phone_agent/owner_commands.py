"""Commands of the owner, as a person and as a program gives them, and what they answer."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from phone_agent.cli import main
from tests.cigarjack.parties import new_id
from tests.phone_agent.owners_phone import OwnersPhone


def phone_agent(state: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--state", str(state), *arguments])


def told(result: Result) -> dict[str, Any]:
    """The JSON of a command that succeeded."""
    assert result.exit_code == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def error_of(result: Result) -> dict[str, str]:
    assert result.exit_code == 1
    assert result.stdout == ""
    error: dict[str, str] = json.loads(result.stderr.splitlines()[-1])["error"]
    return error


async def command(phone: OwnersPhone, *arguments: str) -> Result:
    return await asyncio.to_thread(phone_agent, phone.state, *arguments)


async def change_methods(phone: OwnersPhone, method: str, jack: str) -> None:
    """A second method comes, pays, goes; the first is coupled to the jack, and not any more."""

    async def methods(*arguments: str) -> Result:
        return await command(phone, "methods", *arguments, "--json")

    second = told(await methods("add", "--token", "tok_decline"))["id"]
    for order in ("default", "remove"):
        assert told(await methods(order, second)) == {"id": second, "told": True}
    assert error_of(await methods("remove", second))["code"] == "not_found"
    coupled = told(await methods("couple", method))
    assert coupled == {"id": method, "jack": jack}
    assert [item["jacks"] for item in told(await methods("list"))["items"]] == [[jack]]
    assert told(await methods("uncouple", method)) == coupled | {"told": True}
    again = await methods("uncouple", method)
    assert error_of(again)["code"] == "payment_method_not_coupled"
    assert error_of(await methods("couple", new_id()))["code"] == "payment_method_unknown"
