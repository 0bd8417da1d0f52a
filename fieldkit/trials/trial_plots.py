"""The pictures of a trial's report that matplotlib draws: latencies and the map."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from fieldkit.drawing import COLORS, drawing
from fieldkit.legs import ENDS
from fieldkit.trials.attempts import Outcome
from fieldkit.trials.figures import Figures
from fieldkit.trials.timeline import Happening

_LEG_COLORS: Final = dict(zip(ENDS, ("s0", "s5", "s1", "s2", "s3", "quiet"), strict=True))
#: WGS 84, mean radius: a trial is a few kilometres wide.
_EARTH_M: Final = 6_371_009
#: A place is that of the track if it was told within this time.
_NEAR_NS: Final = 10_000_000_000


def latencies(figures: Figures) -> str:
    """Which share of the payments had got through each leg after how long."""
    with drawing("latencies") as picture:
        axes = picture.axes
        paid = [j.attempt.legs for j in figures.judged if j.attempt.outcome is Outcome.PAID]
        for leg, color in _LEG_COLORS.items():
            values = sorted(ms for legs in paid if (ms := legs.legs_ms[leg]) is not None)
            _rise(axes, values, color, leg.replace("_", " "), 1.2)
        totals = sorted(legs.total_ms for legs in paid if legs.total_ms is not None)
        _rise(axes, totals, "ink", "total", 2.2)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda ms, _: _time(ms)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
        axes.set_ylim(0, 1.02)
        axes.set_ylabel("of the payments")
        axes.grid(lw=0.6)
        axes.legend(
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            ncols=4,
            handlelength=1.2,
            columnspacing=1.2,
        )
    return picture.svg


def _rise(axes: Axes, values: Sequence[float], color: str, label: str, width: float) -> None:
    if not values:
        return
    shares = [(number + 1) / len(values) for number in range(len(values))]
    # Below a tenth of a millisecond a logarithmic axis shows nothing that matters.
    shown = [max(value, 0.1) for value in values]
    axes.step(
        [shown[0], *shown], [0, *shares], where="post", color=COLORS[color], lw=width, label=label
    )


def _time(ms: float) -> str:
    return f"{ms / 1000:g} s" if ms >= 1000 else f"{ms:g} ms"


def site_map(figures: Figures) -> str | None:
    """Where the machines drove, and where payments were asked for. None without a track."""
    told = [h for h in figures.timeline.named("position") if _placed(h)]
    if len(told) < 2:
        return None
    middle = told[len(told) // 2]
    with drawing("map", 4.2) as picture:
        axes = picture.axes
        for agent in sorted({h.agent for h in told}):
            track = [_metres(h, middle) for h in told if h.agent == agent]
            axes.plot(*zip(*track, strict=True), color=COLORS["s1"], lw=1.4, alpha=0.7)
        times_ns = [h.at_ns for h in told]
        for judged in figures.judged:
            at = _nearest(told, times_ns, judged.attempt.asked_ns)
            if at is not None:
                good = judged.attempt.outcome is Outcome.PAID
                color = "bad" if not good else "amber" if judged.slow else "good"
                mark = "o" if good else "X"
                axes.plot(*_metres(at, middle), marker=mark, ms=7, color=COLORS[color], zorder=3)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xlabel("metres east")
        axes.set_ylabel("metres north")
        axes.grid(lw=0.6)
    return picture.svg


def _placed(h: Happening) -> bool:
    return h.field("latitude_deg") is not None and h.field("longitude_deg") is not None


def _metres(h: Happening, middle: Happening) -> tuple[float, float]:
    """East and north of the middle, as on a plane."""
    latitude = math.radians(middle.field("latitude_deg"))
    east = math.radians(h.field("longitude_deg") - middle.field("longitude_deg"))
    north = math.radians(h.field("latitude_deg") - middle.field("latitude_deg"))
    return east * math.cos(latitude) * _EARTH_M, north * _EARTH_M


def _nearest(told: Sequence[Happening], times_ns: Sequence[int], at_ns: int) -> Happening | None:
    place = bisect_left(times_ns, at_ns)
    near = min(told[max(place - 1, 0) : place + 1], key=lambda h: abs(h.at_ns - at_ns))
    return near if abs(near.at_ns - at_ns) <= _NEAR_NS else None
