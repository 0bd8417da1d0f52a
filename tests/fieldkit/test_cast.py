from __future__ import annotations

from pathlib import Path

import pytest

from fieldkit.air import AirPlan
from fieldkit.cast import DEMO_CAST, SEEDS_FOLDER, CastError, load, parse

DEMO = DEMO_CAST.read_text(encoding="utf-8")


@pytest.mark.parametrize("file", sorted(SEEDS_FOLDER.glob("*.toml")), ids=lambda file: file.name)
def test_every_seed_file_is_a_cast(file: Path) -> None:
    assert load(file).terminals


def test_the_air_takes_the_plan_of_the_cast() -> None:
    cast = load(DEMO_CAST)
    plan = AirPlan.model_validate(cast.air_plan())
    assert plan.seed == cast.air.seed
    names = {controller.name for controller in plan.controllers}
    assert {"jack", "lane-1", "lane-2", "sniffer"} <= names
    assert AirPlan.model_validate(cast.air_plan(seed=99)).seed == 99


def test_who_is_not_needed_stays_at_home() -> None:
    few = load(DEMO_CAST).at({"wash-1", "lane-1"}, ["sniffer"])
    assert [terminal.name for terminal in few.terminals] == ["lane-1", "wash-1"]
    assert [radio.name for radio in few.extra_radios] == ["sniffer"]
    assert load(DEMO_CAST).at({"lane-1"}).extra_radios == ()


def test_a_terminal_is_found_by_its_name() -> None:
    cast = load(DEMO_CAST)
    assert cast.terminal("pump-3").merchant == "hanbit"
    with pytest.raises(KeyError):
        cast.terminal("lane-77")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('name = "pump-3"', 'name = "lane-1"', "a name of its own"),
        ('name = "sniffer"', 'name = "phone"', "a name of its own"),
        ('merchant = "hanbit"\nat_m', 'merchant = "unheard"\nat_m', "no such merchant: unheard"),
        ("seed = 7", "sead = 7", "air.sead"),
        ("at_m = [2.5, 0.0]", "at_m = [2.5]", "jack.at_m"),
        ('presence = "require"', 'presence = "wish"', "merchants.1.presence"),
        ("seed = 7", "seed =", "not TOML"),
    ],
)
def test_a_file_that_is_no_cast_is_refused(old: str, new: str, problem: str) -> None:
    assert old in DEMO
    with pytest.raises(CastError, match=problem):
        parse(DEMO.replace(old, new))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CastError, match="cannot be read"):
        load(tmp_path / "none.toml")
