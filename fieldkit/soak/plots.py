"""The pictures of a soak's report: what each agent holds, and how long payments took, over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from matplotlib.axes import Axes

from fieldkit.drawing import COLORS, drawing
from fieldkit.soak.samples import Sample, Samples
from fieldkit.soak.soak import Outcome

_LINE_COLORS: Final = ("s0", "s1", "s2", "s3", "s5", "ink", "quiet")
_S_PER_MINUTE: Final = 60


def held(samples: Samples, what: str, figure: Callable[[Sample], float]) -> str:
    """One figure of every agent; a new line after each start."""
    with drawing(what) as picture:
        axes = picture.axes
        for number, agent in enumerate(samples.agents):
            color = COLORS[_LINE_COLORS[number % len(_LINE_COLORS)]]
            for index, run in enumerate(samples.runs(agent, figure)):
                times, values = zip(*run, strict=True)
                label = agent if index == 0 else None
                axes.plot(_shown(axes, times), values, color=color, lw=1.3, label=label)
        axes.set_ylabel(what)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", lw=0.6)
        if samples.taken:
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, handlelength=1.2)
    return picture.svg


def latencies(outcome: Outcome) -> str:
    """Each payment at its time, and faults as bars behind them."""
    with drawing("payments") as picture:
        axes = picture.axes
        for fault in outcome.faults:
            ends = _shown(axes, (fault["from_s"], max(fault["to_s"], fault["from_s"] + 1)))
            axes.axvspan(*ends, color=COLORS["amber"], alpha=0.35, lw=0)
        for statuses, color in ((("captured",), "good"), (None, "bad")):
            some = [
                paid
                for paid in outcome.paid
                if (paid.status in statuses if statuses else paid.status != "captured")
            ]
            times = _shown(axes, [paid.at_s for paid in some])
            label = "captured" if statuses else "ended otherwise"
            axes.scatter(times, [p.took_ms for p in some], s=7, color=COLORS[color], label=label)
        if outcome.paid:
            axes.set_yscale("log")
        axes.set_ylabel("ms from question to outcome")
        axes.grid(axis="y", lw=0.6)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, handlelength=1.2)
    return picture.svg


def _shown(axes: Axes, times_s: Sequence[float]) -> list[Any]:
    axes.set_xlabel("minutes")
    return [at_s / _S_PER_MINUTE for at_s in times_s]
