"""The commands of README and documents are those that the programs take."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

from fieldkit.air import EXAMPLE, AirPlan

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BY_HAND = (ROOT / "docs" / "by-hand.md").read_text(encoding="utf-8")
ON_PIS = (ROOT / "docs" / "raspberry-pi.md").read_text(encoding="utf-8")
LANE_DECISION = (ROOT / "docs" / "lane-decision.md").read_text(encoding="utf-8")
LANE_PAGE = (ROOT / "docs" / "lane-page.md").read_text(encoding="utf-8")
PHONE_PAGE = (ROOT / "docs" / "phone-page.md").read_text(encoding="utf-8")
PUMP = (ROOT / "docs" / "pump.md").read_text(encoding="utf-8")
TRIAL_REPORT = (ROOT / "docs" / "trial-report.md").read_text(encoding="utf-8")
VIRTUAL_CAR = (ROOT / "docs" / "virtual-car.md").read_text(encoding="utf-8")
PROGRAMS = {
    "cigarjack": "cigarjack.cli",
    "cigarjack-server": "server.cli",
    "fieldkit": "fieldkit.cli",
    "payment-device": "payment_device.cli",
    "phone-agent": "phone_agent.cli",
}


def commands() -> Iterator[str]:
    """Each command line of the documents' blocks, without prompt, sudo and comment."""
    text = README + BY_HAND + ON_PIS + LANE_DECISION + LANE_PAGE + PHONE_PAGE + PUMP + VIRTUAL_CAR
    text += TRIAL_REPORT
    for block in re.findall(r"^```\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            command = re.sub(r"^(\w*\$ +|sudo )", "", line).partition("  #")[0].strip()
            if command.partition(" ")[0] in PROGRAMS:
                yield command


def parse(command: str) -> None:
    """Take a command line apart as its program would, down to its last sub-command."""
    name, *arguments = shlex.split(command)
    program: click.Command = import_module(PROGRAMS[name]).main
    context = program.make_context(name, arguments)
    while isinstance(program, click.Group):
        rest = [*context._protected_args, *context.args]
        if not rest and program.invoke_without_command:
            return
        called, found, arguments = program.resolve_command(context, rest)
        assert found is not None
        program, context = found, found.make_context(called, arguments, parent=context)


@pytest.mark.parametrize("command", list(commands()))
def test_a_command_is_one_that_its_program_takes(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("payment.json").touch()
    parse(command)


def test_every_program_is_shown() -> None:
    assert {command.partition(" ")[0] for command in commands()} == PROGRAMS.keys()


def test_a_command_that_no_program_takes_is_noticed() -> None:
    with pytest.raises(click.UsageError):
        parse("cigarjack-server phones add")


def test_the_air_of_the_walk_has_its_radios() -> None:
    plan = AirPlan.from_toml(EXAMPLE.read_text(encoding="utf-8"))
    radios = {each.name: f"bumble:tcp-client:127.0.0.1:{each.port}" for each in plan.controllers}
    for text in (README, BY_HAND):
        assert f"cigarjack run --radio {radios['jack']}\n" in re.sub(" +#.*", "", text)
        assert f"payment-device run --radio {radios['lane']}\n" in text
    assert f'"127.0.0.1", {plan.control_port}' in BY_HAND


@pytest.mark.parametrize("document", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (document.parent / target).exists(), target
