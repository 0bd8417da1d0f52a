"""Small scenarios for the tests of ``fieldkit world``."""

from __future__ import annotations

from typing import Any

from fieldkit.world.scenario import Scenario

#: A site on which everything is heard just as strongly as the distance says.
STILL: dict[str, Any] = {
    "propagation": {"shadowing_sd_db": 0, "fading_sd_db": 0, "loss_probability": 0},
    "surroundings": {
        "vehicle_loss_db": 0,
        "vehicle_loss_sd_db": 0,
        "orientation_db": 0,
        "passengers_db": 0,
        "channel_sd_db": 0,
    },
    "jacks": {"in_cars": 1.0, "tx_power_sd_db": 0, "clock_error_s": 0},
}


def lane(name: str = "Lane 1", y_m: float = 0.0, **changes: Any) -> dict[str, Any]:
    """A lane from west to east along ``y_m``, its terminal 1.5 m south of the stop."""
    return {
        "name": name,
        "terminal_m": [0.0, y_m - 1.5],
        "stop_m": [0.0, y_m],
        "entry_m": [-26.0, y_m],
        "exit_m": [26.0, y_m],
        "arrivals_s": 15.0,
        "service_s": [6.0, 9.0],
        "ask_after_s": [0.5, 2.0],
    } | changes


def scenario(*lanes: dict[str, Any], **changes: Any) -> Scenario:
    """Two minutes of these lanes, or of one."""
    members = {"title": "A place", "duration_s": 120, "lanes": list(lanes) or [lane()]}
    return Scenario.model_validate(members | changes)
