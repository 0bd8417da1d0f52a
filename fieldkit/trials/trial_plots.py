"""The pictures of a trial's report that matplotlib draws: latencies and the map."""

from __future__ import annotations

import itertools
import math
import statistics
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from fieldkit.drawing import COLORS, drawing
from fieldkit.legs import ENDS
from fieldkit.trials.attempts import Outcome
from fieldkit.trials.figures import Figures, Judged
from fieldkit.trials.timeline import Happening

_LEG_COLORS: Final = dict(zip(ENDS, ("s0", "s5", "s1", "s2", "s3", "quiet"), strict=True))
#: WGS 84, mean radius: a trial is a few kilometres wide.
_EARTH_M: Final = 6_371_009
#: Lengths of the map's bar.
_BARS_M: Final = tuple(k * 10**n for n in range(6) for k in (1, 2, 5))
_TRACK_COLORS: Final = ("s1", "s3", "s2", "s5")
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
    """Where the machines drove, the lanes, and where payments were asked for. None without a track.

    A plane around the middle of the track: in a town the error is below that of the receiver.
    """
    named = figures.timeline.named("position")
    told = [h for h in named if figures.began_ns <= h.at_ns <= figures.ended_ns]
    if len(told) < 2:
        return None
    middle = told[len(told) // 2]
    tracks = {
        agent: [h for h in told if h.agent == agent] for agent in sorted({h.agent for h in told})
    }
    with drawing("map", 4.2) as picture:
        axes = picture.axes
        for color, (agent, track) in zip(itertools.cycle(_TRACK_COLORS), tracks.items()):
            points = [_metres(h, middle) for h in track]
            axes.plot(*zip(*points, strict=True), color=COLORS[color], lw=1.4, label=agent)
        asked = list(_asked(figures, tracks, middle))
        for judged, point in asked:
            good = judged.attempt.outcome is Outcome.PAID
            color = "bad" if not good else "amber" if judged.slow else "good"
            axes.plot(*point, marker="o" if good else "X", ms=7, color=COLORS[color], zorder=3)
        _lanes(axes, asked)
        axes.set_aspect("equal", adjustable="datalim")
        axes.margins(0.12)
        _scale(axes)
        if len(tracks) > 1:
            axes.legend(loc="best")
    return picture.svg


def _asked(
    figures: Figures, tracks: Mapping[str, Sequence[Happening]], middle: Happening
) -> Iterator[tuple[Judged, tuple[float, float]]]:
    """Each payment whose place is known, and where: that of its own jack, or of the only one."""
    only = next(iter(tracks.values())) if len(tracks) == 1 else []
    for judged in figures.judged:
        jack = judged.attempt.jack
        at = _nearest(tracks.get(jack, []) if jack else only, judged.attempt.asked_ns)
        if at is not None:
            yield judged, _metres(at, middle)


def _lanes(axes: Axes, asked: Sequence[tuple[Judged, tuple[float, float]]]) -> None:
    """Each lane's name, at the median of the places where cars were asked there."""
    for lane in sorted({judged.attempt.terminal for judged, _ in asked}):
        points = [point for judged, point in asked if judged.attempt.terminal == lane]
        place = tuple(statistics.median(values) for values in zip(*points, strict=True))
        axes.annotate(
            lane,
            place,
            xytext=(9, 9),
            textcoords="offset points",
            color=COLORS["ink"],
            weight="bold",
        )


def _scale(axes: Axes) -> None:
    """A bar of a round length in place of the axes, and where north is."""
    left, right = axes.get_xlim()
    most_m = abs(right - left) / 4
    length_m = max(m for m in _BARS_M if m <= max(most_m, _BARS_M[0]))
    text = f"{length_m / 1000:g} km" if length_m >= 1000 else f"{length_m:g} m"
    across = axes.get_xaxis_transform()  # metres to the right, shares of the height upwards
    axes.plot([left, left + length_m], [0.03, 0.03], color=COLORS["soft"], lw=2, transform=across)
    axes.annotate(f"{text}, north is up", (left, 0.05), xycoords=across, color=COLORS["soft"])
    axes.set_xticks([])
    axes.set_yticks([])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)


def _metres(h: Happening, middle: Happening) -> tuple[float, float]:
    """East and north of the middle, as on a plane."""
    latitude = math.radians(middle.field("lat_deg"))
    east = math.radians(h.field("lon_deg") - middle.field("lon_deg"))
    north = math.radians(h.field("lat_deg") - middle.field("lat_deg"))
    return east * math.cos(latitude) * _EARTH_M, north * _EARTH_M


def _nearest(track: Sequence[Happening], at_ns: int) -> Happening | None:
    place = bisect_left(track, at_ns, key=lambda h: h.at_ns)
    around = track[max(place - 1, 0) : place + 1]
    near = min(around, key=lambda h: abs(h.at_ns - at_ns), default=None)
    return near if near is not None and abs(near.at_ns - at_ns) <= _NEAR_NS else None
