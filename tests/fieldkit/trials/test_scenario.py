"""Scenario files of trials, and the payments that a mix makes of a seed."""

from __future__ import annotations

from collections import Counter

import pytest

from fieldkit.trials import steps
from fieldkit.trials.mix import Mix, mixed
from fieldkit.trials.scenario import SCENARIOS_FOLDER, ScenarioError, load, parse
from fieldkit.trials.steps import Drive, Leave, Owner, Pay, PowerCut, Refuel, WifiLost

SHIPPED = sorted(SCENARIOS_FOLDER.glob("*.toml"))
TEXT = (SCENARIOS_FOLDER / "first-day.toml").read_text(encoding="utf-8")
CUT = 'amount = "1.00"\nmeets = {{do = "power_cut", car = "{}", for_s = 4.0}}'
CARS, LANES = ("a", "b"), ("one", "two")


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_what_is_shipped_is_a_scenario(file: object) -> None:
    assert isinstance(file, type(SCENARIOS_FOLDER))
    scenario = load(file)
    assert steps.payments(scenario.timeline()) >= 1
    agents = {car.jack.name for car in scenario.cast().cars}
    assert agents == {f"{car.name}-jack" for car in scenario.cars}


@pytest.mark.parametrize(
    ("there", "instead", "problem"),
    [
        ('car = "mina"\nto', 'car = "nobody"\nto', "step 1: no car is called nobody"),
        ('to = "lane-1"', 'to = "lane-9"', "step 1: no lane is called lane-9"),
        ('machine = "lane-1"', 'machine = "moon"', "no machine is called moon"),
        ('do = "drive"', 'do = "fly"', "steps.0"),
        ('name = "joon"', 'name = "mina"', "a name of its own"),
        ("speed_mps = 15.0", "after_payments = 3", "step 1: after_payments needs a [mix]"),
        ("seed = 5", "seed = five", "not TOML"),
        ('amount = "4.50"', CUT.format("mina"), "meets needs an owner who approves or declines"),
        ('amount = "31.00"', CUT.format("joon"), "meets is of joon, and mina pays"),
        ('amount = "31.00"', 'amount = "1.00"\nmeets = {do = "drive"}', "meets"),
    ],
)
def test_what_does_not_fit_is_told(there: str, instead: str, problem: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        parse(TEXT.replace(there, instead, 1))
    assert problem in str(raised.value)


def test_a_mix_pays_as_often_as_it_says_and_the_same_by_the_same_seed() -> None:
    mix = Mix(payments=61, per_visit=3)
    fault = WifiLost(do="wifi_lost", car="a", for_s=5, after_payments=10)
    first = Drive(do="drive", car="a", to="two")
    timeline = mixed(mix, (fault, first), CARS, LANES, seed=3)
    assert steps.payments(timeline) == 61
    assert timeline == mixed(mix, (fault, first), CARS, LANES, seed=3)
    assert timeline != mixed(mix, (fault, first), CARS, LANES, seed=4)
    assert timeline[0] == first
    assert steps.payments(timeline[: timeline.index(fault)]) == 10
    kinds = Counter(type(step) for step in timeline)
    assert kinds[Drive] == kinds[Leave] + 1 == -(-61 // 3) + 1
    assert kinds[Pay] > kinds[Refuel] > 0


def test_two_cars_of_a_mix_are_never_sent_to_one_lane_in_the_same_round() -> None:
    timeline = mixed(Mix(payments=40, per_visit=1), (), CARS, LANES, seed=1)
    drives = [step for step in timeline if isinstance(step, Drive)]
    rounds = zip(drives[::2], drives[1::2], strict=True)
    assert all(one.car != two.car and one.to != two.to for one, two in rounds)
    assert {(step.car, step.to) for step in drives} == {(c, lane) for c in CARS for lane in LANES}


def test_one_car_of_a_mix_goes_to_one_lane_after_the_other() -> None:
    timeline = mixed(Mix(payments=4, per_visit=1), (), ["a"], LANES, seed=1)
    to = [step.to for step in timeline if isinstance(step, Drive)]
    assert to == ["one", "two", "one", "two"]


def test_what_a_fault_of_the_end_waits_for_comes_last() -> None:
    late = WifiLost(do="wifi_lost", car="a", for_s=5, after_payments=900)
    assert mixed(Mix(payments=4), (late,), CARS, LANES, seed=1)[-1] == late


def test_what_a_payment_meets_is_told_with_it() -> None:
    cut = PowerCut(do="power_cut", car="a", for_s=4)
    pay = Pay(do="pay", car="a", amount="45.00", owner=Owner.APPROVES, meets=cut)
    told = "pay car=a amount=45.00 owner=approves meets: power_cut car=a for_s=4.0"
    assert steps.told(pay) == told
    assert steps.parts(pay) == (pay, cut)
