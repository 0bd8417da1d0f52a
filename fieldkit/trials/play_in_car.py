"""Inside the virtual car: plays a trial there, and leaves what came of it.

``python -m fieldkit.trials.play_in_car FOLDER NAME SEED TOLD [NUMBER…]`` plays ``FOLDER/NAME.toml``
with its first car and without the steps of these numbers, and writes ``NAME.trial`` and
``NAME.json`` beside it. TOLD: where the archive will be, as the user is told.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fieldkit.trials.car_ground import CarGround
from fieldkit.trials.order import Order
from fieldkit.trials.performance import perform


def main() -> None:
    folder, name, seed, told, *numbers = sys.argv[1:]
    file = Path(folder) / f"{name}.toml"
    order = Order.of(file, int(seed))
    lanes = {lane.name for lane in order.scenario.lanes}
    order = order.without({int(number) for number in numbers}).at(lanes)
    ground = CarGround(order.scenario, order.seed)
    archive, document = file.with_suffix(".trial"), file.with_suffix(".json")
    sys.exit(perform(order, ground, archive, document, told=told))


if __name__ == "__main__":
    main()
