"""The pictures of ``world-report.html``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from fieldkit.drawing import COLORS, drawing
from fieldkit.motion import Position
from fieldkit.world.summary import WRONG_TARGET, MarginRow, Summary
from fieldkit.world.tally import Outcome, Tally, Truth
from fieldkit.world.traffic import queue_places
from fieldkit.world.trial import POLICIES, SWEPT, Result
from payment_device.sightings import LaneRules

_OUTCOMES: Final = {
    Outcome.RIGHT: "good",
    Outcome.NONE: "quiet",
    Outcome.AMBIGUOUS: "amber",
    Outcome.WRONG: "bad",
}
_SWEPT_COLORS: Final = dict(zip(SWEPT, ("s1", "s2"), strict=True))
_POLICY_COLORS: Final = dict(zip(POLICIES, ("quiet", "s3", "s0", "s1", "s2"), strict=True))
_CAR_COLORS: Final = ("s0", "s1", "s2", "s3", "s5")


def outcomes(tallies: Mapping[str, Tally], salt: str) -> str:
    """By policy, how the questions of customers with a jack ended."""
    with drawing(salt, 2.3) as picture:
        axes = picture.axes
        for row, policy in enumerate(reversed(POLICIES)):
            left = 0.0
            for outcome, color in _OUTCOMES.items():
                share = tallies[policy].share(outcome, Truth.JACK)
                axes.barh(row, share, left=left, height=0.64, color=COLORS[color], lw=0)
                left += share
        axes.set_yticks(range(len(POLICIES)), list(reversed(POLICIES)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
        axes.set_xlim(0, 1)
        axes.tick_params(length=0)
        axes.spines[["left", "bottom"]].set_visible(False)
    return picture.svg


def margins(summary: Summary) -> str:
    """Wrong choices against the margin, with what the truth hardly exceeds."""
    with drawing("margins") as picture:
        axes = picture.axes
        for policy, color in _SWEPT_COLORS.items():
            rows = summary.of(policy)
            at_db = [row.margin_db for row in rows]
            axes.fill_between(
                at_db,
                [_on_log(row.wrong_share) for row in rows],
                [_on_log(row.wrong_at_most) for row in rows],
                color=COLORS[color],
                alpha=0.14,
                lw=0,
            )
            axes.plot(
                at_db,
                [_on_log(row.wrong_share) for row in rows],
                color=COLORS[color],
                marker="o",
                ms=4,
                label=policy,
            )
        axes.axhline(WRONG_TARGET, color=COLORS["bad"], lw=1, ls=(0, (4, 3)))
        axes.axvline(LaneRules().margin_db, color=COLORS["soft"], lw=1, ls=(0, (1, 2)))
        axes.annotate(
            f"default {LaneRules().margin_db:g} dB",
            (LaneRules().margin_db, 1),
            xycoords=("data", "axes fraction"),
            xytext=(4, -9),
            textcoords="offset points",
            color=COLORS["soft"],
            fontsize=8.5,
        )
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share * 100:g} %"))
        axes.set_xlabel("margin over the next jack, dB")
        axes.set_ylabel("another car chosen")
        axes.grid(axis="y", lw=0.6)
        axes.legend(loc="lower left")
    return picture.svg


#: Where a share of nothing is drawn on a logarithmic axis.
_NOTHING: Final = 0.0002


def _on_log(share: float) -> float:
    return max(share, _NOTHING)


def price(summary: Summary) -> str:
    """What a lower rate of wrong choices costs in attendants who have to pick."""
    with drawing("price") as picture:
        axes = picture.axes
        for policy, color in _SWEPT_COLORS.items():
            rows = summary.of(policy)
            axes.plot(
                [1 - row.right for row in rows],
                [_on_log(row.wrong_share) for row in rows],
                color=COLORS[color],
                marker="o",
                ms=4,
                label=policy,
            )
            for row in rows:
                if row.margin_db >= _LEAST_NAMED_DB:
                    _name_margin(axes, row, color)
        axes.axhline(WRONG_TARGET, color=COLORS["bad"], lw=1, ls=(0, (4, 3)))
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share * 100:g} %"))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
        axes.set_xlabel("customers with a jack that is not chosen by itself")
        axes.set_ylabel("another car chosen")
        axes.grid(axis="y", lw=0.6)
        axes.legend(loc="upper right")
    return picture.svg


#: Below, the points lie on top of each other.
_LEAST_NAMED_DB: Final = 6.0


def _name_margin(axes: Axes, row: MarginRow, color: str) -> None:
    axes.annotate(
        f"{row.margin_db:g}",
        (1 - row.right, _on_log(row.wrong_share)),
        xytext=(5, 3),
        textcoords="offset points",
        fontsize=8,
        fontweight="bold" if row.is_default else "normal",
        color=COLORS[color],
    )


def decision_times(tallies: Mapping[str, Tally], salt: str) -> str:
    """Which share of the right choices has been made after how long."""
    with drawing(salt) as picture:
        axes = picture.axes
        for policy in POLICIES:
            after_s = sorted(tallies[policy].decided_s)
            shares = [(number + 1) / len(after_s) for number in range(len(after_s))]
            axes.step(
                [0, *after_s], [0, *shares], color=COLORS[_POLICY_COLORS[policy]], label=policy
            )
        axes.set_xlabel("seconds after the question")
        axes.set_ylabel("of the right choices")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
        axes.set_ylim(0, 1.02)
        axes.set_xlim(0, 3)
        axes.grid(axis="y", lw=0.6)
        axes.legend(loc="lower right")
    return picture.svg


def leads(result: Result) -> str:
    """By how much the right jack led over the strongest other, and where the margin lies."""
    with drawing(f"leads-{result.scenario.name}", 2.5) as picture:
        axes, margin_db = picture.axes, LaneRules().margin_db
        edges = [float(edge) for edge in range(-20, 41, 2)]
        for low_db, high_db, color in (
            (-99.0, -margin_db, "bad"),
            (-margin_db, margin_db, "amber"),
            (margin_db, 99.0, "good"),
        ):
            part = [lead for lead in result.leads_db if low_db <= lead < high_db]
            axes.hist(part, bins=edges, color=COLORS[color], rwidth=0.86, lw=0)
        axes.axvline(0, color=COLORS["soft"], lw=1)
        axes.set_xlim(-20, 40)
        axes.set_xlabel("lead of the right jack over the strongest other, dB")
        axes.set_ylabel("stops")
    return picture.svg


def trace(result: Result) -> str:
    """A minute at the first lane: the levels of all jacks, and who stood there."""
    with drawing(f"trace-{result.scenario.name}", 2.8) as picture:
        axes, glimpses = picture.axes, result.glimpses
        begins_s = glimpses[0].at_s if glimpses else 0.0
        ends_s = glimpses[-1].at_s if glimpses else 1.0
        served = _served(result, begins_s, ends_s)
        for car in _heard_longest(result, served):
            heard = [glimpse for glimpse in glimpses if car in glimpse.levels_dbm]
            color = _CAR_COLORS[served.index(car) % len(_CAR_COLORS)] if car in served else "quiet"
            axes.plot(
                [glimpse.at_s - begins_s for glimpse in heard],
                [glimpse.levels_dbm[car] for glimpse in heard],
                color=COLORS[color],
                lw=1.8 if car in served else 0.7,
                alpha=1 if car in served else 0.55,
            )
        for number, car in enumerate(served):
            stop_s = result.day.cars[car].stop_s
            assert stop_s is not None
            axes.axvspan(
                max(stop_s[0], begins_s) - begins_s,
                min(stop_s[1], ends_s) - begins_s,
                color=COLORS[_CAR_COLORS[number % len(_CAR_COLORS)]],
                alpha=0.13,
                lw=0,
            )
        axes.axhline(result.rules[0].min_rssi_dbm, color=COLORS["soft"], lw=1, ls=(0, (4, 3)))
        axes.set_xlim(0, ends_s - begins_s)
        axes.set_xlabel("seconds")
        axes.set_ylabel("level, dBm")
    return picture.svg


#: Lines in one picture; more are not told apart.
_MOST_LINES: Final = 40


def _served(result: Result, begins_s: float, ends_s: float) -> list[int]:
    """The cars that stand at the first lane in this time, in order."""
    return [
        number
        for number, car in enumerate(result.day.cars)
        if car.lane == 0 and car.stop_s and car.stop_s[0] < ends_s and car.stop_s[1] > begins_s
    ]


def _heard_longest(result: Result, served: Sequence[int]) -> list[int | None]:
    """Cars to draw: those that are heard most, and on top of them those that are served."""
    counts: dict[int | None, int] = {}
    for glimpse in result.glimpses:
        for car in glimpse.levels_dbm:
            counts[car] = counts.get(car, 0) + 1
    others = sorted((car for car in counts if car not in served), key=lambda car: -counts[car])
    return [*others[:_MOST_LINES], *(car for car in served if car in counts)]


def site(result: Result) -> str:
    """The place from above: lanes, stops, terminals, metal, parked cars, attackers."""
    scenario = result.scenario
    with drawing(f"site-{scenario.name}", 2.8) as picture:
        axes = picture.axes
        for lane in scenario.lanes:
            if lane.arrivals_s:
                path = (_shown(lane.entry_m), lane.stop_m, _shown(lane.exit_m))
                axes.plot(*zip(*path, strict=True), color=COLORS["line"], lw=7, zorder=1)
                _dots(axes, queue_places(lane)[1:])
                axes.plot(*lane.stop_m, marker="s", ms=7, color=COLORS["good"], zorder=3)
            axes.plot(*lane.terminal_m, marker="^", ms=7, color=COLORS["s1"], zorder=4)
        for road in scenario.traffic:
            arrow = {"arrowstyle": "->", "color": COLORS["soft"]}
            axes.annotate("", _shown(road.to_m), _shown(road.from_m), arrowprops=arrow)
        for wall in scenario.metal:
            axes.plot(*zip(wall.from_m, wall.to_m, strict=True), color=COLORS["ink"], lw=2.5)
        parked = [car.journey.places[0] for car in result.day.cars if car.parked]
        _dots(axes, parked)
        for attacker in scenario.attackers:
            axes.plot(*attacker.at_m, marker="X", ms=9, color=COLORS["bad"], zorder=5)
        axes.set_xlabel("metres")
        axes.set_aspect("equal", adjustable="datalim")
        axes.tick_params(length=0)
    return picture.svg


#: Of lanes and roads no more is drawn than this to each side.
_SHOWN_M: Final = 22.0


def _shown(place_m: tuple[float, float]) -> tuple[float, float]:
    return max(-_SHOWN_M, min(_SHOWN_M, place_m[0])), place_m[1]


def _dots(axes: Axes, places: Sequence[Position]) -> None:
    near = [place for place in places if abs(place.x_m) <= _SHOWN_M]
    xs, ys = [place.x_m for place in near], [place.y_m for place in near]
    axes.plot(xs, ys, ls="", marker="s", ms=3.5, color=COLORS["quiet"], zorder=2)
