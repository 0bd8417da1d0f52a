"""What places cannot do of a scenario, told before it is played, and refused by the command."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from fieldkit.cli import main
from fieldkit.hosts import Bench
from fieldkit.trials.order import Order
from fieldkit.trials.scenario import SCENARIOS_FOLDER, parse
from fieldkit.trials.shortcomings import in_car, on_bench
from fieldkit.trials.steps import CarStep

FILE = SCENARIOS_FOLDER / "first-day.toml"
ORDER = Order.of(FILE)
HOSTS = "server = {ssh = 'h'}\njack = {ssh = 'h'}\nphone = {ssh = 'h'}\n"
BENCH = HOSTS + "terminals.lane-1 = {ssh = 'h'}\n"


def reasons(text: str) -> list[str]:
    return [str(one) for one in on_bench(Bench.parse(text), ORDER.scenario, ORDER.timeline)]


def test_the_virtual_car_is_one_car() -> None:
    found = in_car(ORDER.scenario, ORDER.timeline)
    joons = {
        number
        for number, step in enumerate(ORDER.timeline, start=1)
        if isinstance(step, CarStep) and step.car == "joon"
    }
    assert {one.number for one in found} == joons
    assert "there is one car, which is mina" in str(found[0])


def test_a_bench_says_what_it_lacks_for_each_step() -> None:
    told = reasons(BENCH)
    assert "from the beginning, clock of pump-3 +190 s" in told[0]
    assert any("the car is not at lane-1, and nothing on this bench moves it" in r for r in told)
    assert any(r.startswith("step 2, pay") and "mina does not get to lane-1" in r for r in told)
    assert any("nothing on this bench cuts the Wi-Fi" in reason for reason in told)
    assert any("set_clock" in r and "set on them, not from here" in r for r in told)


def test_what_the_bench_file_names_it_can() -> None:
    text = BENCH + "car.at = ['lane-1']\nwifi = {cut = ['a'], mend = ['b']}\n"
    text += "radio = {take = ['a'], give = ['b']}"
    told = reasons(text)
    assert not any("Wi-Fi" in reason or "drive car=mina" in reason for reason in told)
    assert not any("car=mina" in reason for reason in told)


def test_a_payment_that_meets_what_a_bench_cannot_do_is_not_played_there() -> None:
    cut = 'owner = "declines"\nmeets = {do = "power_cut", car = "mina", for_s = 1.0}'
    scenario = parse(FILE.read_text().replace('owner = "declines"', cut))
    bench = Bench.parse(BENCH + "car.at = ['lane-1']\n")
    found = [str(one) for one in on_bench(bench, scenario, scenario.timeline())]
    (told,) = (one for one in found if "amount=31.00" in one)
    assert "nothing on this bench cuts the power of the car" in told


@pytest.mark.parametrize("place", ["car", "bench"])
def test_it_is_refused_before_anything_starts(place: str, tmp_path: Path) -> None:
    bench = tmp_path / "bench.toml"
    bench.write_text(BENCH)
    on = str(bench) if place == "bench" else place
    archive = tmp_path / "x.trial"
    ended = CliRunner().invoke(
        main, ["trial", "play", str(FILE), "--on", on, "--out", str(archive)]
    )
    assert ended.exit_code == 4
    assert "cannot: step" in ended.output
    assert "--leave-out plays the rest" in ended.output
    assert not archive.exists()


def test_where_nothing_is_left_nothing_is_played(tmp_path: Path) -> None:
    text = FILE.read_text().partition("[[steps]]")[0]
    for to in ("lane-1", "pump-3"):
        text += f'[[steps]]\ndo = "drive"\ncar = "mina"\nto = "{to}"\n'
    scenario, bench = tmp_path / "drives.toml", tmp_path / "bench.toml"
    scenario.write_text(text)
    bench.write_text(BENCH)
    ended = CliRunner().invoke(
        main, ["trial", "play", str(scenario), "--on", str(bench), "--leave-out"]
    )
    assert ended.exit_code == 4
    assert "left out: step 1, drive car=mina to=lane-1" in ended.output
    assert "Nothing is left to play." in ended.output


def test_a_file_that_is_no_scenario_or_bench_is_told(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("title = 3")
    for arguments in ([str(wrong)], [str(FILE), "--on", str(wrong)]):
        ended = CliRunner().invoke(main, ["trial", "play", *arguments])
        assert ended.exit_code == 1
        assert "cannot be played on" in ended.output


def test_an_order_for_one_car_keeps_what_is_wrong_with_it() -> None:
    order = ORDER.without({1, 2}).at({"pump-3"})
    assert [car.name for car in order.scenario.cars] == ["mina"]
    assert [lane.name for lane in order.scenario.lanes] == ["pump-3"]
    assert [entry.name for entry in order.scenario.machines] == ["pump-3"]
    assert len(order.timeline) == len(ORDER.timeline) - 2
    assert order.with_right_clocks().scenario.machines == ()
